/**
 * Where the day's budget is kept, for all servers of one endpoint that share a cache folder: a journal a day, to which each adds what
 * its calls hold back and what they used, a line each (src/files/journal.ts). The sums of its lines are the truth, whoever wrote
 * them and however they ended. What a killed server's calls held back stays held back until the day is over: nobody knows what the
 * server LLM made of them.
 *
 *     budget-ID.DAY.log   the journal
 *     budget-ID.json      the day's sums: for people, and where a journal is missing. An earlier version kept nothing else
 */

import { randomBytes } from 'node:crypto';
import { basename, dirname } from 'node:path';
import * as z from 'zod';
import { CrayonError } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { entriesOf, errnoOf, exists, overwriteStart, removePath } from '../../files/io.js';
import { SharedJournal } from '../../files/journal.js';
import { isJsonObject, readJsonObject } from '../../files/json.js';
import { NOTHING, plus } from './budget-sums.js';
import { BUDGET_RECORD, type BudgetRecord, type BudgetStore, type BudgetSums, DAY } from './options.js';

const amount = z.number().default(0);
/** A line of the journal. */
const ENTRY = z.object({
  id: z.string(),
  inputTokens: amount,
  outputTokens: amount,
  money: amount,
  heldTokens: amount,
  heldMoney: amount,
});

/** The file with the sums is overwritten in place, so it keeps its length. */
const RECORD_BYTES = 256;

/** @param path of the file with the sums, `.json`; its folder exists */
export function budgetJournal(path: string): BudgetStore {
  const stem = path.replace(/\.json$/, '');
  const fileOf = (day: string): string => `${stem}.${day}.log`;
  const writer = randomBytes(4).toString('hex');
  let entries = 0;
  /** of a line that is none: said once, when the sums are asked for; the others count */
  let failure: unknown = null;
  let current: { day: string; journal: SharedJournal; sums: BudgetSums; lines: number } | undefined;

  /** What an earlier version counted on the day, or what was counted before the journal was removed. */
  const firstLine = (day: string): string => {
    const { day: kept, ...spent } = exists(path) ? readRecord(path) : { day: null };
    return JSON.stringify({ id: 'before', ...(kept === day && spent) });
  };

  const open = (day: string) => {
    if (current?.day === day && !current.journal.isRemoved()) return current;
    current?.journal.close();
    current = undefined;
    const journal = new SharedJournal(fileOf(day), () => firstLine(day));
    current = { day, journal, sums: NOTHING, lines: 0 };
    for (const old of keptDays().filter((kept) => kept < dayBefore(day))) removePath(fileOf(old));
    return current;
  };

  /** @param seen is told each entry's id when it has been added */
  const read = (opened: NonNullable<typeof current>, seen: (id: string) => void = () => {}): void => {
    const take = (line: string): void => {
      opened.lines++;
      if (isCutShort(line)) return;
      try {
        const { id, ...amounts } = readEntry(line, `${opened.journal.path}: entry ${opened.lines}`);
        const sums = plus(opened.sums, amounts);
        opened.sums = { ...sums, heldTokens: Math.max(0, sums.heldTokens), heldMoney: Math.max(0, sums.heldMoney) };
        seen(id);
      } catch (error) {
        failure ??= error;
      }
    };
    try {
      opened.journal.readNew(take);
    } catch (error) {
      failure ??= error;
    }
  };

  const keptDays = (): string[] => {
    const [prefix, suffix] = [`${basename(stem)}.`, '.log'];
    return entriesOf(dirname(path))
      .filter((name) => name.startsWith(prefix) && name.endsWith(suffix))
      .map((name) => name.slice(prefix.length, -suffix.length))
      .filter((day) => DAY.safeParse(day).success)
      .sort();
  };

  /** Until it holds the sums of all that is in the journal: another process may have written later and less. */
  const writeRecord = (opened: NonNullable<typeof current>): void => {
    do {
      read(opened);
      const { inputTokens, outputTokens, money } = opened.sums;
      const record = { day: opened.day, inputTokens, outputTokens, money } satisfies BudgetRecord;
      const text = `${JSON.stringify(record, null, 2).padEnd(RECORD_BYTES - 1)}\n`;
      try {
        overwriteStart(path, text);
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
        writeFileAtomic(path, text);
      }
    } while (opened.journal.hasNew());
  };

  return {
    dayFrom: (today) => {
      const kept = [today, ...keptDays(), ...(exists(path) ? [readRecord(path).day] : [])];
      return kept.sort().at(-1)!;
    },
    sums: (day) => {
      const opened = open(day);
      read(opened);
      const found = failure;
      failure = null;
      if (found !== null) throw found;
      return opened.sums;
    },
    add: (day, amounts) => {
      const opened = open(day);
      const id = `${writer}.${++entries}`;
      const given = Object.entries(amounts).filter(([, value]) => value !== 0);
      opened.journal.append(JSON.stringify({ id, ...Object.fromEntries(given) }));
      // It is added: what fails from here on must not have it added again.
      let withThis: BudgetSums | undefined;
      read(opened, (seen) => {
        if (seen === id) withThis = opened.sums;
      });
      if (amounts.inputTokens + amounts.outputTokens > 0) {
        try {
          writeRecord(opened);
        } catch (error) {
          failure ??= error;
        }
      }
      return withThis ?? plus(opened.sums, amounts);
    },
  };
}

function dayBefore(day: string): string {
  return new Date(Date.parse(day) - 86_400_000).toISOString().slice(0, 10);
}

const START = '{"id":"';

/** By a full disk: its writer knows, and adds the same again. */
function isCutShort(line: string): boolean {
  return !line.endsWith('}') && (line.startsWith(START) || START.startsWith(line));
}

function readEntry(line: string, where: string): z.output<typeof ENTRY> {
  try {
    const value: unknown = JSON.parse(line);
    const { data } = ENTRY.safeParse(value);
    if (isJsonObject(value) && data !== undefined) return data;
  } catch {} // said below
  throw invalid(where, 'is none of a budget');
}

/** @throws CrayonError `config-invalid`, `json-invalid`: to forget what was spent would be worse than to stop */
function readRecord(path: string): BudgetRecord {
  const { data } = BUDGET_RECORD.safeParse(readJsonObject(path, LIMITS.noteBytes));
  if (data !== undefined) return data;
  throw invalid(path, 'expected {day, inputTokens, outputTokens, money} of one day');
}

function invalid(where: string, what: string): CrayonError {
  return new CrayonError('config-invalid', `${where}: ${what}`, {
    hint: 'Stop the servers and remove the files of this budget to start counting from zero.',
  });
}
