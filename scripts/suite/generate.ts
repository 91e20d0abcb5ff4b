/**
 * Writes the quickstart suite: `suite/<task>/{train,heldout,test}.jsonl` and `suite/<task>.yaml`.
 *
 *   npx tsx scripts/suite/generate.ts --dbpedia <o-lora>/CL_Benchmark/TC/dbpedia/test.json [--out suite] [--only a,b] [--candidates]
 *
 * Every prompt is drawn once: a prompt that was seen before in its task, in any split, is drawn again, so the splits
 * cannot overlap (checked once more at the end, on the files as written). Seeded: the same command, the same bytes.
 */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import { classifyTasks } from './classify.js';
import { dbpediaTask } from './dbpedia.js';
import { routingTasks } from './routing.js';
import { skillTasks } from './skills.js';
import { type Item, normalisePrompt, type Task } from './types.js';

export const splits = { train: 1200, heldout: 80, test: 240 } as const;
const seed = 20240607;
const maxSuiteBytes = 8e6;

/** The kinds of question whose number of different prompts is finite stop here instead of looping for ever. */
const maxDraws = 200_000;

export function allTasks(dbpediaPath: string): Task[] {
  return [...routingTasks, ...classifyTasks, dbpediaTask(dbpediaPath), ...skillTasks];
}

/** Candidates that one LoRA on the edge model does not learn (learnability.md); written with --candidates only. */
const dropped = ['price-lookup'];

/** Not in the group that a pool is built from: tasks for users whom the pool has not seen. */
const unseen = ['route-clinic'];

/** All items of one task by split; throws when the task has too few different prompts. */
export function drawItems(task: Task): Record<string, Item[]> {
  const random = createRandom(seed, task.name);
  const seen = new Set<string>();
  const drawn: Record<string, Item[]> = {};
  let draws = 0;
  // test first: it stays the same when the training split is made larger
  for (const split of ['test', 'heldout', 'train'] as const) {
    const items: Item[] = [];
    while (items.length < splits[split]) {
      if (++draws > maxDraws) throw new Error(`${task.name}: only ${seen.size} different prompts in ${maxDraws} draws`);
      const item = task.make(random);
      if (!item) throw new Error(`${task.name}: its source ended after ${seen.size} prompts`);
      const key = normalisePrompt(item.prompt);
      if (seen.has(key)) continue;
      seen.add(key);
      items.push(item);
    }
    drawn[split] = items;
  }
  return drawn;
}

export function taskYaml(task: Task): string {
  const choice = task.kind === 'multiple_choice';
  return `# ${task.description}.
task: ${task.name}
output_type: ${task.kind}
data_files:
${Object.keys(splits)
  .map((split) => `  ${split}: ${task.name}/${split}.jsonl`)
  .join('\n')}
format: jsonl
doc_to_text: "{{prompt}}"
${choice ? 'doc_to_choice: "{{choices}}"\ndoc_to_target: "{{answer}}"' : 'doc_to_target: "{{completion}}"'}
target_delimiter: ""
metadata:
  version: 1
  licence: ${task.licence}
`;
}

function groupYaml(names: readonly string[]): string {
  return `# The training splits of the suite as one data set: what the quickstart's pool is built from.
# Left out, for users whom the pool has not seen: ${unseen.join(', ')}.
group: suite
task:
${names.map((name) => `  - { task: ${name}.yaml, split: train }`).join('\n')}
metadata:
  version: 1
`;
}

/** Reads the suite back and compares every pair of splits; returns the bytes of the JSONL files. */
export function checkSuite(out: string, names: readonly string[]): number {
  let bytes = 0;
  for (const name of names) {
    const owner = new Map<string, string>();
    for (const split of Object.keys(splits)) {
      const path = join(out, name, `${split}.jsonl`);
      bytes += statSync(path).size;
      for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) {
        const item = JSON.parse(line) as Item;
        const key = normalisePrompt(item.prompt);
        if (owner.has(key)) throw new Error(`${name}: "${item.prompt}" stands in ${owner.get(key)} and in ${split}`);
        owner.set(key, split);
        if (!item.completion.startsWith(' ')) throw new Error(`${path}: completion without its leading space`);
        if (item.choices && item.choices[item.answer!] !== item.completion)
          throw new Error(`${path}: wrong answer index`);
      }
    }
  }
  if (bytes > maxSuiteBytes) throw new Error(`suite holds ${bytes} bytes, over the limit of ${maxSuiteBytes}`);
  return bytes;
}

function main(): void {
  const { values } = parseArgs({
    options: {
      dbpedia: { type: 'string' },
      out: { type: 'string', default: 'suite' },
      only: { type: 'string' },
      candidates: { type: 'boolean' },
    },
  });
  if (!values.dbpedia) throw new Error('--dbpedia <path of the DBpedia test.json> is needed');
  const wanted = values.only?.split(',');
  const tasks = allTasks(values.dbpedia).filter(({ name }) =>
    wanted ? wanted.includes(name) : values.candidates || !dropped.includes(name),
  );
  for (const task of tasks) {
    mkdirSync(join(values.out, task.name), { recursive: true });
    for (const [split, items] of Object.entries(drawItems(task))) {
      const text = items.map((item) => `${JSON.stringify(item)}\n`).join('');
      writeFileSync(join(values.out, task.name, `${split}.jsonl`), text);
    }
    writeFileSync(join(values.out, `${task.name}.yaml`), taskYaml(task));
  }
  const present = readdirSync(values.out, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const names = present.map(({ name }) => name).sort();
  writeFileSync(join(values.out, 'suite.yaml'), groupYaml(names.filter((name) => !unseen.includes(name))));
  const bytes = checkSuite(values.out, names);
  console.log(`${present.length} tasks, ${(bytes / 1e6).toFixed(2)} MB, no prompt in two splits`);
}

if (process.argv[1]?.endsWith('generate.ts')) main();
