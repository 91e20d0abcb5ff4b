/**
 * Forward pass of the Llama family (llama, mistral, qwen2, qwen3) with an optional stacked, gated LoRA.
 *
 * Names are those of the Hugging Face checkpoints, so weights need no mapping table. The differences between the four
 * are data: q/k/v bias (qwen2), q/k norm (qwen3), sliding window (mistral), head size, tied embeddings.
 *
 * Letters: B batch, T tokens, M = B*T, C hidden size, H query heads, K key/value heads, D head size, V vocabulary.
 */

import * as tf from '@tensorflow/tfjs-core';
import type { HfModel, ModelConfig } from '../hf/model.js';
import { type HeadNorms, type Positions, selfAttention } from './attention.js';
import { type Linear, LoraLinears, loraLinear, swiGlu } from './lora-linears.js';
import { PROJECTIONS, type Projection } from './names.js';
import { completionLoss, project, rmsNorm } from './ops.js';

/** LoRA factors by module path (`model.layers.0.self_attn.q_proj`), and the gate of this batch. */
export interface LoraBinding {
  factors: ReadonlyMap<string, { a: tf.Tensor2D; b: tf.Tensor2D }>;
  /** (M, R): see LoraLinears */
  gate: tf.Tensor2D;
}

export interface ForwardOptions {
  lora?: LoraBinding | undefined;
  /** Stop after this many blocks and skip the final norm; all blocks and the final norm when absent. */
  blocks?: number;
  /** Called with every hidden state as transformers numbers them: 0 the embeddings, L the normalised last one. */
  onHidden?: (index: number, x: tf.Tensor2D) => void;
}

interface Block {
  name: string;
  inputNorm: tf.Tensor1D;
  postAttentionNorm: tf.Tensor1D;
  headNorms: HeadNorms | null;
  projections: Record<Projection, Linear>;
}

/** Where the weights come from: an opened Hugging Face directory, or numbers made up by a benchmark. */
export type WeightSource = Pick<HfModel, 'config' | 'info' | 'readF32'>;

export class LlamaModel {
  readonly config: ModelConfig;
  readonly #embedding: tf.Tensor2D; // (V, C)
  readonly #head: tf.Tensor2D; // (V, C), the embedding itself when tied
  readonly #finalNorm: tf.Tensor1D;
  readonly #blocks: Block[];
  readonly #rotateHalf: tf.Tensor2D;
  readonly #positionsByLength = new Map<number, Positions>();
  readonly #owned: tf.Tensor[] = [];

  /** Reads all weights, converts them to float32 and hands them to the active back end. */
  constructor(source: WeightSource) {
    const { config } = source;
    this.config = config;
    const own = <T extends tf.Tensor>(tensor: T): T => {
      this.#owned.push(tensor);
      return tensor;
    };
    const vector = (name: string) => own(tf.tensor1d(source.readF32(name)));
    const matrix = (name: string) =>
      own(tf.tensor2d(source.readF32(name), source.info(name).shape as [number, number]));

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
    this.#rotateHalf = own(rotateHalfMatrix(config.headDim));
  }

  /**
   * Hidden states after the last block and the final norm (or after `blocks` blocks, not normalised).
   *
   * Rows may be padded on the right: a causal model's real positions never see the padding.
   *
   * @param ids (B, T) int32
   * @returns (M, C)
   */
  forward(ids: tf.Tensor2D, { lora, blocks = this.#blocks.length, onHidden }: ForwardOptions = {}): tf.Tensor2D {
    const [B, T] = ids.shape;
    const { rmsNormEps } = this.config;
    let x = tf.gather(this.#embedding, tf.reshape(ids, [B * T])) as tf.Tensor2D;
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
  logits(hidden: tf.Tensor2D): tf.Tensor2D {
    return project(hidden, this.#head);
  }

  /** Weighted sum of the targets' cross-entropies given the final hidden states; see completionLoss. */
  loss(hidden: tf.Tensor2D, targets: tf.Tensor1D, weights: tf.Tensor1D): tf.Scalar {
    return completionLoss(hidden, this.#head, targets, weights);
  }

  dispose(): void {
    tf.dispose(this.#owned);
    for (const { cos, sin, mask } of this.#positionsByLength.values()) tf.dispose([cos, sin, mask]);
    this.#positionsByLength.clear();
  }

  #block(index: number, x: tf.Tensor2D, B: number, T: number, lora: LoraBinding | undefined): tf.Tensor2D {
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
    const attended = tf.add(x, loraLinear(heads, linears('self_attn.o_proj'))) as tf.Tensor2D;

    // 2) SwiGLU on the normalised sum
    const h2 = rmsNorm(attended, block.postAttentionNorm, eps);
    const wide = swiGlu(h2, linears('mlp.gate_proj', 'mlp.up_proj'));
    return tf.add(attended, loraLinear(wide, linears('mlp.down_proj')));
  }

  /** Rotary tables and attention mask for T positions, made once per length. */
  #positions(T: number): Positions {
    let entry = this.#positionsByLength.get(T);
    if (entry === undefined) {
      const { headDim, slidingWindow } = this.config;
      const { cos, sin } = rotaryAngles(this.config, T);
      const share = headDim ** -0.25; // see Positions.cos
      const table = (values: Float32Array) =>
        tf.keep(
          tf.tensor2d(
            values.map((x) => x * share),
            [T, headDim],
          ),
        );
      entry = {
        cos: table(cos),
        sin: table(sin),
        rotateHalf: this.#rotateHalf,
        mask: tf.keep(tf.tensor2d(causalMask(T, slidingWindow), [T, T])),
      };
      this.#positionsByLength.set(T, entry);
    }
    return entry;
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
function rotateHalfMatrix(D: number): tf.Tensor2D {
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
function inverseFrequencies(config: Pick<ModelConfig, 'headDim' | 'ropeTheta' | 'ropeScaling'>): Float64Array {
  const { headDim, ropeTheta, ropeScaling } = config;
  const plain = Float64Array.from({ length: headDim / 2 }, (_, i) => ropeTheta ** ((-2 * i) / headDim));
  if (ropeScaling === null) return plain;
  if (ropeScaling.type === 'linear') return plain.map((f) => f / ropeScaling.factor);

  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: oldLength } = ropeScaling;
  return plain.map((f) => {
    const wavelength = (2 * Math.PI) / f;
    if (wavelength < oldLength / highFreqFactor) return f;
    if (wavelength > oldLength / lowFreqFactor) return f / factor;
    const smooth = (oldLength / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
}

/** cos and sin of position x frequency, each (length, headDim): both halves of a head hold the same angles. */
export function rotaryAngles(
  config: Pick<ModelConfig, 'headDim' | 'ropeTheta' | 'ropeScaling'>,
  length: number,
): { cos: Float32Array; sin: Float32Array } {
  const frequencies = inverseFrequencies(config);
  const half = frequencies.length;
  const cos = new Float32Array(length * half * 2);
  const sin = new Float32Array(length * half * 2);
  for (let t = 0; t < length; t++) {
    for (let i = 0; i < half; i++) {
      const angle = t * frequencies[i]!;
      const at = t * half * 2 + i;
      cos[at] = cos[at + half] = Math.cos(angle);
      sin[at] = sin[at + half] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
