/**
 * What a run reads off its pool's embedding space: how near a query is to the user's own examples and to each cluster, which a
 * router would know before it is answered; and a picture of the clusters.
 */

import { clusterGate } from '../blend/cluster-gate.js';
import { createRandom } from '../core/random.js';
import { argmax, dot, meanRows, norm, row } from '../core/vector.js';
import { type Example, loadDataset } from '../data/dataset.js';
import { poolSpace } from '../pool/embed/space.js';
import { embedPrompts, promptPoints } from '../pool/gate.js';
import type { Pool } from '../pool/pool.js';
import { buildScopeProfile, scopeScore } from '../routing/signals/scope.js';
import { recordedGate } from '../routing/signals/success.js';
import type { LoadedModel } from './answers.js';
import { type BenchConfig, type BenchPool, findBenchPath } from './settings.js';
import type { ClusterMap } from './types.js';
import type { UserWithExamples } from './users.js';

/** Points of the picture; more would only make its file larger. */
const MAP_POINTS = 600;

export type ScopeSpace = ReturnType<typeof scopeSpace>;
/** What is known of a prompt before any work. */
export type Placed = Awaited<ReturnType<ScopeSpace['placed']>>[number];

export function scopeSpace(pool: Pool, base: LoadedModel) {
  const space = poolSpace(pool);
  const gateOf = clusterGate(pool);
  const embed = (examples: readonly Example[]) => embedPrompts(space, base, examples);
  return {
    /** (n, d) unit embeddings of prompts in the pool's space */
    embed,
    /** a whole training set's, for their cosines with others */
    points: (examples: readonly Example[]) => promptPoints(space, base, examples),
    /** of each test example: its percentile among the shown ones, 0 to 100, and its gate over the clusters */
    placed: async ({ shown, test }: UserWithExamples) => {
      const profile = buildScopeProfile(await embed(shown), shown.length, space.d);
      const rows = await embed(test);
      return test.map((_, i) => {
        const q = row(rows, i, space.d);
        return { scope: scopeScore(profile, q).percentile, clusters: recordedGate(gateOf(q)) };
      });
    },
  };
}

/** A pool's training set as its build reads it: the same files, split, limit and draw. */
export function trainingExamples({ data, split, limit, seed }: BenchPool, dataDir: string | undefined): Example[] {
  return data.flatMap((path) => loadDataset(findBenchPath(path), { dataDir, split, limit, seed }).examples);
}

/** The picture of the clusters, drawn from a sample of the training set. */
export async function mapOfTrainingSet(
  { pool: settings, data_dir: dataDir, seed }: BenchConfig,
  pool: Pool,
  space: ScopeSpace,
): Promise<ClusterMap> {
  const sample = createRandom(seed, 'cluster map').shuffle(trainingExamples(settings, dataDir)).slice(0, MAP_POINTS);
  const tasks = sample.map((example) => example.dataset);
  return clusterMap(await space.embed(sample), tasks, pool);
}

/** Enough for two directions to settle for the eye. */
const ITERATIONS = 60;

/** @param rows (n, d) unit embeddings in the pool's space; `tasks` is that of each */
export function clusterMap(rows: Float32Array, tasks: readonly string[], { centroids, manifest }: Pool): ClusterMap {
  const d = manifest.embedding.dim;
  const n = tasks.length;
  const mean = meanRows(rows, n, d);
  const [first, second] = principalDirections(rows, n, d, mean);
  const place = (x: Float32Array) => ({ x: onto(x, mean, first), y: onto(x, mean, second) });
  return {
    points: tasks.map((task, i) => {
      const point = row(rows, i, d);
      const cosines = Array.from({ length: manifest.N }, (_, c) => dot(point, row(centroids, c, d)));
      return { ...place(point), cluster: argmax(cosines), task };
    }),
    centroids: Array.from({ length: manifest.N }, (_, c) => place(row(centroids, c, d))),
  };
}

/** The two directions of the largest variance, by power iteration with deflation; signs as they come from the seed. */
export function principalDirections(
  rows: Float32Array,
  n: number,
  d: number,
  mean: Float64Array,
): [Float64Array, Float64Array] {
  const found: Float64Array[] = [];
  /** Of length 1 and at right angles to those before; zeros where there are fewer directions. */
  const unit = (v: Float64Array) => {
    for (const earlier of found) subtract(v, earlier, dot(v, earlier));
    const length = norm(v);
    return length === 0 ? v : v.map((x) => x / length);
  };
  for (let k = 0; k < 2; k++) {
    const random = createRandom(k, 'principal directions');
    let v: Float64Array = Float64Array.from({ length: d }, () => random.normal());
    for (let it = 0; it < ITERATIONS; it++) {
      v = unit(v);
      const next = new Float64Array(d);
      for (let i = 0; i < n; i++) {
        const point = row(rows, i, d);
        const share = onto(point, mean, v);
        for (let j = 0; j < d; j++) next[j]! += share * (point[j]! - mean[j]!);
      }
      v = next;
    }
    found.push(unit(v));
  }
  return found as [Float64Array, Float64Array];
}

/** (x - mean) . v */
function onto(x: Float32Array, mean: Float64Array, v: Float64Array): number {
  let sum = 0;
  for (let j = 0; j < v.length; j++) sum += (x[j]! - mean[j]!) * v[j]!;
  return sum;
}

function subtract(v: Float64Array, w: Float64Array, times: number): void {
  for (let j = 0; j < v.length; j++) v[j]! -= times * w[j]!;
}
