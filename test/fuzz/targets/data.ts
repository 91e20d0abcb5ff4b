/** Data sets: plain files by a strict second reading, and YAML descriptions with their templates. */

import { join } from 'node:path';
import { loadDataset } from '../../../src/data/dataset.js';
import { recordPrompt } from '../../../src/data/record.js';
import { type LocatedRecord, readRecords } from '../../../src/data/record-file.js';
import { Finding, type Target } from '../target.js';
import { strictCsv } from './csv-peer.js';
import { CODE_MS, files, filesOf, repository } from './seeds.js';

const CHAT = {
  messages: [
    { role: 'system', content: 's' },
    { role: 'user', content: 'q' },
    { role: 'assistant', content: [{ type: 'text', text: 'a' }] },
  ],
};
const RECORDS: object[] = [
  { prompt: 'Say "a", b', completion: ' c\nd' },
  { prompt: 'Which?', choices: [' one', ' two'], answer: 1 },
  CHAT,
  {
    conversations: [
      { from: 'human', value: 'q' },
      { from: 'gpt', value: 'a' },
    ],
  },
  { instruction: 'Do', input: 'x', output: 'y' },
  { prompt: [{ role: 'user', content: 'q' }], completion: [{ role: 'assistant', content: 'a' }] },
];
const lines = (records: readonly object[]) => `${records.map((record) => JSON.stringify(record)).join('\n')}\n`;

export const dataset: Target = {
  name: 'data-set',
  reads: 'JSONL, JSON and CSV files of records, conversations and choices',
  weight: 2,
  seeds: () => [
    files({ 'x.jsonl': lines(RECORDS) }),
    ...RECORDS.map((record) => files({ 'x.jsonl': lines([record, record]) })),
    files({ 'x.json': JSON.stringify(RECORDS, null, 1) }),
    files({ 'x.csv': 'prompt,completion\n"a ""b"", c",d\ne,"f\ng"\n' }),
    files({ 'x.csv': 'instruction,input,output\nx,,y\nz,"1\t2",w\n' }),
  ],
  words: [
    'tools',
    'role',
    'from',
    'value',
    'system',
    'weight',
    'train',
    'tool_calls',
    'developer',
    'answer',
    'choices',
    'text',
  ],
  run(dir, given) {
    const name = [...given.keys()][0] ?? 'x.jsonl';
    const path = join(dir, name);
    const { examples } = loadDataset(path, { turns: 'all' });
    loadDataset(path, { limit: 1, seed: 1 });
    for (const { prompt, completion } of examples)
      if (typeof prompt !== 'string' || typeof completion !== 'string')
        throw new Finding('different', 'an example that is no text');
    const format = name.slice(2) as 'jsonl' | 'json' | 'csv';
    const { records } = readRecords(path, format);
    for (const { record } of records) tolerant(() => recordPrompt(record));
    const difference = secondReading(given.get(name)!.toString('utf8'), format, records);
    if (difference !== null) throw new Finding('different', difference);
    return `${format} ${examples.length}`;
  },
};

/** A plain Error is how records are refused one by one; another kind of exception is a fault. */
function tolerant(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof Error) || error.constructor !== Error) throw error;
  }
}

/** What a strict reader makes of an accepted file, against what crayon made of it; what is no JSON but Python's says nothing. */
function secondReading(
  text: string,
  format: 'jsonl' | 'json' | 'csv',
  records: readonly LocatedRecord[],
): string | null {
  const plain = text.replace(/^\ufeff/, '');
  const lines = () => plain.split('\n').filter((line) => line.trim() !== '');
  let expected: unknown;
  try {
    expected =
      format === 'csv'
        ? strictCsv(plain)
        : format === 'json'
          ? JSON.parse(plain)
          : lines().map((line) => JSON.parse(line));
  } catch {
    return null;
  }
  if (typeof expected === 'string') return `${format}: a strict reader refuses it: ${expected}`;
  const asText = (value: unknown) => JSON.stringify(value, (_, x) => (typeof x === 'bigint' ? Number(x) : x));
  const [theirs, ours] = [asText(expected), asText(records.map(({ record }) => record))];
  return theirs === ours ? null : `${format}: a strict reader has ${theirs.slice(0, 300)}, not ${ours.slice(0, 300)}`;
}

const TASK = {
  task: 'x',
  output_type: 'multiple_choice',
  data_files: { train: 'x.jsonl', test: { path: 'x.jsonl', range: [0, 1] } },
  doc_to_text: 'Q: {{ question }}{% if hint %} ({{ hint | upper }}){% endif %}\nA:',
  doc_to_choice: '{{ options }}',
  doc_to_target: '{{ label }}',
  limit: 5,
  metadata: { version: 1 },
};
const QUESTIONS = lines([
  { question: 'a', options: ['b', 'c'], label: 1, hint: '' },
  { question: 'd', options: ['e', 'f'], label: 0, hint: 'h' },
]);
const GROUP = { group: 'g', task: ['task.yaml', { task: 'task.yaml', limit: 1, split: 'test' }] };

export const task: Target = {
  name: 'data-set-yaml',
  longestMs: CODE_MS,
  reads: "lm-evaluation-harness's task files and groups, with the files and templates that they name",
  weight: 2,
  seeds: () => [
    files({ 'main.yaml': JSON.stringify(TASK), 'x.jsonl': QUESTIONS }),
    files({ 'main.yaml': JSON.stringify(GROUP), 'task.yaml': JSON.stringify(TASK), 'x.jsonl': QUESTIONS }),
    files({
      'main.yaml': JSON.stringify({
        ...TASK,
        output_type: 'generate_until',
        doc_to_choice: undefined,
        doc_to_text: 'question',
        doc_to_target: '{{ options[label] }}',
        target_delimiter: '',
      }),
      'x.jsonl': QUESTIONS,
    }),
    files({
      'main.yaml': JSON.stringify({
        ...TASK,
        doc_to_choice: ['yes', 'no'],
        doc_to_target: 1,
        columns: ['question', 'hint'],
        data_files: { train: 'x.csv' },
      }),
      'x.csv': 'a,b\n"c\nd",e\n',
    }),
    files({
      'main.yaml': JSON.stringify({
        ...TASK,
        task: '{{ topic }}',
        file_field: 'topic',
        data_files: { train: '*.jsonl' },
        skip_invalid: true,
      }),
      'x.jsonl': QUESTIONS,
    }),
  ],
  words: [
    '<<',
    'filter_list',
    'doc_to_decontamination_query',
    'range',
    'path',
    'format',
    'jsonl',
    'csv',
    'json',
    'skip_invalid',
    'file_field',
  ],
  run(dir) {
    const path = join(dir, 'main.yaml');
    const { examples, skipped } = loadDataset(path, {});
    loadDataset(path, { dataDir: dir, limit: 1, seed: 3 });
    return `${examples.length} ${skipped}`;
  },
};

const CHOICE = `${JSON.stringify({ prompt: 'a', choices: ['b', 'c'], answer: 1, completion: 'c' })}\n`;

export const taskText: Target = {
  name: 'shipped-tasks',
  longestMs: CODE_MS,
  reads: "the suite's task files as people write them",
  weight: 0.5,
  seeds: () =>
    [...filesOf(repository('suite'), (name) => /^[\w-]+\.yaml$/.test(name)).values()]
      .filter((content) => content.includes('data_files'))
      .map((content) =>
        files({
          'main.yaml': content.toString().replace(/^ {2}(\w+): .*jsonl$/gm, '  $1: x.jsonl'),
          'x.jsonl': CHOICE,
        }),
      ),
  run: task.run,
};
