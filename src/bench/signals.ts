/** What a router would know of a query before it is answered: how near it is to the user's own examples. */

import { createRandom } from '../core/random.js';
import { row } from '../core/vector.js';
import { type Example, loadDataset } from '../data/dataset.js';
import { leadingBos } from '../hf/tokenizer.js';
import { embedInSpace, poolSpace } from '../pool/embed/space.js';
import type { Pool } from '../pool/pool.js';
import { prepareExamples } from '../pool/prepare.js';
import { buildScopeProfile, scopeScore } from '../routing/signals/scope.js';
import type { LoadedModel } from './answers.js';
import { clusterMap } from './cluster-map.js';
import { findBenchPath } from './paths.js';
import type { BenchConfig } from './settings.js';
import type { ClusterMap } from './types.js';
import type { UserWithExamples } from './users.js';

/** Points of the picture; more would only make its file larger. */
const MAP_POINTS = 600;

export interface ScopeSpace {
  /** (n, d) unit embeddings of prompts in the pool's space */
  embed(examples: readonly Example[]): Promise<Float32Array>;
  /** of each test example among the shown ones, 0 to 100 */
  percentiles(user: UserWithExamples): Promise<number[]>;
}

export function scopeSpace(pool: Pool, { source, model, tokenizer }: LoadedModel): ScopeSpace {
  const space = poolSpace(pool);
  const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
  const embed = async (examples: readonly Example[]) => {
    const prepared = prepareExamples(examples, tokenizer, { maxLength, long: 'truncate', addEos: false, vocabSize });
    return await embedInSpace(
      space,
      source,
      prepared.examples.map((example) => example.promptIds),
      { model, bosId: leadingBos(tokenizer) },
    );
  };
  return {
    embed,
    percentiles: async ({ shown, test }) => {
      const profile = buildScopeProfile(await embed(shown), shown.length, space.d);
      const rows = await embed(test);
      return test.map((_, i) => scopeScore(profile, row(rows, i, space.d)).percentile);
    },
  };
}

/** The picture of the clusters, drawn from a sample of the training set. */
export async function mapOfTrainingSet(
  { pool: settings, data_dir: dataDir, seed }: BenchConfig,
  pool: Pool,
  space: ScopeSpace,
): Promise<ClusterMap> {
  const { split, limit, seed: draw } = settings;
  const examples = settings.data.flatMap(
    (path) => loadDataset(findBenchPath(path), { dataDir, split, limit, seed: draw }).examples,
  );
  const sample = createRandom(seed, 'cluster map').shuffle(examples).slice(0, MAP_POINTS);
  const rows = await space.embed(sample);
  return clusterMap({ rows, tasks: sample.map((example) => example.dataset) }, pool);
}
