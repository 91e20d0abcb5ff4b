/** One block of Llama and its kin, in operations: attention and gated feed-forward, each on a residual. */

import type { ModelConfig } from '../hf/config.js';
import type { BlockForm } from '../hf/families/family.js';
import { familyOf } from '../hf/families.js';
import { type Positions, selfAttention } from './attention.js';
import { gatedProduct, LoraLinears, loraLinear, type StackedFactors } from './lora-linears.js';
import type { Operations, T1, T2 } from './operations.js';
import { rmsNorm, scaled } from './ops.js';
import type { BlockWeights } from './weights.js';

export interface BlockInputs {
  config: ModelConfig;
  weights: BlockWeights;
  positions: Positions;
  B: number;
  T: number;
  /** LoRA factors by the names of projections within the block */
  factors: ReadonlyMap<string, StackedFactors>;
  /** (M, R); see LoraLinears */
  gate: T2 | undefined;
  /** whether x depends on anything trainable */
  needsInputGradient: boolean;
}

/** x (M, C) -> (M, C) */
export function block(ops: Operations, x: T2, inputs: BlockInputs): T2 {
  const { config, weights, positions, B, T, needsInputGradient } = inputs;
  const { numHeads: H, numKvHeads: K, headDim: D, intermediateSize: I, rmsNormEps: eps } = config;
  const { projections, activation, norms, qkNorm }: BlockForm = familyOf(config.modelType).block;
  const C = x.shape[1];
  const weight = (name: string) => weights.get(`${name}.weight`) as T1;
  const normed = (x: T2, name: string | null) => (name === null ? x : rmsNorm(ops, x, weight(name), eps));
  const linears = (names: readonly string[], parts: readonly number[]) =>
    new LoraLinears(
      ops,
      names.map((name) => ({
        weight: weights.get(`${name}.weight`) as T2,
        bias: (weights.get(`${name}.bias`) as T1 | undefined) ?? null,
      })),
      names.map((name) => inputs.factors.get(name)),
      inputs.gate,
      parts,
    );
  const add = (x: T2, y: T2) => {
    const { residualScale } = config;
    return ops.residual(x, residualScale === 1 ? y : scaled(ops, y, residualScale));
  };

  // 1) attention
  const qkv = linears(projections.attentionIn, [H * D, K * D, K * D]);
  const h = normed(x, norms.attentionIn);
  const queryKeyNorms =
    qkNorm === null ? null : { query: weight('self_attn.q_norm'), key: weight('self_attn.k_norm'), over: qkNorm, eps };
  const heads = selfAttention(ops, h, qkv, queryKeyNorms, positions, { B, T, H, K, D }, needsInputGradient);
  const attention = loraLinear(ops, heads, linears([projections.attentionOut], [C]));
  const attended = add(x, normed(attention, norms.attentionOut));

  // 2) gated feed-forward
  const h2 = normed(attended, norms.mlpIn);
  const wide = gatedProduct(ops, h2, linears(projections.mlpIn, [I, I]), activation);
  const narrow = loraLinear(ops, wide, linears([projections.mlpOut], [C]));
  return add(attended, normed(narrow, norms.mlpOut));
}
