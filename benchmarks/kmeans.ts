/**
 * How fast is clustering? crayon's spherical k-means beside scikit-learn's Lloyd iterations.
 *
 *     npx tsx benchmarks/kmeans.ts --python <python with numpy and scikit-learn>
 *     npx tsx benchmarks/kmeans.ts --python ... --points rows.bin --dim 192    # unit rows of one's own, raw float32
 *
 * Two works. `one run`: the same first centroids, at most --iterations, until no point moves. `whole`: k-means++ and four runs, both with
 * their own defaults for the end. Both get the same normalised points and start with them in memory; crayon's time includes
 * copying them and starting its threads, once it is warm. crayon is bundled as it is installed. Every peer runs in processes of its
 * own, in turns, --rounds times; the median over all runs is reported, and beside it the least processor time, which a loaded machine moves less.
 * `cosine` is the mean similarity to the nearest normalised final centroid: spherical k-means normalises its centroids at every step
 * and scikit-learn does not, so the two agree closely but not in every digit, and need not take the same iterations.
 *
 * Points that memory does not hold are kmeans-shards.ts's.
 *
 * Without --python the peer is left out. Prints one table and, as the last line, one JSON document.
 */

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { createRandom } from '../src/core/random.js';
import { sphericalKMeans } from '../src/pool/kmeans.js';
import { densePoints } from '../src/pool/points.js';
import { bundle } from './bundle.js';

const { values: options } = parseArgs({
  options: {
    python: { type: 'string' },
    points: { type: 'string' },
    dim: { type: 'string' },
    clusters: { type: 'string', default: '16' },
    iterations: { type: 'string', default: '25' },
    rounds: { type: 'string', default: '3' },
    repeats: { type: 'string', default: '3' },
    threads: { type: 'string' },
    cache: { type: 'string', default: '.crayon/bench-kmeans' },
    // used by the benchmark itself, to time crayon in a process of its own
    worker: { type: 'string' },
    problem: { type: 'string' },
  },
});

interface Problem {
  n: number;
  d: number;
  k: number;
}
interface Timing {
  allSeconds: number[];
  allProcessorSeconds: number[];
  iterations: number;
  cosine: number;
}
const WORKS = ['one run', 'whole'] as const;
type WorkName = (typeof WORKS)[number];

const SYNTHETIC: Problem[] = [
  { n: 50_000, d: 896, k: 16 },
  { n: 20_000, d: 192, k: 16 },
];
const REPEATS = Number(options.repeats);

const fileOf = ({ n, d, k }: Problem, what: string) => join(options.cache, `${n}x${d}-${k}.${what}.bin`);
const median = (values: number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Overlapping clusters, 2k of them so that k centroids take many iterations to settle; the first centroids are k points. */
function makeProblem(problem: Problem): void {
  const { n, d, k } = problem;
  const random = createRandom(0, `bench-kmeans/${n}`);
  const centres = Array.from({ length: 2 * k }, () => Float32Array.from({ length: d }, () => random.normal()));
  const points = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    const centre = centres[random.int(2 * k)]!;
    const row = points.subarray(i * d, (i + 1) * d);
    for (let j = 0; j < d; j++) row[j] = centre[j]! + 1.5 * random.normal();
    const norm = Math.hypot(...row);
    for (let j = 0; j < d; j++) row[j] = row[j]! / norm;
  }
  writeFileSync(fileOf(problem, 'points'), points);
  writeFileSync(fileOf(problem, 'init'), points.subarray(0, k * d));
}

/** The problems of this run, with their files written. */
function problems(): Problem[] {
  mkdirSync(options.cache, { recursive: true });
  if (options.points === undefined) {
    SYNTHETIC.forEach(makeProblem);
    return SYNTHETIC;
  }
  const d = Number(options.dim);
  const rows = readFloats(options.points);
  const problem = { n: rows.length / d, d, k: Number(options.clusters) };
  copyFileSync(options.points, fileOf(problem, 'points'));
  writeFileSync(fileOf(problem, 'init'), rows.subarray(0, problem.k * d));
  return [problem];
}

function readFloats(path: string): Float32Array {
  return new Float32Array(Uint8Array.from(readFileSync(path)).buffer);
}

/** Child process: times crayon and prints a Timing. */
function work(name: WorkName, problem: Problem): void {
  const { n, d, k } = problem;
  const data = readFloats(fileOf(problem, 'points'));
  const init = readFloats(fileOf(problem, 'init'));
  const threads = options.threads === undefined ? undefined : Number(options.threads);
  const given = name === 'whole' ? {} : { init, maxIterations: Number(options.iterations), tolerance: 0 };
  const run = (limits: { maxIterations?: number }) => {
    const started = performance.now();
    const before = process.cpuUsage();
    const points = densePoints(data, n, d, { threads });
    const result = sphericalKMeans(points, { k, seed: 0, ...given, ...limits });
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(before);
    return { seconds, processorSeconds: (user + system) / 1e6, points, result };
  };
  run({ maxIterations: 2 }).points.dispose(); // compiles
  const allSeconds: number[] = [];
  const allProcessorSeconds: number[] = [];
  let timing: Timing | undefined;
  for (let i = 0; i < REPEATS; i++) {
    const { seconds, processorSeconds, points, result } = run({});
    allSeconds.push(seconds);
    allProcessorSeconds.push(processorSeconds);
    const similarities = points.similarities(result.centroids, k);
    points.dispose();
    let total = 0;
    for (let row = 0; row < n; row++) total += Math.max(...similarities.subarray(row * k, (row + 1) * k));
    timing = { allSeconds, allProcessorSeconds, iterations: result.iterations, cosine: total / n };
  }
  console.log(JSON.stringify(timing));
}

/** The last line that a child prints, as JSON. */
function runChild(file: string, args: string[]): Timing {
  const output = execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(output.trim().split('\n').at(-1)!) as Timing;
}

function runSklearn(name: WorkName, problem: Problem): Timing {
  const script = fileURLToPath(new URL('kmeans_sklearn.py', import.meta.url));
  const data = ['--data', fileOf(problem, 'points'), '--dim', String(problem.d), '--clusters', String(problem.k)];
  const one = ['--init', fileOf(problem, 'init'), '--max-iter', options.iterations, '--tol', '0'];
  const how = name === 'whole' ? ['--n-init', '4'] : one;
  return runChild(options.python!, [script, ...data, ...how, '--repeats', String(REPEATS)]);
}

function runCrayon(script: string, name: WorkName, problem: Problem): Timing {
  const args = ['--worker', name, '--problem', JSON.stringify(problem), '--cache', options.cache];
  const threads = options.threads === undefined ? [] : ['--threads', options.threads];
  const counts = ['--iterations', options.iterations, '--repeats', options.repeats, ...threads];
  return runChild(process.execPath, [script, ...args, ...counts]);
}

async function main(): Promise<void> {
  const script = await bundle(import.meta.url, join(options.cache, 'bundle'));
  const peers = [...(options.python === undefined ? [] : ['scikit-learn']), 'crayon'];
  const table = new Table({
    head: ['problem', 'work', 'who', 'seconds', 'processor', 'iterations', 'cosine', 'x scikit-learn'],
  });
  const results = problems().flatMap((problem) =>
    WORKS.map((name) => {
      const timings = new Map<string, Timing>();
      for (let round = 0; round < Number(options.rounds); round++) {
        for (const peer of peers) {
          const timing = peer === 'crayon' ? runCrayon(script, name, problem) : runSklearn(name, problem);
          const before = timings.get(peer);
          const joined = (key: 'allSeconds' | 'allProcessorSeconds') => [...(before?.[key] ?? []), ...timing[key]];
          timings.set(peer, {
            ...timing,
            allSeconds: joined('allSeconds'),
            allProcessorSeconds: joined('allProcessorSeconds'),
          });
        }
      }
      const reference = timings.get('scikit-learn');
      const { n, d, k } = problem;
      const rows = [...timings].map(([who, timing]) => {
        const seconds = median(timing.allSeconds);
        const processor = Math.min(...timing.allProcessorSeconds);
        const ratio = reference === undefined ? null : seconds / median(reference.allSeconds);
        table.push([
          ...[`n=${n} d=${d} k=${k}`, name, who, seconds.toFixed(3), processor.toFixed(3)],
          ...[timing.iterations, timing.cosine.toFixed(5), ratio?.toFixed(2) ?? ''],
        ]);
        return { who, seconds, fastest: Math.min(...timing.allSeconds), processor, ratio, ...timing };
      });
      return { ...problem, work: name, rows };
    }),
  );
  console.log(table.toString());
  const load = loadavg()[0]!.toFixed(1);
  console.log(`${cpus()[0]?.model}, ${cpus().length} cores, load ${load}, Node ${process.version}`);
  console.log(JSON.stringify({ what: 'kmeans', iterations: Number(options.iterations), results }));
}

if (options.worker === undefined) await main();
else work(options.worker as WorkName, JSON.parse(options.problem!) as Problem);
