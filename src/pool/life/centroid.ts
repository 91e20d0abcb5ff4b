/**
 * Where a cluster lies in a pool's space: at the mean of its examples' prompts; of an adapter without examples at the mean of those of
 * some unlabelled prompts to which it answers most (energy.ts). Both are centroids like any other, so whatever asks a pool by its
 * centroids, on a device, through llama.cpp or with N numbers, needs to know of no difference.
 */

import { CrayonError } from '../../core/errors.js';
import { quantile } from '../../core/stats.js';
import { norm, normalise } from '../../core/vector.js';
import type { Example } from '../../data/dataset.js';
import type { BaseModel } from '../../hf/base-model.js';
import type { PromptForm } from '../../hf/prompt-form.js';
import { leadingBos, type Tokenizer } from '../../hf/tokenizer.js';
import type { PeftAdapter } from '../../peft/read.js';
import { throughNetwork } from '../embed/hidden-states.js';
import type { ForwardPass } from '../embed/kind.js';
import type { EmbeddingSpace } from '../embed/space.js';
import { promptPoints } from '../gate.js';
import { type PoolCluster, SIMILARITY_QUANTILES } from '../pool.js';
import { prepareExamples } from '../prepare.js';
import { adapterFactors, energies, strongestPrompts } from './energy.js';

/** What prompts are read and placed with. */
export interface Place {
  space: EmbeddingSpace;
  source: BaseModel;
  tokenizer: Tokenizer;
  form: PromptForm;
  forward: ForwardPass;
}

export interface PlacedCluster {
  cluster: PoolCluster;
  /** (d), length 1 */
  centroid: Float32Array;
}

/** Fewer say too little of where a cluster lies, and nothing of how wide it is. */
export const FEWEST_EXAMPLES = 8;

/** Of these an adapter's strongest are taken, and its deviation is measured over all. */
export const FEWEST_PROBES = 20;

/** A user's own examples are never kept: a cluster's `nearest` are their names. */
const NEAREST = 3;

/**
 * @param what names the examples in errors
 * @throws CrayonError `dataset-too-small` for fewer than 8, `coefficients-invalid` where their mean has no direction
 */
export async function placeExamples(place: Place, examples: readonly Example[], what: string): Promise<PlacedCluster> {
  if (examples.length < FEWEST_EXAMPLES) {
    const found = `${what}: ${examples.length} examples`;
    throw new CrayonError('dataset-too-small', `${found}, expected at least ${FEWEST_EXAMPLES} to place a cluster by`, {
      hint: 'Give more examples of what the adapter is for; prompts without answers will do.',
    });
  }
  const { space, source, tokenizer, form, forward } = place;
  const points = await promptPoints(space, { source, tokenizer, form, model: forward.model }, examples);
  try {
    const sums = new Float64Array(points.d);
    points.accumulate(null, new Int32Array(points.n), sums, 1);
    const centroid = Float32Array.from(normalise(sums));
    if (!(norm(centroid) > 0)) {
      const hint = 'Give examples in the language and of the kind of the task.';
      throw new CrayonError('example-invalid', `${what}: the mean embedding of the examples is zero`, { hint });
    }
    const cosines = points.similarities(centroid, 1);
    const sorted = [...cosines].sort((a, b) => a - b);
    const closest = examples.map((_, i) => i).sort((i, j) => cosines[j]! - cosines[i]! || i - j);
    const tasks = new Map<string, number>();
    for (const { dataset } of examples) tasks.set(dataset, (tasks.get(dataset) ?? 0) + 1);
    const cluster: PoolCluster = {
      size: examples.length,
      lossBefore: null,
      lossAfter: null,
      tasks: Object.fromEntries([...tasks].sort(([, a], [, b]) => b - a)),
      nearest: closest.slice(0, NEAREST).map((i) => examples[i]!.id),
      similarity: {
        mean: sorted.reduce((a, b) => a + b, 0) / sorted.length,
        quantiles: SIMILARITY_QUANTILES.map((q) => quantile(sorted, q / 100)),
      },
    };
    return { cluster, centroid };
  } finally {
    points.dispose();
  }
}

/**
 * Centroids of adapters without examples. They are told apart from all others of the pool, so these are read too.
 *
 * @param wanted of `adapters`, the indices of those that are to be placed
 * @param probes prompts of the kinds that users ask, without answers and in any order
 */
export async function placeByEnergy(
  place: Place,
  adapters: readonly PeftAdapter[],
  wanted: readonly number[],
  probes: readonly Example[],
  onProgress?: (done: number, total: number) => void,
): Promise<PlacedCluster[]> {
  const { source, tokenizer, form, forward } = place;
  if (probes.length < FEWEST_PROBES) {
    throw new CrayonError(
      'dataset-too-small',
      `${probes.length} prompts, expected at least ${FEWEST_PROBES} to find adapters by`,
      {
        hint: 'Give prompts of all the kinds that users ask (--probes), some for each adapter; no answers are needed.',
      },
    );
  }
  // before the model is read
  const own = new Map(wanted.map((n) => [n, adapterFactors(adapters[n]!, source)]));
  const readable = [...adapters.keys()].filter((n) => own.has(n) || hasFactors(adapters[n]!, source));
  const factors = readable.map((n) => own.get(n) ?? adapterFactors(adapters[n]!, source));
  const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
  const how = { maxLength, long: 'truncate', form, addEnd: false, vocabSize } as const;
  const { examples: prepared } = prepareExamples(probes, tokenizer, how);
  const bos = leadingBos(tokenizer);
  const sequences = prepared.map(({ ids, promptLength }) => ids.subarray(0, promptLength));
  const skip = bos !== null && tokenizer.addsBos ? 1 : 0;
  return throughNetwork(source, forward, async (model) => {
    const found = await energies(model, source, factors, sequences, { skip, onProgress });
    const strongest = strongestPrompts(found, factors.length);
    const placed: PlacedCluster[] = [];
    for (const n of wanted) {
      const chosen = strongest[readable.indexOf(n)]!.map((i) => probes[i]!);
      const { cluster, centroid } = await placeExamples(
        { ...place, forward: { ...forward, model } },
        chosen,
        adapters[n]!.dir,
      );
      // they are no examples of it: their names would say so
      placed.push({ centroid, cluster: { ...cluster, tasks: {}, nearest: [] } });
    }
    return placed;
  });
}

function hasFactors(adapter: PeftAdapter, source: BaseModel): boolean {
  try {
    return adapterFactors(adapter, source).size > 0;
  } catch (error) {
    if (error instanceof CrayonError && error.code === 'adapter-unsupported') return false;
    throw error;
  }
}
