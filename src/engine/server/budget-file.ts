/** What has been spent on the server LLM today, kept in a small JSON file so that a restart does not forget it. */

import { CrayonError } from '../../core/errors.js';
import { readJsonObject, writeJson } from '../../files/json.js';
import { exists } from '../../files/paths.js';

/** The record of one day in UTC; the engine's BudgetRecord. */
interface DayRecord {
  day: string;
  inputTokens: number;
  outputTokens: number;
  money: number;
}

const MAX_BYTES = 64 * 1024;

/** A budget store over a file, which need not exist yet. Writing is atomic. */
export function budgetFile(path: string): { load(): DayRecord | null; save(record: DayRecord): void } {
  return {
    load: () => (exists(path) ? readRecord(path) : null),
    save: (record) => writeJson(path, record),
  };
}

/** @throws CrayonError `config-invalid`, `json-invalid`: to forget what was spent would be worse than to stop */
function readRecord(path: string): DayRecord {
  const { day, inputTokens, outputTokens, money } = readJsonObject(path, MAX_BYTES);
  const isAmount = (value: unknown): value is number =>
    typeof value === 'number' && Number.isFinite(value) && value >= 0;
  if (typeof day === 'string' && /^\d{4}-\d{2}-\d{2}$/.test(day)) {
    if (isAmount(inputTokens) && isAmount(outputTokens) && isAmount(money)) {
      return { day, inputTokens, outputTokens, money };
    }
  }
  throw new CrayonError('config-invalid', `${path}: expected {day, inputTokens, outputTokens, money} of one day`, {
    hint: 'Remove the file to start counting from zero.',
  });
}
