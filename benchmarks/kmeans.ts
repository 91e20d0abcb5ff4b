/**
 * How fast is clustering? crayon's spherical k-means beside scikit-learn's Lloyd iterations.
 *
 *     npx tsx benchmarks/kmeans.ts --python <python with numpy and scikit-learn>
 *
 * Both get the same normalised points, the same first centroids and the same number of iterations (no early stop), and
 * start with the points in memory; crayon's time includes handing them to the back end. Every peer runs in processes of
 * its own, in turns, --rounds times; the median over all runs is reported. `cosine` is the mean similarity to the nearest
 * normalised final centroid: spherical k-means normalises its centroids at every step and scikit-learn does not, so the
 * two agree closely but not in every digit.
 *
 * Without --python the peer is left out. Prints one table and, as the last line, one JSON document.
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { createRandom } from '../src/core/random.js';
import { chooseBackend, releaseBackend } from '../src/model/backend.js';
import type { BackendName } from '../src/model/names.js';
import { sphericalKMeans } from '../src/pool/kmeans.js';
import { densePoints } from '../src/pool/points.js';

const { values: options } = parseArgs({
  options: {
    python: { type: 'string' },
    backends: { type: 'string', default: 'node,wasm' },
    iterations: { type: 'string', default: '25' },
    rounds: { type: 'string', default: '3' },
    repeats: { type: 'string', default: '3' },
    cache: { type: 'string', default: '.crayon/bench-kmeans' },
    // used by the benchmark itself, to time one back end in a process of its own
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
  iterations: number;
  cosine: number;
}

const PROBLEMS: Problem[] = [
  { n: 50_000, d: 896, k: 16 },
  { n: 20_000, d: 192, k: 16 },
];
const ITERATIONS = Number(options.iterations);
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
  mkdirSync(options.cache, { recursive: true });
  writeFileSync(fileOf(problem, 'points'), points);
  writeFileSync(fileOf(problem, 'init'), points.subarray(0, k * d));
}

function readFloats(path: string): Float32Array {
  return new Float32Array(Uint8Array.from(readFileSync(path)).buffer);
}

/** Child process: times crayon on one back end and prints a Timing. */
async function work(backend: BackendName, problem: Problem): Promise<void> {
  await chooseBackend(backend);
  const { n, d, k } = problem;
  const data = readFloats(fileOf(problem, 'points'));
  const init = readFloats(fileOf(problem, 'init'));
  const run = (maxIterations: number) => {
    const started = performance.now();
    const points = densePoints(data, n, d);
    const result = sphericalKMeans(points, { k, seed: 0, init, maxIterations, tolerance: 0 });
    const seconds = (performance.now() - started) / 1000;
    return { seconds, points, result };
  };
  run(2).points.dispose(); // compiles, and fills the back end's caches
  const allSeconds: number[] = [];
  let timing: Timing | undefined;
  for (let i = 0; i < REPEATS; i++) {
    const { seconds, points, result } = run(ITERATIONS);
    allSeconds.push(seconds);
    const similarities = points.similarities(result.centroids, k);
    points.dispose();
    let total = 0;
    for (let row = 0; row < n; row++) total += Math.max(...similarities.subarray(row * k, (row + 1) * k));
    timing = { allSeconds, iterations: result.iterations, cosine: total / n };
  }
  console.log(JSON.stringify(timing));
  releaseBackend();
}

/** The last line that a child prints, as JSON. */
function runChild(file: string, args: string[]): Timing {
  const output = execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return JSON.parse(output.trim().split('\n').at(-1)!) as Timing;
}

function runSklearn(problem: Problem): Timing {
  const script = fileURLToPath(new URL('kmeans_sklearn.py', import.meta.url));
  const data = ['--data', fileOf(problem, 'points'), '--init', fileOf(problem, 'init'), '--dim', String(problem.d)];
  const shape = ['--clusters', String(problem.k), '--max-iter', String(ITERATIONS), '--tol', '0'];
  return runChild(options.python!, [script, ...data, ...shape, '--repeats', String(REPEATS)]);
}

function runCrayon(backend: string, problem: Problem): Timing {
  const self = fileURLToPath(import.meta.url);
  const args = ['--worker', backend, '--problem', JSON.stringify(problem), '--cache', options.cache];
  const counts = ['--iterations', options.iterations, '--repeats', options.repeats];
  return runChild(process.execPath, [...process.execArgv, self, ...args, ...counts]);
}

function main(): void {
  const peers = [...(options.python === undefined ? [] : ['scikit-learn']), ...options.backends.split(',')];
  const table = new Table({ head: ['problem', 'who', 'seconds', 'iterations', 'cosine', 'x scikit-learn'] });
  const results = PROBLEMS.map((problem) => {
    makeProblem(problem);
    const timings = new Map<string, Timing>();
    for (let round = 0; round < Number(options.rounds); round++) {
      for (const peer of peers) {
        const timing = peer === 'scikit-learn' ? runSklearn(problem) : runCrayon(peer, problem);
        const before = timings.get(peer)?.allSeconds ?? [];
        timings.set(peer, { ...timing, allSeconds: [...before, ...timing.allSeconds] });
      }
    }
    const reference = timings.get('scikit-learn');
    const rows = [...timings].map(([who, { allSeconds, iterations, cosine }]) => {
      const seconds = median(allSeconds);
      const ratio = reference === undefined ? null : seconds / median(reference.allSeconds);
      return { who, seconds, fastest: Math.min(...allSeconds), ratio, iterations, cosine, allSeconds };
    });
    for (const row of rows) {
      const { n, d, k } = problem;
      const ratio = row.ratio === null ? '' : row.ratio.toFixed(2);
      table.push([
        `n=${n} d=${d} k=${k}`,
        row.who,
        row.seconds.toFixed(3),
        row.iterations,
        row.cosine.toFixed(5),
        ratio,
      ]);
    }
    return { ...problem, rows };
  });
  console.log(table.toString());
  console.log(`${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.version}`);
  console.log(JSON.stringify({ what: 'kmeans', iterations: ITERATIONS, results }));
}

if (options.worker === undefined) main();
else await work(options.worker as BackendName, JSON.parse(options.problem!) as Problem);
