/** What a finished pool's own examples are to it, measured and written into its manifest: for pools that were built without. */

import { join } from 'node:path';
import { checkFinite, dot, row } from '../core/vector.js';
import type { Example } from '../data/dataset.js';
import { writeJson } from '../files/json.js';
import type { BaseModel } from '../hf/base-model.js';
import { leadingBos } from '../hf/tokenizer.js';
import { mixtureLosses } from './adapter-losses.js';
import { throughNetwork } from './embed/hidden-states.js';
import type { ForwardPass } from './embed/kind.js';
import { embedInSpace, poolSpace, refuseOtherBase } from './embed/space.js';
import { stackPool } from './gate.js';
import { openPool, POOL_MANIFEST, type PoolManifest, poolForm } from './pool.js';
import { prepareExamples } from './prepare.js';
import { lossStandard, similarityStandard } from './standards.js';

export interface MeasureOptions {
  anyBase?: boolean | undefined;
  forward?: ForwardPass;
  onProgress?: (done: number, total: number) => void;
}

/**
 * Adapters, centroids and all other keys stay as they are; so do similarities that the build has kept of its training set.
 *
 * @param examples of the pool's kinds, none of which it was trained on
 * @throws CrayonError `pool-mismatch` for another base model, what preparing the examples throws
 */
export async function measurePool(
  dir: string,
  source: BaseModel,
  examples: readonly Example[],
  { anyBase, forward = {}, onProgress }: MeasureOptions = {},
): Promise<NonNullable<PoolManifest['standards']>> {
  const pool = openPool(dir);
  refuseOtherBase(pool, source, anyBase);
  const { manifest, centroids } = pool;
  const { N } = manifest;
  const tokenizer = source.tokenizer();
  const form = poolForm(pool, tokenizer, source.path);
  const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
  const how = { maxLength, long: 'truncate', form, addEnd: true, vocabSize } as const;
  const { examples: prepared } = prepareExamples(examples, tokenizer, how);
  const space = poolSpace(pool);
  const standards = await throughNetwork(source, forward, async (model) => {
    const losses = await mixtureLosses(model, stackPool(pool, source), prepared, { onProgress });
    const prompts = prepared.map(({ promptIds }) => promptIds);
    const rows = await embedInSpace(space, source, prompts, { model, bosId: leadingBos(tokenizer) });
    const cosines = Float64Array.from({ length: prompts.length * N }, (_, at) => {
      const q = row(rows, Math.floor(at / N), space.d);
      return dot(q, row(centroids, at % N, space.d));
    });
    const similarity = manifest.standards?.similarity ?? similarityStandard(checkFinite(cosines, 'a similarity'), N);
    return { similarity, loss: lossStandard(checkFinite(losses, 'a loss'), N) };
  });
  writeJson(join(dir, POOL_MANIFEST), { ...manifest, standards });
  return standards;
}
