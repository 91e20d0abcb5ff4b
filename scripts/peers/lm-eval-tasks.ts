/**
 * The other half of lm_eval_tasks.py: renders the same templates over the same records, and compares prompts, answers and right
 * choices byte by byte with what lm-evaluation-harness made of them.
 *
 *     npx tsx scripts/peers/lm-eval-tasks.ts build/lm-eval-tasks.jsonl [--show]
 */

import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { parseDatasetConfig, type TaskConfig } from '../../src/data/config.js';
import { whyInvalid } from '../../src/data/example.js';
import { type DataRecord, withNumbersKept } from '../../src/data/numbers.js';
import { renderTask } from '../../src/data/template.js';

interface Expected {
  prompt: string;
  choices?: string[];
  gold?: number[];
  completion?: string;
  /** prompt and answer, as they stand before another prompt */
  whole?: string;
  answers?: number;
}
interface Row {
  file: string;
  files: number;
  config: Record<string, unknown>;
  records: DataRecord[];
  expected: Expected[];
  error?: string;
}

const [path = '', flag] = process.argv.slice(2);
const counts = new Map<string, { templates: number; files: number; records: number }>();
const count = (what: string, { files }: Row, records: number) => {
  const entry = counts.get(what) ?? { templates: 0, files: 0, records: 0 };
  counts.set(what, { templates: entry.templates + 1, files: entry.files + files, records: entry.records + records });
};

for (const line of readFileSync(path, 'utf8').split('\n')) {
  if (line === '') continue;
  const row = withNumbersKept(line, JSON.parse) as Row;
  const outcome = compare(row);
  count(outcome, row, row.records.length);
  if (flag === '--show' && !/^equal/.test(outcome)) console.log(row.file, outcome);
}
console.log('| outcome | distinct templates | task files | records |\n|---|---:|---:|---:|');
for (const [what, { templates, files, records }] of [...counts].sort(([a], [b]) => a.localeCompare(b))) {
  console.log(`| ${what} | ${templates} | ${files} | ${records} |`);
}

function compare({ file, config, records, expected }: Row): string {
  const isAccepted = records.length > 0;
  const refused = (reason: string) => `${isAccepted ? 'refused by crayon' : 'refused by both'}: ${kindOf(reason)}`;
  let task: TaskConfig;
  try {
    task = parseDatasetConfig({ task: 't', data_files: { test: 'x.jsonl' }, ...config }, file) as TaskConfig;
    renderTask({ ...task, where: file, isCsv: false }, []);
  } catch (error) {
    return refused((error as Error).message);
  }
  if (!isAccepted) return 'lm-evaluation-harness renders none of the records made up';
  // One by one: numbers of the made-up records are not of one kind.
  let outcome = '';
  for (const [i, record] of records.entries()) {
    const [made] = renderTask({ ...task, where: file, isCsv: false }, [record]);
    const want = expected[i]!;
    const problem = typeof made === 'string' ? made : whyInvalid(made!);
    if (typeof made === 'string' || problem !== undefined) {
      outcome ||= refused(problem!);
      continue;
    }
    const { prompt, completion, choices, answer } = made!;
    const got =
      choices !== undefined
        ? { prompt, choices, gold: [answer] }
        : want.whole === undefined
          ? { prompt, completion }
          : { prompt, whole: prompt + completion, answers: 1 };
    if (isDeepStrictEqual(got, want)) continue;
    if (flag === '--show') console.log(file, '\n  crayon  ', JSON.stringify(got), '\n  lm_eval ', JSON.stringify(want));
    return 'different';
  }
  return outcome || 'equal';
}

/** The reason without its values. */
function kindOf(problem: string): string {
  const reason = problem.replace(/^[^:]*\.yaml: /, '').replace(/ in line \d+|\(line \d+\)/g, '');
  return reason
    .replace(/"(?:[^"\\]|\\.)*"/g, '"..."')
    .replace(/\d+/g, 'n')
    .slice(0, 90);
}
