/**
 * How fast is blending? crayon's `cat`, `svd` and `linear` beside PEFT's add_weighted_adapter and beside `cp`.
 *
 *     npx tsx benchmarks/combine.ts --python <python with torch, peft and transformers>
 *
 * The pool: 16 adapters of rank 8 on all seven projections of Qwen2.5-0.5B's 24 layers, made once from a seed. What is timed:
 *
 * - crayon: everything from opening the adapters on disk to the synced and renamed output directory with its digest. `first` is
 *   the first blend of a fresh process, before the JIT compiler has warmed up, as a command-line user has it; `warm` the following
 *   ones in the same processes. `svd` and `linear` with what a pool of this size keeps of its adapters (factors.safetensors), and in
 *   the columns "alone" without;
 * - PEFT: add_weighted_adapter alone, the pool already in memory, nothing written. Its svd runs whole, once, with PEFT's
 *   defaults; with --peft-reduced as svd_full_matrices=False, which is the same result in half the time;
 * - `cp`: a file of the same bytes as the output to a new file, with and without fsync. crayon's own writing always syncs.
 *
 * Rounds take turns: in each, a process for every way of combining, then the copies of its output. Given are medians, minima, and the
 * processor's time of the minimum. Without --python the peer is left out. Prints one table and, as the last line, one JSON document.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { blendAdapters } from '../src/blend/blend.js';
import { createRandom } from '../src/core/random.js';
import { openPeftAdapter } from '../src/peft/read.js';
import { writePeftAdapter } from '../src/peft/write.js';
import { openPoolFactors, POOL_FACTORS, writePoolFactors } from '../src/pool/factors.js';
import type { Pool } from '../src/pool/pool.js';

const { values: options } = parseArgs({
  options: {
    python: { type: 'string' },
    cache: { type: 'string', default: '.crayon/bench-combine' },
    adapters: { type: 'string', default: '16' },
    rank: { type: 'string', default: '8' },
    'svd-rank': { type: 'string', default: '16' },
    processes: { type: 'string', default: '3' },
    only: { type: 'string', default: 'cat,svd,svd-alone,linear,linear-alone' },
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
  if (existsSync(join(poolDir, POOL_FACTORS))) return;
  const adapters = openAll();
  const start = performance.now();
  writePoolFactors(poolDir, adapters, DIGESTS);
  const bytes = statSync(join(poolDir, POOL_FACTORS)).size;
  console.error(`${POOL_FACTORS}: ${(bytes / 1e6).toFixed(1)} MB in ${seconds(performance.now() - start)}`);
  for (const adapter of adapters) adapter.close();
}

type Combine = 'cat' | 'svd' | 'linear';
type Way = Combine | 'svd-alone' | 'linear-alone';
const WAYS = options.only.split(',') as Way[];
const DIGESTS = coefficients.map((_, n) => `adapter ${n}`);
const manifest = { adapters: DIGESTS.map((sha256) => ({ sha256 })) } as Pool['manifest'];
const combineOf = (way: Way): Combine => way.split('-')[0] as Combine;
const openAll = () => coefficients.map((_, n) => openPeftAdapter(join(poolDir, String(n))));
const outDir = (way: Way): string => join(options.cache, `out-${way}`);

interface Time {
  ms: number;
  cpuMs: number;
}

function timed(action: () => void): Time {
  const before = process.cpuUsage();
  const start = performance.now();
  action();
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  return { ms, cpuMs: (user + system) / 1000 };
}

/** One blend, from the files of the pool to the files of the result. */
function timeBlend(way: Way): Time {
  const out = outDir(way);
  rmSync(out, { recursive: true, force: true });
  return timed(() => {
    const adapters = openAll();
    const combine = combineOf(way);
    const rank = combine === 'svd' ? { rank: SVD_RANK } : {};
    const factors = way === combine && combine !== 'cat' ? openPoolFactors({ dir: poolDir, manifest }) : null;
    blendAdapters({ adapters, coefficients, combine, ...rank, factors, baseModel: 'Qwen/Qwen2.5-0.5B', out });
    for (const adapter of adapters) adapter.close();
    factors?.close();
  });
}

interface Times {
  first: Time[];
  warm: Time[];
  plain: Time[];
  synced: Time[];
  bytes: number;
}

/** A round of one way: blends in a fresh process, the first of it and the others, then copies. */
function addRound(way: Way, times: Times): void {
  const script = fileURLToPath(import.meta.url);
  const args = [...process.execArgv, script, '--worker', way, '--cache', options.cache];
  args.push('--adapters', String(N), '--rank', String(RANK), '--svd-rank', String(SVD_RANK));
  const [first, ...warm] = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Time[];
  times.first.push(first!);
  times.warm.push(...warm);
  for (let i = 0; i < 2; i++) {
    times.plain.push(timeCopy(way, false));
    times.synced.push(timeCopy(way, true));
  }
  times.bytes = statSync(join(outDir(way), 'adapter_model.safetensors')).size;
}

/** `cp` of the output's weights to a file that does not exist yet. */
function timeCopy(way: Way, sync: boolean): Time {
  const source = join(outDir(way), 'adapter_model.safetensors');
  const target = join(options.cache, 'copy.safetensors');
  rmSync(target, { force: true });
  const time = timed(() => {
    execFileSync('cp', [source, target]);
    if (!sync) return;
    const fd = openSync(target, 'r+');
    fsyncSync(fd);
    closeSync(fd);
  });
  rmSync(target, { force: true });
  return time;
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
  const machine = { cpu: cpus()[0]!.model.trim(), cores: cpus().length, node: process.version, load: loadavg() };
  const load = machine.load.map((x) => x.toFixed(1)).join(' ');
  console.error(
    `${machine.cores} cores of ${machine.cpu}, Node ${machine.node}, load ${load}; ${N} adapters of rank ${RANK}`,
  );
  const ours = new Map<Way, Times>(WAYS.map((way) => [way, { first: [], warm: [], plain: [], synced: [], bytes: 0 }]));
  for (let i = 0; i < Number(options.processes); i++) for (const [way, times] of ours) addRound(way, times);
  const peft = options.python === undefined ? undefined : runPeft(options.python);

  const rows: string[][] = [['', ...WAYS.map((way) => (combineOf(way) === 'svd' ? `${way} ${SVD_RANK}` : way))]];
  const row = (name: string, cell: (times: Times, way: Way) => string): void => {
    rows.push([name, ...WAYS.map((way) => cell(ours.get(way)!, way))]);
  };
  const peftMs = (way: Way): number | undefined => {
    const value = { cat: peft && median(peft.cat_seconds), svd: peft?.svd_seconds, linear: undefined }[combineOf(way)];
    return value === undefined ? undefined : value * 1000;
  };
  const ms = (list: Time[]): number => median(list.map((time) => time.ms));
  const least = (list: Time[]): number => Math.min(...list.map((time) => time.ms));
  const shown = (list: Time[]): string => {
    const cpu = Math.min(...list.map((time) => time.cpuMs));
    return `${seconds(ms(list))} (${seconds(least(list))}, ${seconds(cpu)})`;
  };
  const ratio = (above: number | undefined, below: number) => (above === undefined ? '-' : times(above / below));
  row('bytes written', ({ bytes }) => `${(bytes / 1e6).toFixed(1)} MB`);
  row('crayon, first: median (least, its CPU)', ({ first }) => shown(first));
  row('crayon, warm', ({ warm }) => shown(warm));
  row('cp', ({ plain }) => `${seconds(ms(plain))} (${seconds(least(plain))})`);
  row('cp + fsync', ({ synced }) => `${seconds(ms(synced))} (${seconds(least(synced))})`);
  row('PEFT add_weighted_adapter', (_, way) => (peftMs(way) === undefined ? '-' : seconds(peftMs(way)!)));
  row('crayon first / cp + fsync (of the least)', ({ first, synced }) => {
    return `${ratio(ms(first), ms(synced))} (${ratio(least(first), least(synced))})`;
  });
  row('crayon warm / cp + fsync', ({ warm, synced }) => {
    return `${ratio(ms(warm), ms(synced))} (${ratio(least(warm), least(synced))})`;
  });
  row('PEFT / crayon first', ({ first }, way) => ratio(peftMs(way), ms(first)));
  row('PEFT / crayon warm', ({ warm }, way) => ratio(peftMs(way), ms(warm)));
  row('|ours - PEFT| / |PEFT|, worst module', (_, way) => {
    const difference = way === 'cat' ? peft?.cat_difference : way === 'svd' ? peft?.svd_difference : undefined;
    return difference === undefined ? '-' : difference.toExponential(1);
  });
  for (const [name, ...cells] of rows)
    console.log(`${name!.padEnd(42)}${cells.map((cell) => cell.padStart(28)).join('')}`);
  const document = { benchmark: 'combine', machine, adapters: N, rank: RANK, svdRank: SVD_RANK };
  console.log(JSON.stringify({ ...document, ours: Object.fromEntries(ours), peft }));
}

if (options.worker === undefined) main();
else {
  const way = options.worker as Way;
  console.log(JSON.stringify(Array.from({ length: 1 + WARM_RUNS }, () => timeBlend(way))));
}
