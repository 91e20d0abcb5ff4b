/** A small bench: the tiny fixture model, made-up tasks with their splits, and a configuration that names them. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { fixture } from './fixtures.js';

/** The keys that a configuration must have; nothing that it names need be there to read it. */
export const LEAST_BENCH = {
  name: 'x',
  model: 'm',
  pool: { data: ['train.yaml'] },
  users: [{ name: 'u', kind: 'seen', tasks: ['t.yaml'] }],
  strategies: ['base'],
};

export interface SetupTask {
  name: string;
  /** without choices the answers are generated */
  choices?: string[];
  /** prompt and answer of the i-th record of a split */
  record: (split: string, i: number) => { prompt: string; answer: number | string };
}

const ANSWERS = [' wet', ' dry', ' white'];

export const WEATHER: SetupTask = {
  name: 'weather',
  choices: ANSWERS,
  record: (split, i) => ({ prompt: `weather ${split} ${i}:`, answer: i % 3 }),
};
export const SOUNDS: SetupTask = {
  name: 'sounds',
  choices: [' meow', ' woof', ' moo moo'],
  record: (split, i) => ({ prompt: `sound of ${split} ${i}:`, answer: i % 3 }),
};
export const SUMS: SetupTask = {
  name: 'sums',
  record: (split, i) => ({ prompt: `${split} ${i}+1=`, answer: ` ${i + 1}` }),
};

const SIZES = { train: 12, heldout: 8, test: 8 };

/** Writes a task's three splits and its description. @returns the description's path */
export function writeTask(dir: string, task: SetupTask): string {
  const folder = join(dir, task.name);
  mkdirSync(folder, { recursive: true });
  for (const [split, size] of Object.entries(SIZES)) {
    const lines = Array.from({ length: size }, (_, i) => {
      const { prompt, answer } = task.record(split, i);
      const record =
        task.choices === undefined ? { prompt, completion: answer } : { prompt, choices: task.choices, answer };
      return `${JSON.stringify(record)}\n`;
    });
    writeFileSync(join(folder, `${split}.jsonl`), lines.join(''));
  }
  const files = Object.fromEntries(Object.keys(SIZES).map((split) => [split, `${task.name}/${split}.jsonl`]));
  const description = {
    task: task.name,
    data_files: files,
    doc_to_text: '{{prompt}}',
    ...(task.choices === undefined ? {} : { doc_to_choice: '{{choices}}' }),
    doc_to_target: task.choices === undefined ? '{{completion}}' : '{{answer}}',
    target_delimiter: '',
  };
  const path = join(dir, `${task.name}.yaml`);
  writeFileSync(path, stringify(description));
  return path;
}

export interface Setup {
  config: Record<string, unknown>;
  /** of the written configuration */
  path: string;
}

/** Three tasks, a pool of three on all their training splits, a user of each kind of scoring and a mixture. */
export function writeSetup(dir: string, change: Record<string, unknown> = {}): Setup {
  mkdirSync(dir, { recursive: true });
  const [weather, sounds, sums] = [WEATHER, SOUNDS, SUMS].map((task) => writeTask(dir, task)) as [
    string,
    string,
    string,
  ];
  const config = {
    name: 'test',
    model: fixture('models', 'llama'),
    test_examples: 4,
    latency_examples: 1,
    batch_size: 4,
    max_tokens: 5,
    pool: {
      data: [weather, sounds, sums],
      split: 'train',
      clusters: 3,
      embedding: 'tfidf',
      centred: false,
      rank: 2,
      lora_alpha: 4,
      epochs: 1,
      batch_size: 8,
    },
    users: [
      { name: 'weather', kind: 'seen', tasks: [weather], k: 3 },
      { name: 'sums', kind: 'seen', tasks: [sums], k: 4 },
      { name: 'weather+sounds', kind: 'mixture', tasks: [weather, sounds], k: 5 },
    ],
    strategies: ['base', 'crayon'],
    few_shot: { steps: 3 },
    lorahub: { evaluations: 4 },
    ...change,
  };
  const path = join(dir, 'bench.yaml');
  writeFileSync(path, stringify(config));
  return { config, path };
}
