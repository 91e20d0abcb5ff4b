/**
 * Few-shot examples that are retrieved: the base model with the k examples of the pool's training set before each prompt that are
 * most similar to it in the pool's embedding space, the most similar one first. It has seen the pool's data and no adapter, and
 * looks at none of the user's examples.
 */

import type { Example } from '../../data/dataset.js';
import { openPool } from '../../pool/pool.js';
import { scopeSpace, trainingExamples } from '../pool-space.js';
import type { PoolStore } from '../pools.js';
import { inContext } from './plain.js';
import { type BenchContext, type PlannedCell, plain, type Strategy } from './strategy.js';

/** From prompts to as many of the training set's examples for each. */
type Retrieve = (queries: readonly Example[], count: number) => Promise<Example[][]>;

/** By pool: a training set is placed once. */
const retrievers = new WeakMap<PoolStore, Map<string, Promise<Retrieve>>>();

export const retrieved: Strategy = {
  name: 'retrieved',
  title: 'Base, retrieved examples in context',
  looksAtExamples: false,
  poolOf: ({ pool }) => pool,
  async customise(cell, { info }, context) {
    const { base, config, pools } = context;
    const path = pools.path(cell.pool);
    const ofStore = retrievers.get(pools) ?? new Map<string, Promise<Retrieve>>();
    retrievers.set(pools, ofStore);
    if (!ofStore.has(path)) ofStore.set(path, openRetriever(path, cell, context));
    const retrieve = await ofStore.get(path)!;
    return plain({
      ...base,
      withContext: async (examples) => {
        const found = await retrieve(examples, info.k);
        return examples.map((example, i) => inContext(found[i]!, base, config.max_tokens)(example));
      },
    });
  },
};

async function openRetriever(path: string, cell: PlannedCell, { base, config }: BenchContext): Promise<Retrieve> {
  const training = trainingExamples(cell.pool, config.data_dir);
  const space = scopeSpace(openPool(path), base);
  const points = await space.points(training);
  return async (queries, count) => {
    const similarities = points.similarities(await space.embed(queries), queries.length); // (n, queries)
    return queries.map((_, q) => {
      const ofQuery = Float32Array.from(training, (_, i) => similarities[i * queries.length + q]!);
      return largest(ofQuery, count).map((i) => training[i]!);
    });
  };
}

/** Places of the largest values, the largest first; of equal ones the first. */
export function largest(values: Float32Array, count: number): number[] {
  return [...values.keys()].sort((i, j) => values[j]! - values[i]! || i - j).slice(0, count);
}
