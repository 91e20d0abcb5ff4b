/**
 * The other half of lm_eval_tasks.py: renders the same templates over the same records, and compares prompts, answers and right
 * choices byte by byte with what lm-evaluation-harness made of them.
 *
 *     npx tsx scripts/peers/lm-eval-tasks.ts build/lm-eval-tasks.jsonl [--show]
 */

import { type LmEvalRow, lmEvalOutcome, readLmEvalRows } from '../../test/helpers/lm-eval-rows.js';

const [path = '', flag] = process.argv.slice(2);
const counts = new Map<string, { templates: number; files: number; records: number }>();
const count = (what: string, { files }: LmEvalRow, records: number) => {
  const entry = counts.get(what) ?? { templates: 0, files: 0, records: 0 };
  counts.set(what, { templates: entry.templates + 1, files: entry.files + files, records: entry.records + records });
};

for (const row of readLmEvalRows(path)) {
  const outcome = nameOf(row);
  count(outcome, row, row.records.length);
  if (flag === '--show' && outcome !== 'equal') console.log(row.file, outcome);
}
console.log('| outcome | distinct templates | task files | records |\n|---|---:|---:|---:|');
for (const [what, { templates, files, records }] of [...counts].sort(([a], [b]) => a.localeCompare(b))) {
  console.log(`| ${what} | ${templates} | ${files} | ${records} |`);
}

function nameOf(row: LmEvalRow): string {
  const isAccepted = row.records.length > 0;
  const outcome = lmEvalOutcome(row);
  if ('refused' in outcome)
    return `${isAccepted ? 'refused by crayon' : 'refused by both'}: ${kindOf(outcome.refused)}`;
  if (!isAccepted) return 'lm-evaluation-harness renders none of the records made up';
  if ('equal' in outcome) return 'equal';
  const [got, wanted] = [JSON.stringify(outcome.got), JSON.stringify(outcome.wanted)];
  if (flag === '--show') console.log(row.file, '\n  crayon  ', got, '\n  lm_eval ', wanted);
  return 'different';
}

/** The reason without its values. */
function kindOf(problem: string): string {
  const reason = problem.replace(/^[^:]*\.yaml: /, '').replace(/ in line \d+|\(line \d+\)/g, '');
  return reason
    .replace(/"(?:[^"\\]|\\.)*"/g, '"..."')
    .replace(/\d+/g, 'n')
    .slice(0, 90);
}
