/** The commands that write, each on the smallest input that takes all of its steps. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readRun } from '../../src/bench/report/read.js';
import { main } from '../../src/cli/main.js';
import { exists } from '../../src/files/io.js';
import { openPeftAdapter } from '../../src/peft/read.js';
import { openPool } from '../../src/pool/pool.js';
import { writeSetup } from '../helpers/bench-setup.js';
import { fixture, ROOT } from '../helpers/fixtures.js';
import { JOBS } from './jobs.js';
import { digestOf, digestOfFile, type Scenario } from './scenario.js';

const POOL = join(ROOT, 'models', 'crayon-edge-pool');
const LLAMA = fixture('models', 'llama');

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a scenario's command in this process, without any fault. */
export async function run(command: ReturnType<Scenario['command']>, dir: string): Promise<Ended> {
  if ('job' in command) {
    JOBS[command.job]!.run(dir, () => {});
    return { code: 0, stdout: '', stderr: '' };
  }
  const said = { stdout: '', stderr: '' };
  const sink = (name: keyof typeof said) => {
    const write = (text: string) => {
      said[name] += text;
      return true;
    };
    return { write } as unknown as NodeJS.WritableStream;
  };
  const code = await main(command.argv, { stdout: sink('stdout'), stderr: sink('stderr'), env: {} });
  return { code, ...said };
}

async function must(argv: string[]): Promise<void> {
  const { code, stderr } = await run({ argv }, '.');
  if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`);
}

const blend = (dir: string, first: number): string[] => {
  const coefficients = Array.from({ length: 6 }, (_, n) => (n === first ? 1 : 0)).join(',');
  return ['blend', '--pool', POOL, '--coefficients', coefficients, '--out', join(dir, 'ad'), '--force'];
};

const blending = (name: string, withoutKoffi: boolean): Scenario => ({
  name,
  withoutKoffi,
  path: 'ad',
  prepare: (dir) => must(blend(dir, 0)),
  command: (dir) => ({ argv: blend(dir, 1) }),
  output: (dir) => {
    openPeftAdapter(join(dir, 'ad')).close();
    return digestOf(join(dir, 'ad'));
  },
});

const build = (dir: string, seed: number): string[] => [
  ...[
    'build-pool',
    '--model',
    LLAMA,
    '--data',
    join(dir, 'train.jsonl'),
    '--pool',
    join(dir, 'pool'),
    '--seed',
    String(seed),
  ],
  ...[
    '--clusters',
    '2',
    '--rank',
    '2',
    '--batch-size',
    '8',
    '--backend',
    'wasm',
    '--checkpoint-seconds',
    '0.001',
    '--force',
  ],
];

/** Times differ from run to run. */
const withoutTimes = (value: unknown): string => JSON.stringify(value, (key, of) => (key.endsWith('Ms') ? 0 : of));

const building = (name: string, withoutKoffi: boolean): Scenario => ({
  name,
  withoutKoffi,
  path: 'pool',
  prepare: async (dir) => {
    const records = Array.from({ length: 12 }, (_, i) => ({
      prompt: `weather ${i % 3} ${i}:`,
      completion: ` dry ${i % 2}`,
    }));
    writeFileSync(join(dir, 'train.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    await must(build(dir, 0));
  },
  command: (dir) => ({ argv: build(dir, 1) }),
  output: (dir) => {
    openPool(join(dir, 'pool')).verify();
    return digestOf(join(dir, 'pool'));
  },
});

export const SCENARIOS: Scenario[] = [
  blending('blend', false),
  blending('blend without an exchange', true),
  building('build-pool', false),
  building('build-pool without an exchange', true),
  {
    name: 'export',
    path: 'm.gguf',
    prepare: (dir) => must(['export', '--model', LLAMA, '--type', 'F32', '--gguf', join(dir, 'm.gguf')]),
    command: (dir) => ({
      argv: ['export', '--model', LLAMA, '--type', 'F16', '--gguf', join(dir, 'm.gguf'), '--force'],
    }),
    output: (dir) => digestOfFile(join(dir, 'm.gguf')),
  },
  {
    name: 'bench',
    grows: true,
    prepare: async (dir) => {
      const users = [{ name: 'weather', kind: 'seen', tasks: [join(dir, 'setup', 'weather.yaml')], k: 3 }];
      writeSetup(join(dir, 'setup'), { strategies: ['base', 'crayon'], users });
    },
    command: (dir) => ({
      argv: ['bench', '--config', join(dir, 'setup', 'bench.yaml'), '--out', join(dir, 'run'), '--backend', 'wasm'],
    }),
    output: (dir) => {
      const path = join(dir, 'run');
      if (!exists(join(path, 'run.json'))) return '';
      const { cells } = readRun(path);
      return cells.map(withoutTimes).join('\n');
    },
  },
  ...Object.entries(JOBS).map(
    ([name, { prepare, output }]): Scenario => ({
      name,
      grows: name === 'budget',
      prepare: async (dir) => prepare(dir),
      command: () => ({ job: name }),
      output,
    }),
  ),
];
