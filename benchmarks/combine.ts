/**
 * How fast is blending? crayon's `cat` and `svd` beside PEFT's add_weighted_adapter and beside `cp`.
 *
 *     npx tsx benchmarks/combine.ts --python <python with torch, peft and transformers>
 *
 * The pool: 16 adapters of rank 8 on all seven projections of Qwen2.5-0.5B's 24 layers, made once from a seed. What is timed:
 *
 * - crayon: everything from opening the adapters on disk to the synced and renamed output directory with its digest. `first` is
 *   the first blend of a fresh process, before the JIT compiler has warmed up, as a command-line user has it (median over
 *   processes); `warm` the following ones in the same processes;
 * - PEFT: add_weighted_adapter alone, the pool already in memory, nothing written. Its svd runs whole, once, with PEFT's
 *   defaults; with --peft-reduced as svd_full_matrices=False, which is the same result in half the time;
 * - `cp`: a file of the same bytes as the output to a new file, with and without fsync. crayon's own writing always syncs.
 *
 * Without --python the peer is left out. Prints one table and, as the last line, one JSON document.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { blendAdapters } from '../src/blend/blend.js';
import { createRandom } from '../src/core/random.js';
import { openPeftAdapter } from '../src/peft/read.js';
import { writePeftAdapter } from '../src/peft/write.js';

const { values: options } = parseArgs({
  options: {
    python: { type: 'string' },
    cache: { type: 'string', default: '.crayon/bench-combine' },
    adapters: { type: 'string', default: '16' },
    rank: { type: 'string', default: '8' },
    'svd-rank': { type: 'string', default: '16' },
    processes: { type: 'string', default: '3' },
    'peft-reduced': { type: 'boolean', default: false },
    'skip-peft-svd': { type: 'boolean', default: false },
    // used by the benchmark itself, to time blends in a fresh process
    worker: { type: 'string' },
  },
});

const N = Number(options.adapters);
const RANK = Number(options.rank);
const SVD_RANK = Number(options['svd-rank']);
const LAYERS = 24;
const WARM_RUNS = 3;
/** (in, out) of Qwen2.5-0.5B's projections. */
const SHAPES: Record<string, [number, number]> = {
  'self_attn.q_proj': [896, 896],
  'self_attn.k_proj': [896, 128],
  'self_attn.v_proj': [896, 128],
  'self_attn.o_proj': [896, 896],
  'mlp.gate_proj': [896, 4864],
  'mlp.up_proj': [896, 4864],
  'mlp.down_proj': [4864, 896],
};
const poolDir = join(options.cache, `pool-${N}x${RANK}`);
const coefficients = Array.from({ length: N }, (_, n) => (n + 1) / ((N * (N + 1)) / 2));

/** Writes the pool's adapters that are not there yet: A uniform as PEFT initialises it, B of a trained adapter's size. */
function makePool(): void {
  mkdirSync(poolDir, { recursive: true });
  for (let n = 0; n < N; n++) {
    const dir = join(poolDir, String(n));
    if (existsSync(dir)) continue;
    const random = createRandom(n, 'bench-combine');
    const uniform = (count: number, bound: number) => () =>
      Float32Array.from({ length: count }, () => (2 * random.uniform() - 1) * bound);
    const modules = Array.from({ length: LAYERS }, (_, layer) =>
      Object.entries(SHAPES).map(([name, [inputs, out]]) => ({
        name: `model.layers.${layer}.${name}`,
        r: RANK,
        in: inputs,
        out,
        a: uniform(RANK * inputs, 1 / Math.sqrt(inputs)),
        b: uniform(out * RANK, 0.01),
      })),
    ).flat();
    const targetModules = Object.keys(SHAPES).map((name) => name.split('.')[1]!);
    writePeftAdapter(dir, { baseModel: 'Qwen/Qwen2.5-0.5B', modules, r: RANK, loraAlpha: 2 * RANK, targetModules });
  }
}

type Combine = 'cat' | 'svd';
const outDir = (combine: Combine): string => join(options.cache, `out-${combine}`);

/** One blend, from the files of the pool to the files of the result. Milliseconds. */
function timeBlend(combine: Combine): number {
  const out = outDir(combine);
  rmSync(out, { recursive: true, force: true });
  const start = performance.now();
  const adapters = coefficients.map((_, n) => openPeftAdapter(join(poolDir, String(n))));
  const rank = combine === 'svd' ? { rank: SVD_RANK } : {};
  blendAdapters({ adapters, coefficients, combine, ...rank, baseModel: 'Qwen/Qwen2.5-0.5B', out });
  for (const adapter of adapters) adapter.close();
  return performance.now() - start;
}

/** Blends in fresh processes: the first of each, and the others. */
function timeInProcesses(combine: Combine): { first: number[]; warm: number[] } {
  const script = fileURLToPath(import.meta.url);
  const first: number[] = [];
  const warm: number[] = [];
  for (let i = 0; i < Number(options.processes); i++) {
    const args = [...process.execArgv, script, '--worker', combine, '--cache', options.cache];
    args.push('--adapters', String(N), '--rank', String(RANK), '--svd-rank', String(SVD_RANK));
    const times = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as number[];
    first.push(times[0]!);
    warm.push(...times.slice(1));
  }
  return { first, warm };
}

/** `cp` of the output's weights to a file that does not exist yet. */
function timeCopy(combine: Combine): { plain: number[]; synced: number[]; bytes: number } {
  const source = join(outDir(combine), 'adapter_model.safetensors');
  const target = join(options.cache, 'copy.safetensors');
  const times = (sync: boolean): number[] =>
    Array.from({ length: 5 }, () => {
      rmSync(target, { force: true });
      const start = performance.now();
      execFileSync('cp', [source, target]);
      if (sync) {
        const fd = openSync(target, 'r+');
        fsyncSync(fd);
        closeSync(fd);
      }
      return performance.now() - start;
    });
  const result = { plain: times(false), synced: times(true), bytes: readFileSync(source).byteLength };
  rmSync(target, { force: true });
  return result;
}

interface PeftResult {
  cat_seconds: number[];
  svd_seconds?: number;
  cat_difference?: number;
  svd_difference?: number;
}

function runPeft(python: string): PeftResult {
  const script = fileURLToPath(new URL('./combine_peft.py', import.meta.url));
  const args = [script, '--pool', poolDir, '--coefficients', coefficients.join(','), '--svd-rank', String(SVD_RANK)];
  args.push('--check-cat', outDir('cat'), '--check-svd', outDir('svd'));
  if (!options['peft-reduced']) args.push('--full-matrices');
  if (options['skip-peft-svd']) args.push('--skip-svd');
  const { status, stdout } = spawnSync(python, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) throw new Error(`${python} ${script} failed with status ${status}`);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as PeftResult;
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)]!;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 10_000 ? 3 : 1)} s`;
const times = (ratio: number): string => `${ratio.toFixed(ratio < 10 ? 2 : 1)} x`;

function main(): void {
  makePool();
  const machine = { cpu: cpus()[0]!.model.trim(), cores: cpus().length, node: process.version };
  console.error(`${machine.cores} cores of ${machine.cpu}, Node ${machine.node}; ${N} adapters of rank ${RANK}`);
  const ours = { cat: timeInProcesses('cat'), svd: timeInProcesses('svd') };
  const copy = { cat: timeCopy('cat'), svd: timeCopy('svd') };
  const peft = options.python === undefined ? undefined : runPeft(options.python);

  const rows: string[][] = [['', 'cat', `svd to rank ${SVD_RANK}`]];
  const row = (name: string, cell: (combine: Combine) => string): void => {
    rows.push([name, cell('cat'), cell('svd')]);
  };
  const peftMs = (combine: Combine): number | undefined => {
    const value = combine === 'cat' ? peft && median(peft.cat_seconds) : peft?.svd_seconds;
    return value === undefined ? undefined : value * 1000;
  };
  const faster = (combine: Combine, ms: number): string => {
    const theirs = peftMs(combine);
    return theirs === undefined ? '-' : times(theirs / ms);
  };
  row('bytes written', (combine) => `${(copy[combine].bytes / 1e6).toFixed(1)} MB`);
  row('crayon, first in a process', (combine) => seconds(median(ours[combine].first)));
  row('crayon, warm', (combine) => seconds(median(ours[combine].warm)));
  row('cp', (combine) => seconds(median(copy[combine].plain)));
  row('cp + fsync', (combine) => seconds(median(copy[combine].synced)));
  row('PEFT add_weighted_adapter', (combine) => {
    const ms = peftMs(combine);
    return ms === undefined ? '-' : seconds(ms);
  });
  row('crayon first / cp + fsync', (combine) => times(median(ours[combine].first) / median(copy[combine].synced)));
  row('crayon warm / cp + fsync', (combine) => times(median(ours[combine].warm) / median(copy[combine].synced)));
  row('crayon warm / cp', (combine) => times(median(ours[combine].warm) / median(copy[combine].plain)));
  row('PEFT / crayon first', (combine) => faster(combine, median(ours[combine].first)));
  row('PEFT / crayon warm', (combine) => faster(combine, median(ours[combine].warm)));
  row('|ours - PEFT| / |PEFT|, worst module', (combine) => {
    const difference = combine === 'cat' ? peft?.cat_difference : peft?.svd_difference;
    return difference === undefined ? '-' : difference.toExponential(1);
  });
  for (const [name, cat, svd] of rows) console.log(`${name!.padEnd(40)}${cat!.padStart(14)}${svd!.padStart(18)}`);
  console.log(
    JSON.stringify({ benchmark: 'combine', machine, adapters: N, rank: RANK, svdRank: SVD_RANK, ours, copy, peft }),
  );
}

if (options.worker === undefined) main();
else {
  const combine = options.worker as Combine;
  console.log(JSON.stringify(Array.from({ length: 1 + WARM_RUNS }, () => timeBlend(combine))));
}
