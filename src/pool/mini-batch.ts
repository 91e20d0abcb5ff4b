/**
 * Spherical k-means over more points than memory holds, in mini-batches: Sculley, "Web-scale k-means clustering" (2010), on the
 * sphere. Memory does not grow with the points but for the cluster of each (4 bytes).
 *
 * 1. All of k-means (kmeans.ts) on a sample gives the first centroids, and N where it is to be chosen.
 * 2. Rounds of batches, each drawn from all points: a batch is assigned, its points are added to their clusters' sums, and the
 *    centroids are the sums' directions. What earlier rounds have added counts half as much in each that follows, since it was
 *    assigned by worse centroids. A cluster that got no point in a round takes the worst placed of the last batch.
 * 3. One pass over all points assigns each to its nearest centroid.
 *
 * What is drawn depends on the seed, the number of points and the round alone: neither on how the points are stored nor on what is free.
 */

import { RowStore } from '../core/linalg/row-store.js';
import { createRandom, type Random } from '../core/random.js';
import { type ClusterOptions, type ClusterResult, clusterPoints, meanSilhouette } from './cluster.js';
import { setUnit } from './kmeans.js';
import { densePoints } from './points.js';

/** Unit rows that need not be in memory. */
export interface RowSource {
  /** number of rows */
  readonly n: number;
  /** size of each */
  readonly d: number;
  /** Reads rows `first` to `first + count`, row-major, to the target's beginning. */
  read(first: number, count: number, target: Float32Array): void;
}

/** Rows of a batch, and of one step of a pass. */
const BATCH = 4096;
/** Neighbours that are drawn together: reads of some ten kilobytes, which disks do about as fast as any. */
const RUN = 16;
/** Rows of the sample for the first centroids and for the silhouette, and the least for each cluster. */
export const SAMPLE = 2 ** 14;
const SAMPLE_OF_CLUSTER = 32;
/** Batches of a round: as many as the points come to, within these. */
const FEWEST_BATCHES = 16;
const MOST_BATCHES = 256;
const MOST_ROUNDS = 12;
/** The rounds end when one gains less than this share of the mean distance. */
const TOLERANCE = 1e-3;
/** Of what earlier rounds have added, the share that counts in the next. */
const KEPT = 0.5;

/** What a run goes on from. */
export interface MiniBatchState {
  /** (k, d) of the points added so far */
  sums: Float64Array;
  /** mean distance of the points of each round from their centroids: as many as there were rounds */
  costs: Float64Array;
  /** whether the last round was the last one: 1 or 0 */
  ended: Int32Array;
}

export interface MiniBatchOptions extends ClusterOptions {
  /** what an earlier run kept last */
  state?: MiniBatchState | undefined;
  /** Keeps what a later run goes on from; called after the first centroids and after every round. */
  keep?: (state: MiniBatchState) => void;
  /** Awaited after every batch; may throw. */
  breathe?: Breathe | undefined;
  /** as of `RowStore` */
  threads?: number | undefined;
}

type Breathe = () => Promise<void>;
const NO_BREATH: Breathe = async () => {};

/** @throws CrayonError `dataset-too-small`, and what `keep` and `breathe` throw */
export async function clusterInBatches(source: RowSource, options: MiniBatchOptions): Promise<ClusterResult> {
  const { keep = () => {}, breathe = NO_BREATH, onProgress } = options;
  const { d } = source;
  const first = options.state ?? { ...fromSample(source, options), costs: new Float64Array(), ended: Int32Array.of(0) };
  const { sums } = first;
  let { costs, ended } = first;
  const k = sums.length / d;
  const batch = new Batch(source, k, options.threads);
  try {
    const centroids = directions(sums, k);
    if (options.state === undefined) keep(first);
    while (ended[0] === 0) {
      const round = costs.length;
      const random = createRandom(options.seed, `mini-batch/${k}/${round}`);
      const { cost, starved } = await oneRound(batch, centroids, sums, random, breathe);
      const gain = (costs.at(-1) ?? Number.POSITIVE_INFINITY) - cost;
      const isSettled = starved === 0 && gain <= TOLERANCE * cost;
      costs = Float64Array.of(...costs, cost);
      ended = Int32Array.of(isSettled || round + 1 >= MOST_ROUNDS ? 1 : 0);
      keep({ sums, costs, ended });
      onProgress?.(round + 1, MOST_ROUNDS + 1);
    }
    const assigned = await assignAll(batch, centroids, breathe);
    const silhouette = sampledSilhouette(source, assigned, options);
    onProgress?.(MOST_ROUNDS + 1, MOST_ROUNDS + 1);
    const { assignment, sizes, objective } = assigned;
    const tried = [{ k, silhouette }];
    return { k, centroids, assignment, sizes, objective, iterations: costs.length, silhouette, tried };
  } finally {
    batch.dispose();
  }
}

/** Cosines of all rows with k vectors. vectors (k, d) -> (n, k), row-major */
export async function similaritiesOf(
  source: RowSource,
  vectors: Float32Array,
  k: number,
  breathe = NO_BREATH,
): Promise<Float32Array> {
  const batch = new Batch(source, k);
  try {
    const all = new Float32Array(source.n * k);
    for (const first of batch.pass()) {
      all.set(batch.products(vectors), first * k);
      await breathe();
    }
    return all;
  } finally {
    batch.dispose();
  }
}

/** Some rows of a source at a time, where products are computed. */
class Batch {
  /** of the rows in it */
  count = 0;
  /** (count) nearest vector of each row, and its product with it */
  readonly nearest = new Int32Array(BATCH);
  readonly similarity = new Float32Array(BATCH);
  readonly #rows: Float32Array;
  readonly #store: RowStore;

  constructor(
    readonly source: RowSource,
    readonly k: number,
    threads?: number,
  ) {
    const { n, d } = source;
    const size = Math.min(n, BATCH);
    this.#rows = new Float32Array(size * d);
    this.#store = new RowStore(this.#rows, size, d, { threads });
  }

  /** Draws runs of neighbours, each as often as it comes up. */
  draw(random: Random): void {
    const { n, d } = this.source;
    const runs = Math.ceil(n / RUN);
    const drawn = Int32Array.from({ length: Math.min(runs, BATCH / RUN) }, () => random.int(runs)).sort();
    this.count = 0;
    for (const run of drawn) {
      const count = Math.min(RUN, n - run * RUN, this.#rows.length / d - this.count);
      this.source.read(run * RUN, count, this.#rows.subarray(this.count * d, (this.count + count) * d));
      this.count += count;
    }
    this.#store.replace(this.#rows);
  }

  /** All rows in order, some at a time; gives the number of the first of them. */
  *pass(): Generator<number> {
    const { n, d } = this.source;
    for (let first = 0; first < n; first += this.count) {
      this.count = Math.min(BATCH, n - first);
      this.source.read(first, this.count, this.#rows.subarray(0, this.count * d));
      this.#store.replace(this.#rows);
      yield first;
    }
  }

  /** (count, k) */
  products(vectors: Float32Array): Float32Array {
    return this.#store.products(this.#some(), vectors, this.k);
  }

  /** Finds the most similar of the vectors (k, d) for every row, the first of equals; gives the sum of their distances. */
  assign(vectors: Float32Array): number {
    const { k, count, nearest, similarity } = this;
    const products = this.products(vectors);
    let cost = 0;
    for (let i = 0; i < count; i++) {
      let best = 0;
      for (let c = 1; c < k; c++) if (products[i * k + c]! > products[i * k + best]!) best = c;
      nearest[i] = best;
      similarity[i] = products[i * k + best]!;
      cost += 1 - similarity[i]!;
    }
    return cost;
  }

  /** Adds the rows to the sums (k, d) of the vectors that they were assigned to. */
  add(sums: Float64Array): void {
    this.#store.accumulate(this.#some(), this.nearest.subarray(0, this.count), sums, 1);
  }

  /** Row i of those in it, as a copy. */
  row(i: number): Float32Array {
    return this.#store.row(i);
  }

  dispose(): void {
    this.#store.dispose();
  }

  #some(): Int32Array | null {
    return this.count === this.#store.n ? null : Int32Array.from({ length: this.count }, (_, i) => i);
  }
}

async function oneRound(batch: Batch, centroids: Float32Array, sums: Float64Array, random: Random, breathe: Breathe) {
  const { n, d } = batch.source;
  const { k } = batch;
  const batches = Math.min(MOST_BATCHES, Math.max(FEWEST_BATCHES, Math.ceil(n / BATCH)));
  const sizes = new Float64Array(k);
  let [total, rows] = [0, 0];
  for (let at = 0; at < sums.length; at++) sums[at]! *= KEPT;
  for (let b = 0; b < batches; b++) {
    batch.draw(random);
    total += batch.assign(centroids);
    rows += batch.count;
    for (let i = 0; i < batch.count; i++) sizes[batch.nearest[i]!]!++;
    batch.add(sums);
    for (let c = 0; c < k; c++) setUnit(centroids, c, sums.subarray(c * d, (c + 1) * d));
    await breathe();
  }
  const starved = [...sizes.keys()].filter((c) => sizes[c] === 0);
  const worst = Array.from({ length: batch.count }, (_, i) => i).sort(
    (i, j) => batch.similarity[i]! - batch.similarity[j]! || i - j,
  );
  for (const [place, c] of starved.entries()) {
    sums.set(batch.row(worst[place % worst.length]!), c * d);
    setUnit(centroids, c, sums.subarray(c * d, (c + 1) * d));
  }
  return { cost: total / rows, starved: starved.length };
}

interface Assigned {
  assignment: Int32Array;
  sizes: number[];
  /** (k, d) of the points of each cluster */
  sums: Float64Array;
  objective: number;
}

/** One pass over all rows. A cluster that nothing is nearest to gets the point that fits its own worst, as its centroid too. */
async function assignAll(batch: Batch, centroids: Float32Array, breathe: Breathe): Promise<Assigned> {
  const { n, d } = batch.source;
  const { k } = batch;
  const assignment = new Int32Array(n);
  const sizes = new Array<number>(k).fill(0);
  const sums = new Float64Array(k * d);
  let objective = 0;
  /** the k worst placed, worst first */
  const worst: Array<{ i: number; similarity: number; row: Float32Array }> = [];
  for (const first of batch.pass()) {
    objective += batch.assign(centroids);
    batch.add(sums);
    for (let at = 0; at < batch.count; at++) {
      const similarity = batch.similarity[at]!;
      assignment[first + at] = batch.nearest[at]!;
      sizes[batch.nearest[at]!]!++;
      if (worst.length === k && similarity >= worst.at(-1)!.similarity) continue;
      const place = worst.findIndex((other) => similarity < other.similarity);
      worst.splice(place === -1 ? worst.length : place, 0, { i: first + at, similarity, row: batch.row(at) });
      worst.length = Math.min(worst.length, k);
    }
    await breathe();
  }
  for (let c = 0; c < k; c++) {
    if (sizes[c]! > 0) continue;
    // There is one: of k points, those alone in their clusters are fewer than k as long as a cluster is empty.
    const found = worst.findIndex(({ i }) => sizes[assignment[i]!]! > 1);
    const [{ i, similarity, row }] = worst.splice(found, 1) as [(typeof worst)[number]];
    const home = assignment[i]!;
    for (let j = 0; j < d; j++) sums[home * d + j]! -= row[j]!;
    sums.set(row, c * d);
    centroids.set(row, c * d);
    sizes[home]!--;
    sizes[c] = 1;
    assignment[i] = c;
    objective -= 1 - similarity;
  }
  return { assignment, sizes, sums, objective };
}

/** Rows that are drawn one by one, ascending; all where there are no more. */
function sampleRows(source: RowSource, count: number, seed: number): { places: Int32Array; rows: Float32Array } {
  const { n, d } = source;
  const random = createRandom(seed, 'mini-batch/sample');
  const drawn = new Set<number>();
  if (n <= count) for (let i = 0; i < n; i++) drawn.add(i);
  while (drawn.size < Math.min(n, count)) drawn.add(random.int(n));
  const places = Int32Array.from(drawn).sort();
  const rows = new Float32Array(places.length * d);
  for (const [at, i] of places.entries()) source.read(i, 1, rows.subarray(at * d, (at + 1) * d));
  return { places, rows };
}

/** The sums of the sample's clusters. */
function fromSample(source: RowSource, { clusters, seed, threads }: MiniBatchOptions): { sums: Float64Array } {
  const { d } = source;
  const count = Math.max(SAMPLE, clusters === 'auto' ? 0 : SAMPLE_OF_CLUSTER * clusters);
  const { places, rows } = sampleRows(source, count, seed);
  const points = densePoints(rows, places.length, d, { threads });
  try {
    const { k, assignment } = clusterPoints(points, { clusters, seed });
    const sums = new Float64Array(k * d);
    points.accumulate(null, assignment, sums, 1);
    return { sums };
  } finally {
    points.dispose();
  }
}

/** Of a sample of the points, each exactly: its mean distance to all points of a cluster follows from their sum. */
function sampledSilhouette(
  source: RowSource,
  { assignment, sizes, sums }: Assigned,
  options: MiniBatchOptions,
): number {
  const k = sizes.length;
  if (k < 2) return 0;
  const { places, rows } = sampleRows(source, SAMPLE, options.seed);
  const points = densePoints(rows, places.length, source.d, { threads: options.threads });
  try {
    const towards = points.similarities(Float32Array.from(sums), k);
    return meanSilhouette(towards, places.map((i) => assignment[i]!), sizes); // biome-ignore format: one call
  } finally {
    points.dispose();
  }
}

function directions(sums: Float64Array, k: number): Float32Array {
  const d = sums.length / k;
  const centroids = new Float32Array(sums.length);
  for (let c = 0; c < k; c++) setUnit(centroids, c, sums.subarray(c * d, (c + 1) * d));
  return centroids;
}
