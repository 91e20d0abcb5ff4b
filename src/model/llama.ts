/**
 * Forward pass of the Llama family (llama, mistral, qwen2, qwen3) with an optional stacked, gated LoRA.
 *
 * Names are those of the Hugging Face checkpoints, so weights need no mapping table. The differences between the four
 * are data: q/k/v bias (qwen2), q/k norm (qwen3), sliding window (mistral), head size, tied embeddings.
 *
 * Letters: B batch, T tokens, M = B*T, C hidden size, H query heads, K key/value heads, D head size, V vocabulary.
 */

import * as tf from '@tensorflow/tfjs-core';
import type { BaseModel } from '../hf/base-model.js';
import type { ModelConfig } from '../hf/config.js';
import { type HeadNorms, type Positions, selfAttention } from './attention.js';
import { type Linear, LoraLinears, loraLinear, type StackedFactors, swiGlu } from './lora-linears.js';
import { PROJECTIONS, type Projection } from './names.js';
import { completionLoss, project, rmsNorm, type T1, type T2 } from './ops.js';

/** LoRA factors by module path (`model.layers.0.self_attn.q_proj`), and the gate of this batch. */
export interface LoraBinding {
  factors: ReadonlyMap<string, StackedFactors>;
  /** (M, R): see LoraLinears */
  gate: T2;
}

export interface ForwardOptions {
  lora?: LoraBinding | undefined;
  /** Stop after this many blocks and skip the final norm; all blocks and the final norm when absent. */
  blocks?: number;
  /** Called with every hidden state as transformers numbers them: 0 the embeddings, L the normalised last one. */
  onHidden?: (index: number, x: T2) => void;
}

interface Block {
  name: string;
  inputNorm: T1;
  postAttentionNorm: T1;
  headNorms: HeadNorms | null;
  projections: Record<Projection, Linear>;
}

/** Where the weights come from: an opened base model, or numbers made up by a benchmark. */
export type WeightSource = Pick<BaseModel, 'config' | 'info' | 'readF32'>;

export class LlamaModel {
  readonly config: ModelConfig;
  readonly #embedding: T2; // (V, C)
  readonly #head: T2; // (V, C), the embedding itself when tied
  readonly #finalNorm: T1;
  readonly #blocks: Block[];
  readonly #rotateHalf: T2;
  readonly #positionsByLength = new Map<number, Positions>();
  readonly #held: tf.Tensor[] = [];

  /** Reads all weights, converts them to float32 and hands them to the active back end. */
  constructor(source: WeightSource) {
    const { config } = source;
    this.config = config;
    const held = <T extends tf.Tensor>(tensor: T): T => {
      this.#held.push(tensor);
      return tensor;
    };
    const vector = (name: string) => held(tf.tensor1d(source.readF32(name)));
    const matrix = (name: string) => {
      return held(tf.tensor2d(source.readF32(name), source.info(name).shape as [number, number]));
    };

    this.#embedding = matrix('model.embed_tokens.weight');
    this.#head = config.tieWordEmbeddings ? this.#embedding : matrix('lm_head.weight');
    this.#finalNorm = vector('model.norm.weight');
    this.#blocks = Array.from({ length: config.numLayers }, (_, i) => {
      const name = `model.layers.${i}`;
      const project = (projection: Projection): Linear => ({
        weight: matrix(`${name}.${projection}.weight`),
        bias: hasBias(config, projection) ? vector(`${name}.${projection}.bias`) : null,
      });
      return {
        name,
        inputNorm: vector(`${name}.input_layernorm.weight`),
        postAttentionNorm: vector(`${name}.post_attention_layernorm.weight`),
        headNorms: config.qkNorm
          ? {
              query: vector(`${name}.self_attn.q_norm.weight`),
              key: vector(`${name}.self_attn.k_norm.weight`),
              eps: config.rmsNormEps,
            }
          : null,
        projections: Object.fromEntries(PROJECTIONS.map((p) => [p, project(p)])) as Record<Projection, Linear>,
      };
    });
    this.#rotateHalf = held(rotateHalfMatrix(config.headDim));
  }

  /**
   * Hidden states after the last block and the final norm (or after `blocks` blocks, not normalised).
   *
   * Rows may be padded on the right: a causal model's real positions never see the padding.
   *
   * @param ids (B, T) int32
   * @returns (M, C)
   */
  forward(ids: T2, { lora, blocks = this.#blocks.length, onHidden }: ForwardOptions = {}): T2 {
    const [B, T] = ids.shape;
    const { rmsNormEps } = this.config;
    let x = tf.gather(this.#embedding, tf.reshape(ids, [B * T])) as T2;
    onHidden?.(0, x);
    for (let i = 0; i < blocks; i++) {
      x = this.#block(i, x, B, T, lora);
      if (i + 1 < this.#blocks.length) onHidden?.(i + 1, x);
    }
    if (blocks < this.#blocks.length) return x;
    x = rmsNorm(x, this.#finalNorm, rmsNormEps);
    onHidden?.(blocks, x);
    return x;
  }

  /** Logits of the given final hidden states, without gradient. (P, C) -> (P, V) */
  logits(hidden: T2): T2 {
    return project(hidden, this.#head);
  }

  /** Weighted sum of the targets' cross-entropies given the final hidden states; see completionLoss. */
  loss(hidden: T2, targets: T1, weights: T1): tf.Scalar {
    return completionLoss(hidden, this.#head, targets, weights);
  }

  dispose(): void {
    tf.dispose(this.#held);
    for (const { cos, sin, mask } of this.#positionsByLength.values()) tf.dispose([cos, sin, mask]);
    this.#positionsByLength.clear();
  }

  #block(index: number, x: T2, B: number, T: number, lora: LoraBinding | undefined): T2 {
    const { numHeads: H, numKvHeads: K, headDim: D, rmsNormEps: eps } = this.config;
    const block = this.#blocks[index]!;
    const linears = (...projections: Projection[]) =>
      new LoraLinears(
        projections.map((p) => block.projections[p]),
        projections.map((p) => lora?.factors.get(`${block.name}.${p}`)),
        lora?.gate,
      );

    // 1) attention on the normalised input
    const qkv = linears('self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj');
    const beforeAnyLora = index === 0 && qkv.factors.length > 0;
    const h = rmsNorm(x, block.inputNorm, eps);
    const heads = selfAttention(h, qkv, block.headNorms, this.#positions(T), { B, T, H, K, D }, !beforeAnyLora);
    const attended = tf.add(x, loraLinear(heads, linears('self_attn.o_proj'))) as T2;

    // 2) SwiGLU on the normalised sum
    const h2 = rmsNorm(attended, block.postAttentionNorm, eps);
    const wide = swiGlu(h2, linears('mlp.gate_proj', 'mlp.up_proj'));
    return tf.add(attended, loraLinear(wide, linears('mlp.down_proj')));
  }

  /** Rotary tables and attention mask for T positions, made once per length. */
  #positions(T: number): Positions {
    const known = this.#positionsByLength.get(T);
    if (known !== undefined) return known;
    const mask = tf.keep(tf.tensor2d(causalMask(T, this.config.slidingWindow), [T, T]));
    const positions = { ...rotaryTables(this.config, T), rotateHalf: this.#rotateHalf, mask };
    this.#positionsByLength.set(T, positions);
    return positions;
  }
}

function hasBias(config: ModelConfig, projection: Projection): boolean {
  if (projection.startsWith('mlp.')) return config.mlpBias;
  return projection === 'self_attn.o_proj' ? config.attentionOutBias : config.attentionBias;
}

/** (T, T): 0 where position i may look at j (j <= i, and i - j < window), -1e9 elsewhere. */
function causalMask(T: number, window: number | null): Float32Array {
  const mask = new Float32Array(T * T).fill(-1e9);
  for (let i = 0; i < T; i++) {
    const first = window === null ? 0 : Math.max(0, i - window + 1);
    mask.fill(0, i * T + first, i * T + i + 1);
  }
  return mask;
}

/** (D, D) matrix R with [x1, x2] R = [-x2, x1]. */
function rotateHalfMatrix(D: number): T2 {
  const half = D / 2;
  const values = new Float32Array(D * D);
  for (let i = 0; i < half; i++) {
    values[(i + half) * D + i] = -1;
    values[i * D + i + half] = 1;
  }
  return tf.tensor2d(values, [D, D]);
}

/**
 * (headDim/2) inverse frequencies of the rotary embedding in radians per position, with the scalings that the Llama family uses.
 *
 * Source: transformers `modeling_rope_utils.py` (`_compute_linear_scaling_rope_parameters`, `_compute_llama3_parameters`).
 */
function inverseFrequencies({ headDim, ropeTheta, ropeScaling }: ModelConfig): Float64Array {
  const plain = Float64Array.from({ length: headDim / 2 }, (_, i) => ropeTheta ** ((-2 * i) / headDim));
  if (ropeScaling === null) return plain;
  if (ropeScaling.type === 'linear') return plain.map((f) => f / ropeScaling.factor);
  if (ropeScaling.type === 'factors') return plain.map((f, i) => f / ropeScaling.factors[i]!);

  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: oldLength } = ropeScaling;
  return plain.map((f) => {
    const wavelength = (2 * Math.PI) / f;
    if (wavelength < oldLength / highFreqFactor) return f;
    if (wavelength > oldLength / lowFreqFactor) return f / factor;
    const smooth = (oldLength / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
}

/** The tables of Positions: both halves of a head hold the same angles. */
function rotaryTables(config: ModelConfig, T: number): Pick<Positions, 'cos' | 'sin'> {
  const D = config.headDim;
  const half = D / 2;
  const share = D ** -0.25; // see Positions.cos
  const frequencies = inverseFrequencies(config);
  const table = (of: (angle: number) => number) => {
    const values = new Float32Array(T * D);
    for (let t = 0; t < T; t++) {
      for (let i = 0; i < half; i++) values[t * D + i] = values[t * D + half + i] = of(t * frequencies[i]!);
    }
    const scaled = values.map((x) => x * share);
    return tf.keep(tf.tensor2d(scaled, [T, D]));
  };
  return { cos: table(Math.cos), sin: table(Math.sin) };
}
