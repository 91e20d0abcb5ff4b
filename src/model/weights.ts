/** The weights of a base model as a forward pass takes them, in whatever arrays a back end holds them. */

import type { BaseModel } from '../hf/base-model.js';
import type { ModelConfig } from '../hf/config.js';
import { familyOf } from '../hf/families.js';
import { projectionShapes } from '../hf/model.js';
import type { T1, T2, Tensor } from './operations.js';

/** Where the weights come from: an opened base model, or numbers made up by a benchmark. */
export type WeightSource = Pick<BaseModel, 'config' | 'info' | 'readF32'>;

/** One block's tensors by their names within it, `self_attn.q_proj.weight`; norms with the family's offset added. */
export type BlockWeights = ReadonlyMap<string, Tensor>;

export interface ModelWeights {
  /** (V, C) */
  embedding: T2;
  /** (V, C), the embedding itself when tied */
  head: T2;
  /** (C) */
  finalNorm: T1;
  blocks: BlockWeights[];
}

/** Reads all weights as float32, each handed to `hold` as soon as it is read. */
export function readWeights<T extends Tensor>(
  source: WeightSource,
  hold: (data: Float32Array, shape: number[]) => T,
): ModelWeights {
  const { config } = source;
  const { normOffset } = familyOf(config.modelType).block;
  const read = (name: string): Tensor => hold(source.readF32(name), [...source.info(name).shape]);
  const norm = (name: string): Tensor => {
    const weight = source.readF32(name);
    return hold(normOffset === 0 ? weight : weight.map((w) => w + normOffset), [weight.length]);
  };
  const embedding = read('model.embed_tokens.weight') as T2;
  const head = config.tieWordEmbeddings ? embedding : (read('lm_head.weight') as T2);
  const names = blockTensors(config);
  const blocks = Array.from({ length: config.numLayers }, (_, i): BlockWeights => {
    const whole = (name: string) => `model.layers.${i}.${name}`;
    return new Map([
      ...names.norms.map((name): [string, Tensor] => [name, norm(whole(name))]),
      ...names.linears.map((name): [string, Tensor] => [name, read(whole(name))]),
    ]);
  });
  return { embedding, head, finalNorm: norm('model.norm.weight') as T1, blocks };
}

/** Names of a block's tensors within it. */
export function blockTensors(config: ModelConfig): { norms: string[]; linears: string[] } {
  const { norms, qkNorm } = familyOf(config.modelType).block;
  const names = Object.values(norms).filter((name) => name !== null);
  if (qkNorm !== null) names.push('self_attn.q_norm', 'self_attn.k_norm');
  const linears = projectionShapes(config).flatMap(({ name, hasBias }) => [
    `${name}.weight`,
    ...(hasBias ? [`${name}.bias`] : []),
  ]);
  return { norms: names.map((name) => `${name}.weight`), linears };
}
