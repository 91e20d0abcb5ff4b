/**
 * What more workers gain: the same pool, built by `--mode separate --engine local` with 1 and with 2 workers in turns, from plans and in
 * directories of their own.
 *
 *     npm run build
 *     npx tsx benchmarks/engine-workers.ts [--workers 1,2] [--simulate 3,4,6] [--rounds 3] [--threads 1] [--limit 900]
 *         [--clusters 6] [--epochs 2] [--model models/crayon-edge] [--data suite/quickstart.yaml] [--dir <scratch>]
 *
 * Timed is the training stage: from the engine's start until the last cluster's result is there, processes that start and read the model
 * included; `prepare` lies before it, `finish` behind. P workers have P cores (`taskset`, on Linux) and one thread each (CRAYON_THREADS), as on
 * P machines: a worker alone that may take both cores would be compared with two that share them.
 *
 * A cluster's own seconds are those between two results of a run with one worker. From them, longest first, each to the worker that is
 * free first, comes what any number of workers would take on as many cores: the figure for 2 beside what 2 took says how far to believe
 * it.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { threadVariables } from '../src/core/threads.js';
import { readPlan, unitPath } from '../src/pool/units/plan.js';
import { stageFile } from '../src/pool/work-directory.js';
import { machine, machineLine } from './machine.js';

const { values: options } = parseArgs({
  options: {
    workers: { type: 'string', default: '1,2' },
    simulate: { type: 'string', default: '3,4,6' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: '1' },
    limit: { type: 'string', default: '900' },
    clusters: { type: 'string', default: '6' },
    epochs: { type: 'string', default: '2' },
    model: { type: 'string', default: 'models/crayon-edge' },
    data: { type: 'string', default: 'suite/quickstart.yaml' },
    dir: { type: 'string' },
  },
});
const numbers = (list: string) => list.split(',').map(Number);
const WORKERS = numbers(options.workers);
/** The compiled program: every worker starts it. */
const ENTRY = fileURLToPath(new URL('../dist/bin/crayon.js', import.meta.url));
const POLL_MS = 20;
const scratch = mkdtempSync(join(options.dir ?? tmpdir(), 'crayon-workers-'));

/** What is built, as the quickstart has it. */
const BUILD = [
  ...['--model', options.model, '--data', options.data, '--limit', options.limit, '--clusters', options.clusters],
  ...['--epochs', options.epochs, '--mode', 'separate', '--embedding', 'tfidf', '--no-centred', '--rank', '4'],
  ...['--alpha', '8', '--batch-size', '32', '--learning-rate', '0.01', '--long', 'truncate'],
];

/** @param cores that it may use, on Linux: a worker of one thread has two under ONNX Runtime, which then share its core */
function crayon(cores: number, ...args: string[]): { child: ChildProcess; ended: Promise<void> } {
  const env = { ...process.env, ...threadVariables(Number(options.threads)) };
  const command = [process.execPath, ENTRY, 'build-pool', ...args];
  const [file, ...rest] = process.platform === 'linux' ? ['taskset', '-c', `0-${cores - 1}`, ...command] : command;
  const child = spawn(file!, rest, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr!.on('data', (text) => {
    said += text;
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`exit code ${code}: ${said}`))));
  });
  return { child, ended };
}

/** Seconds from the engine's start until each cluster's result was there, by the cluster's number. */
async function trainingSeconds(workers: number, round: number): Promise<number[]> {
  const pool = join(scratch, `pool-${workers}-${round}`);
  const build = [...BUILD, '--pool', pool];
  await crayon(availableParallelism(), 'prepare', ...build).ended;
  const results = readPlan(pool).units.map((_, k) => stageFile(unitPath(pool, k), 'result'));
  const started = performance.now();
  const { ended } = crayon(
    workers * Number(options.threads),
    ...build,
    '--engine',
    'local',
    '--workers',
    String(workers),
  );
  let isOver = false;
  const over = ended.finally(() => {
    isOver = true;
  });
  const seconds: number[] = results.map(() => Number.NaN);
  while (seconds.some(Number.isNaN) && !isOver) {
    for (const [k, path] of results.entries()) {
      if (Number.isNaN(seconds[k]) && existsSync(path)) seconds[k] = (performance.now() - started) / 1000;
    }
    await Promise.race([sleep(POLL_MS), over]);
  }
  await over;
  rmSync(pool, { recursive: true });
  if (seconds.some(Number.isNaN)) throw new Error('the pool was finished before all results were seen');
  return seconds;
}

/** Of results one after the other: what each cluster took. */
function ownSeconds(ends: readonly number[]): number[] {
  const inOrder = [...ends].sort((a, b) => a - b);
  return ends.map((end) => end - (inOrder[inOrder.indexOf(end) - 1] ?? 0));
}

/** Longest first, each to the worker that is free first. */
function makespan(seconds: readonly number[], workers: number): number {
  const until = Array<number>(workers).fill(0);
  for (const each of [...seconds].sort((a, b) => b - a)) {
    const first = until.indexOf(Math.min(...until));
    until[first]! += each;
  }
  return Math.max(...until);
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)]!;
const fixed = (x: number, digits = 1) => x.toFixed(digits);

if (!existsSync(ENTRY)) throw new Error(`${ENTRY} is missing: npm run build`);
const before = machine();
const taken = new Map<number, number[]>(WORKERS.map((workers) => [workers, []]));
const own: number[][] = [];
try {
  for (let round = 0; round < Number(options.rounds); round++) {
    // in turns, the other way round every second time
    for (const workers of round % 2 === 0 ? WORKERS : [...WORKERS].reverse()) {
      const ends = await trainingSeconds(workers, round);
      taken.get(workers)!.push(Math.max(...ends));
      if (workers === 1) own.push(ownSeconds(ends));
      console.error(`round ${round}, ${workers} workers: ${fixed(Math.max(...ends))} s`);
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

const alone = taken.get(1);
const rows = WORKERS.map((workers) => {
  const seconds = taken.get(workers)!;
  const speedUps = alone === undefined ? [] : seconds.map((x, round) => alone[round]! / x);
  return { workers, seconds, speedUps };
});
// each cluster's median over the rounds
const units = own.length === 0 ? [] : own[0]!.map((_, k) => median(own.map((ofRound) => ofRound[k]!)));
const all = units.reduce((a, b) => a + b, 0);
const simulated = [...WORKERS, ...numbers(options.simulate)].map((workers) => {
  const seconds = makespan(units, workers);
  return { workers, seconds, speedUp: all / seconds };
});

console.log(
  '| workers | seconds of the training, each round | speed-up in the same round | simulated from the clusters |',
);
console.log('|---|---|---|---|');
for (const { workers, seconds, speedUp } of units.length === 0 ? [] : simulated) {
  const row = rows.find((one) => one.workers === workers);
  const measured = row === undefined ? '' : row.seconds.map((x) => fixed(x)).join(', ');
  const ratios = row === undefined ? '' : row.speedUps.map((x) => fixed(x, 2)).join(', ');
  console.log(`| ${workers} | ${measured} | ${ratios} | ${fixed(seconds)} s, ${fixed(speedUp, 2)}x |`);
}
console.log(
  `\nClusters alone: ${units.map((x) => fixed(x)).join(', ')} s (${fixed(all)} in all). ${machineLine(before)}`,
);
console.log(JSON.stringify({ machine: before, options, rows, units, simulated }));
