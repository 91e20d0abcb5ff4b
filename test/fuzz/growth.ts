/**
 * The law of readers: time and memory in proportion to the input. Each row's input grows to 2, 4 and 8 times its size; how the time
 * grows from the half to the whole is its exponent, and the memory is given for each byte of the largest.
 *
 *     npx tsx test/fuzz/growth.ts [part of a name]
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatBytes } from '../../src/core/format.js';
import { GROWTH_ROWS, type GrowthRow } from './growth-rows.js';
import { sizeOf } from './recipe.js';
import { Bench } from './trial.js';

/** Above this the time grows faster than the input; below `SHORT_MS` it is too short to say. */
const STEEPEST = 1.5;
const SHORT_MS = 60;
const LARGE_BYTES = 100 * 2 ** 20;

export interface Growth {
  name: string;
  outcome: string;
  /** processor time of each size */
  ms: number[];
  exponent: number;
  bytes: number;
  /** of memory, beyond what the process had before */
  memory: number;
}

export async function growthOf(bench: Bench, row: GrowthRow): Promise<Growth> {
  const ms: number[] = [];
  let [outcome, bytes, memory] = ['', 0, 0];
  for (const times of [1, 2, 4, 8]) {
    const input = row.make(times * row.n);
    bytes = sizeOf(input);
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 2; i++) {
      const [rss, before] = [process.memoryUsage.rss(), process.cpuUsage()];
      const verdict = await bench.tryOut(input);
      const { user, system } = process.cpuUsage(before);
      best = Math.min(best, (user + system) / 1000);
      outcome = verdict.kind === undefined ? verdict.outcome : `${verdict.kind}: ${verdict.message.split('\n')[0]}`;
      memory = Math.max(memory, verdict.grown > 0 ? process.resourceUsage().maxRSS * 1024 - rss : 0);
      if (best > 20_000) break;
    }
    ms.push(best);
    if (best > 20_000) break;
  }
  const [half = 0, whole = 0] = ms.slice(-2);
  return { name: `${row.target.name}: ${row.of}`, outcome, ms, exponent: Math.log2(whole / half), bytes, memory };
}

export const isSteep = ({ exponent, ms }: Growth) => exponent > STEEPEST && ms.at(-1)! > SHORT_MS;
export const isGreedy = ({ memory }: Growth) => memory > LARGE_BYTES;

if (process.argv[1] === import.meta.filename) {
  const wanted = process.argv[2] ?? '';
  const benches = new Map<string, Bench>();
  const scratch = mkdtempSync(join(tmpdir(), 'crayon-growth-'));
  process.stdout.write(
    '| input that grows | largest | processor time, ms | exponent | memory | for a byte | outcome |\n|---|---|---|---|---|---|---|\n',
  );
  for (const row of GROWTH_ROWS.filter(({ target, of }) => `${target.name}: ${of}`.includes(wanted))) {
    const { name } = row.target;
    if (!benches.has(name)) benches.set(name, await Bench.open(row.target, join(scratch, name)));
    const growth = await growthOf(benches.get(name)!, row);
    const { ms, exponent, bytes, memory, outcome } = growth;
    const mark = isSteep(growth) || isGreedy(growth) ? ' **!**' : '';
    process.stdout.write(
      `| ${growth.name}${mark} | ${formatBytes(bytes)} | ${ms.map((x) => x.toFixed(0)).join(' ')} | ${exponent.toFixed(2)} | ${formatBytes(memory)} | ${(memory / bytes).toFixed(0)} | ${outcome.slice(0, 60)} |\n`,
    );
  }
  for (const bench of benches.values()) await bench.close();
  rmSync(scratch, { recursive: true, force: true });
  process.exit(0);
}
