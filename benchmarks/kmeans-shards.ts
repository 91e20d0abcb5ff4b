/**
 * Clusters of more points than one would hold in memory: a million embeddings in shards on disk.
 *
 *     npx tsx benchmarks/kmeans-shards.ts --python <python with numpy and scikit-learn>     # 2.3 GB of disk, made once
 *     npx tsx benchmarks/kmeans-shards.ts --n 10000                                         # at once
 *     npx tsx benchmarks/kmeans-shards.ts --shards pool.building --n 52000 --dim 576        # those of a build of one's own
 *
 * `mini-batch`: crayon's k-means over the shards, from opening them to the cluster of every point, its silhouette and the files that a
 * build keeps. `scikit-learn`: MiniBatchKMeans over the same shards, --passes of them (without the assignment). `full, sample`: crayon's
 * k-means in memory on --sample points alone. `full, all` (--full): on all of them, in 4.7 GB for a million.
 *
 * Each runs in a process of its own: `seconds`, `processor`, `MiB` are what it took, its largest resident size, and that size less what
 * Node itself takes. The centroids of all are then laid on the same --sample points: `cosine` with the nearest, `silhouette` of the
 * sample so divided. Of these, `full, sample` has seen no other points.
 *
 * Prints one table and, as the last line, one JSON document.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { createRandom } from '../src/core/random.js';
import { argmax, row } from '../src/core/vector.js';
import { cosineSilhouette } from '../src/pool/cluster.js';
import { ShardedRows, writeShards } from '../src/pool/embed/shards.js';
import { sphericalKMeans } from '../src/pool/kmeans.js';
import { clusterInBatches } from '../src/pool/mini-batch.js';
import { densePoints } from '../src/pool/points.js';
import { saveStage } from '../src/pool/work-directory.js';
import { bundle } from './bundle.js';

const { values: options } = parseArgs({
  options: {
    n: { type: 'string', default: '1000000' },
    dim: { type: 'string', default: '576' },
    clusters: { type: 'string', default: '16' },
    sample: { type: 'string', default: '20000' },
    noise: { type: 'string', default: '1.5' },
    full: { type: 'boolean', default: false },
    python: { type: 'string' },
    passes: { type: 'string', default: '1' },
    shards: { type: 'string' },
    threads: { type: 'string' },
    cache: { type: 'string', default: '.crayon/bench-kmeans' },
    // used by the benchmark itself, to measure each in a process of its own
    worker: { type: 'string' },
  },
});
const [n, d, k] = [Number(options.n), Number(options.dim), Number(options.clusters)];
const sampleSize = Math.min(n, Number(options.sample));
const threads = options.threads === undefined ? undefined : Number(options.threads);
const shardsDir = options.shards ?? join(options.cache, `shards-${n}x${d}-${k}`);
const centresOf = (who: string) => join(options.cache, `centres-${n}x${d}-${k}-${who.replace(/\W+/g, '-')}.bin`);

interface Measured {
  seconds: number;
  processor: number | null;
  peakMiB: number;
  /** of that, what the process had before */
  startMiB: number | null;
  rounds: number;
}

/** Overlapping clusters, 2k of them so that k centroids are no obvious choice; the noise is cut from one table of normals. */
async function makeShards(): Promise<void> {
  mkdirSync(shardsDir, { recursive: true });
  const normals = createRandom(0, 'bench-shards');
  const centres = Array.from({ length: 2 * k }, () => Float32Array.from({ length: d }, () => normals.normal()));
  const noise = Float32Array.from({ length: 2 ** 21 }, () => Number(options.noise) * normals.normal());
  const random = createRandom(1, 'bench-shards');
  const prompt = Int32Array.of(n, d, k); // of which the shards' digests are
  await writeShards({
    ...{ dir: shardsDir, d, prompts: Array<Int32Array>(n).fill(prompt) },
    embed: ({ length }) => {
      const rows = new Float32Array(length * d);
      for (let from = 0; from < rows.length; from += d) {
        const centre = centres[random.int(2 * k)]!;
        const place = random.int(noise.length - d);
        let square = 0;
        for (let j = 0; j < d; j++) {
          const value = centre[j]! + noise[place + j]!;
          rows[from + j] = value;
          square += value * value;
        }
        const inverse = 1 / Math.sqrt(square);
        for (let j = 0; j < d; j++) rows[from + j]! *= inverse;
      }
      return rows;
    },
  });
}

/** The same points whoever asks: every n / sampleSize-th. */
function readSample(source: ShardedRows): Float32Array {
  const rows = new Float32Array(sampleSize * d);
  for (let i = 0; i < sampleSize; i++) source.read(Math.floor((i * n) / sampleSize), 1, row(rows, i, d));
  return rows;
}

/** Child process: clusters, writes its centroids, and prints a Measured. */
async function work(who: string): Promise<void> {
  const startMiB = process.resourceUsage().maxRSS / 1024;
  const started = performance.now();
  const before = process.cpuUsage();
  const source = new ShardedRows(shardsDir, n, d);
  const kept = join(options.cache, 'kept');
  const inMemory = (data: Float32Array) => {
    const points = densePoints(data, data.length / d, d, { threads });
    const result = sphericalKMeans(points, { k, seed: 0 });
    cosineSilhouette(points, result.assignment, k);
    return result;
  };
  const all = () => {
    const rows = new Float32Array(n * d);
    source.read(0, n, rows);
    return rows;
  };
  const inBatches = () =>
    clusterInBatches(source, {
      clusters: k,
      seed: 0,
      threads,
      keep: (state) => saveStage(kept, 'state', { ...state }),
    });
  const run = {
    'mini-batch': inBatches,
    'full, sample': () => inMemory(readSample(source)),
    'full, all': () => inMemory(all()),
  };
  const { centroids, iterations } = await run[who as keyof typeof run]();
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - started) / 1000;
  writeFileSync(centresOf(who), centroids);
  const peakMiB = process.resourceUsage().maxRSS / 1024;
  const measured: Measured = { seconds, processor: (user + system) / 1e6, peakMiB, startMiB, rounds: iterations };
  console.log(JSON.stringify(measured));
}

/** The last line that a child prints, as JSON. */
function runChild(file: string, args: string[]): Measured {
  const output = execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(output.trim().split('\n').at(-1)!) as Measured;
}

function measure(who: string, script: string): Measured {
  if (who !== 'scikit-learn') return runChild(process.execPath, [script, ...process.argv.slice(2), '--worker', who]);
  const python = fileURLToPath(new URL('kmeans_sklearn.py', import.meta.url));
  const args = [
    '--shards',
    shardsDir,
    '--clusters',
    String(k),
    '--max-iter',
    options.passes,
    '--centres',
    centresOf(who),
  ];
  return { ...runChild(options.python!, [python, ...args]), processor: null, startMiB: null };
}

/** How well centroids divide the sample. */
function judged(who: string, sample: Float32Array) {
  const centroids = new Float32Array(Uint8Array.from(readFileSync(centresOf(who))).buffer);
  const points = densePoints(sample, sampleSize, d, { threads });
  const similarities = points.similarities(centroids, k);
  const assignment = Int32Array.from({ length: sampleSize }, (_, i) => argmax(row(similarities, i, k)));
  const cosine = assignment.reduce((sum, c, i) => sum + similarities[i * k + c]!, 0) / sampleSize;
  const silhouette = cosineSilhouette(points, assignment, k);
  points.dispose();
  return { cosine, silhouette };
}

async function main(): Promise<void> {
  mkdirSync(options.cache, { recursive: true });
  const started = performance.now();
  const isMade = options.shards === undefined && !existsSync(join(shardsDir, 'made'));
  if (isMade) await makeShards();
  if (isMade) writeFileSync(join(shardsDir, 'made'), '');
  const makingSeconds = isMade ? (performance.now() - started) / 1000 : null;
  const script = await bundle(import.meta.url, join(options.cache, 'bundle'));
  const source = new ShardedRows(shardsDir, n, d);
  const sample = readSample(source);
  source.dispose();
  const peers = ['mini-batch', 'full, sample'];
  if (options.full) peers.push('full, all');
  if (options.python !== undefined) peers.push('scikit-learn');
  const table = new Table({
    head: ['who', 'seconds', 'processor', 'MiB', 'less start', 'rounds', 'cosine', 'silhouette'],
  });
  const rows = peers.map((who) => {
    const measured = { who, ...measure(who, script), ...judged(who, sample) };
    const { seconds, processor, peakMiB, startMiB, rounds, cosine, silhouette } = measured;
    const less = startMiB === null ? '' : (peakMiB - startMiB).toFixed(0);
    table.push([
      ...[who, seconds.toFixed(1), processor?.toFixed(1) ?? '', peakMiB.toFixed(0), less],
      ...[rounds, cosine.toFixed(5), silhouette.toFixed(5)],
    ]);
    return measured;
  });
  console.log(
    `n=${n} d=${d} k=${k}, ${((4 * n * d) / 1e9).toFixed(2)} GB of rows, cosine and silhouette of ${sampleSize}`,
  );
  console.log(table.toString());
  const load = loadavg()[0]!.toFixed(1);
  console.log(`${cpus()[0]?.model}, ${cpus().length} cores, load ${load}, Node ${process.version}`);
  console.log(JSON.stringify({ what: 'kmeans-shards', n, d, k, sample: sampleSize, makingSeconds, rows }));
}

if (options.worker === undefined) await main();
else await work(options.worker);
process.exit(0);
