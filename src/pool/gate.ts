/** The per-query gate: each prompt through its own mixture of a pool's adapters. */

import { keepFew } from '../core/gate.js';
import { dot, row } from '../core/vector.js';
import type { Example } from '../data/dataset.js';
import type { BaseModel } from '../hf/base-model.js';
import type { PromptForm } from '../hf/prompt-form.js';
import { leadingBos, type Tokenizer } from '../hf/tokenizer.js';
import type { LoraLayout } from '../model/lora-layout.js';
import type { Network } from '../model/network.js';
import { stackAdapters } from '../train/adapter-lora.js';
import type { EvaluationLora } from '../train/evaluate.js';
import { embeddingKind } from './embed/kinds.js';
import { type EmbeddingSpace, embedInSpace, poolSpace, refuseOtherBase } from './embed/space.js';
import { densePoints, type Points, sparsePoints } from './points.js';
import { memberCoefficients, openPool, type Pool, poolForm } from './pool.js';
import { prepareExamples } from './prepare.js';
import { type GateChoice, gateBy, gateTerms } from './standards.js';

/** A pool's adapters, loaded once, for any number of prompts. */
export interface PoolGates {
  layout: LoraLayout;
  /**
   * All adapters, with alpha(x) = softmax(cos(q(x), c_n) / tau) of each example, or that of standardised cosines, and 1 for the
   * general adapter.
   */
  loraFor(examples: Example[]): Promise<EvaluationLora>;
}

/**
 * @param options with `topK`, of each prompt the k largest coefficients are kept
 * @throws CrayonError `pool-invalid` for standardised similarities of a pool that does not have what they need
 */
export function loadPoolGates(
  dir: string,
  source: BaseModel,
  model: Network,
  tokenizer: Tokenizer,
  {
    anyBase,
    topK = null,
    ...choice
  }: GateChoice & { anyBase?: boolean | undefined; topK?: number | null | undefined } = {},
): PoolGates {
  const pool = openPool(dir);
  refuseOtherBase(pool, source, anyBase);
  const { N } = pool.manifest;
  const terms = gateTerms(pool, choice);
  const form = poolForm(pool, tokenizer, source.path);
  const space = poolSpace(pool);
  const stack = stackPool(pool, source);
  return {
    layout: stack.layout,
    loraFor: async (examples) => {
      const rows = await embedPrompts(space, { source, model, tokenizer, form }, examples);
      // Embeddings and centroids have length 1: their products are the cosines.
      const gates = examples.map((_, i) => {
        const q = row(rows, i, space.d);
        const cosines = Float64Array.from({ length: N }, (_, n) => dot(q, row(pool.centroids, n, space.d)));
        const alpha = gateBy(cosines, terms);
        return memberCoefficients(pool.manifest, keepFew(alpha, { topK, dropBelow: 0 }));
      });
      return { ...stack, gates };
    },
  };
}

/** All members of a pool, the general adapter frozen, as the model's forward pass takes them. @throws CrayonError see `stackAdapters` */
export function stackPool(pool: Pool, base: BaseModel): EvaluationLora {
  const adapters = pool.openMembers();
  try {
    const stack = stackAdapters(adapters, base);
    return pool.manifest.general === undefined ? stack : { ...stack, layout: { ...stack.layout, frozen: 1 } };
  } finally {
    for (const adapter of adapters) adapter.close();
  }
}

/** Unit embeddings (n, d) of prompts in a pool's space; those longer than the model's context lose their front. */
export async function embedPrompts(
  space: EmbeddingSpace,
  how: { source: BaseModel; model?: Network | undefined; tokenizer: Tokenizer; form?: PromptForm | undefined },
  examples: readonly Example[],
): Promise<Float32Array> {
  const { source, model, tokenizer } = how;
  return embedInSpace(space, source, promptSequences(how, examples), {
    ...(model && { model }),
    bosId: leadingBos(tokenizer),
  });
}

/** The same as points, of as many prompts as a training set has: sparse where the kind of embedding is. */
export async function promptPoints(
  space: EmbeddingSpace,
  how: Parameters<typeof embedPrompts>[1],
  examples: readonly Example[],
): Promise<Points> {
  const { kind } = embeddingKind(space.kind);
  if ('sparse' in kind) return sparsePoints(kind.sparse!(promptSequences(how, examples), space.idf!));
  return densePoints(await embedPrompts(space, how, examples), examples.length, space.d);
}

function promptSequences(
  { source, tokenizer, form }: Parameters<typeof embedPrompts>[1],
  examples: readonly Example[],
): Int32Array[] {
  const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
  const options = { maxLength, long: 'truncate', form, addEnd: false, vocabSize } as const;
  return prepareExamples(examples, tokenizer, options).examples.map(({ promptIds }) => promptIds);
}

/** All adapters of a pool, with the coefficients of each example. */
export function poolGates(
  dir: string,
  source: BaseModel,
  model: Network,
  tokenizer: Tokenizer,
  examples: Example[],
  anyBase?: boolean,
): Promise<EvaluationLora> {
  return loadPoolGates(dir, source, model, tokenizer, { anyBase }).loraFor(examples);
}
