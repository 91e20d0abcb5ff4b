/**
 * Forward pass of Llama and its kin (hf/families.ts) with an optional stacked, gated LoRA.
 *
 * Names are those of the Hugging Face checkpoints, so weights need no mapping table. What families differ in is data: where
 * norms stand and what is added to their weights, the activation, biases, scales, how projections are cut (BlockForm), and
 * for each layer its window and rotary embedding (ModelConfig). What a family does not have costs it no operation.
 *
 * Letters: B batch, T tokens, M = B*T, C hidden size, H query heads, K key/value heads, D head size, V vocabulary.
 */

import * as tf from '@tensorflow/tfjs-core';
import type { BaseModel } from '../hf/base-model.js';
import type { ModelConfig } from '../hf/config.js';
import type { BlockForm } from '../hf/families/family.js';
import { familyOf } from '../hf/families.js';
import { projectionShapes } from '../hf/model.js';
import { type Rope, rotaryFrequencies } from '../hf/rope.js';
import { type Positions, type QueryKeyNorms, selfAttention } from './attention.js';
import { gatedProduct, type Linear, LoraLinears, loraLinear, type StackedFactors } from './lora-linears.js';
import { completionLoss, project, rmsNorm, scaled, type T1, type T2 } from './ops.js';

/** LoRA factors by module path (`model.layers.0.self_attn.q_proj`), and the gate of this batch. */
export interface LoraBinding {
  factors: ReadonlyMap<string, StackedFactors>;
  /** (M, R): see LoraLinears */
  gate: T2;
}

/** The output matrix as LoRA names it. */
const OUTPUT_MODULE = 'lm_head';

export interface ForwardOptions {
  lora?: LoraBinding | undefined;
  /** Stop after this many blocks and skip the final norm; all blocks and the final norm when absent. */
  blocks?: number;
  /** Called with every hidden state as transformers numbers them: 0 the embeddings, L the normalised last one. */
  onHidden?: (index: number, x: T2) => void;
}

interface Block {
  name: string;
  norms: Record<keyof BlockForm['norms'], T1 | null>;
  queryKeyNorms: QueryKeyNorms | null;
  projections: ReadonlyMap<string, Linear>;
  /** null: the layer has no rotary embedding */
  rope: Rope | null;
  window: number | null;
}

/** Where the weights come from: an opened base model, or numbers made up by a benchmark. */
export type WeightSource = Pick<BaseModel, 'config' | 'info' | 'readF32'>;

export class LlamaModel {
  readonly config: ModelConfig;
  readonly #form: BlockForm;
  readonly #embedding: T2; // (V, C)
  readonly #head: T2; // (V, C), the embedding itself when tied
  readonly #finalNorm: T1;
  readonly #blocks: Block[];
  readonly #rotateHalf: T2;
  /** by length and by what layers differ in */
  readonly #rotary = new Map<string, Pick<Positions, 'cos' | 'sin'>>();
  readonly #masks = new Map<string, T2>();
  readonly #held: tf.Tensor[] = [];

  /** Reads all weights, converts them to float32 and hands them to the active back end. */
  constructor(source: WeightSource) {
    const { config } = source;
    this.config = config;
    this.#form = familyOf(config.modelType).block;
    const { norms, normOffset, qkNorm } = this.#form;
    const held = <T extends tf.Tensor>(tensor: T): T => {
      this.#held.push(tensor);
      return tensor;
    };
    const vector = (name: string) => held(tf.tensor1d(source.readF32(name)));
    const matrix = (name: string) => {
      return held(tf.tensor2d(source.readF32(name), source.info(name).shape as [number, number]));
    };
    const norm = (name: string) => {
      const weight = source.readF32(`${name}.weight`);
      return held(tf.tensor1d(normOffset === 0 ? weight : weight.map((w) => w + normOffset)));
    };

    this.#embedding = matrix('model.embed_tokens.weight');
    this.#head = config.tieWordEmbeddings ? this.#embedding : matrix('lm_head.weight');
    this.#finalNorm = norm('model.norm');
    const projections = projectionShapes(config);
    this.#blocks = Array.from({ length: config.numLayers }, (_, i) => {
      const name = `model.layers.${i}`;
      const ofLayer = (part: string | null) => (part === null ? null : norm(`${name}.${part}`));
      const isSliding = config.slidingLayers?.[i] ?? true;
      const isTurned = config.rotaryLayers?.[i] ?? true;
      const linears = projections.map(({ name: part, hasBias }): [string, Linear] => [
        part,
        {
          weight: matrix(`${name}.${part}.weight`),
          bias: hasBias ? vector(`${name}.${part}.bias`) : null,
        },
      ]);
      return {
        name,
        norms: {
          attentionIn: ofLayer(norms.attentionIn),
          attentionOut: ofLayer(norms.attentionOut),
          mlpIn: ofLayer(norms.mlpIn),
          mlpOut: ofLayer(norms.mlpOut),
        },
        queryKeyNorms:
          qkNorm === null
            ? null
            : {
                query: norm(`${name}.self_attn.q_norm`),
                key: norm(`${name}.self_attn.k_norm`),
                over: qkNorm,
                eps: config.rmsNormEps,
              },
        projections: new Map(linears),
        rope: isTurned ? ((isSliding ? config.slidingRope : null) ?? config) : null,
        window: isSliding ? config.slidingWindow : null,
      };
    });
    this.#rotateHalf = held(rotateHalfMatrix(config.headDim, config.rotaryDim));
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
    const { rmsNormEps, embeddingScale } = this.config;
    let x = tf.gather(this.#embedding, tf.reshape(ids, [B * T])) as T2;
    if (embeddingScale !== 1) x = tf.mul(x, embeddingScale);
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

  /**
   * Logits of the given final hidden states, without gradient. (P, C) -> (P, V)
   *
   * @param lora its factors of lm_head, where it has any, are applied; the gate's rows are those of `hidden` (P, R)
   */
  logits(hidden: T2, lora?: LoraBinding): T2 {
    const x = this.#beforeHead(hidden);
    const factors = lora?.factors.get(OUTPUT_MODULE);
    const logits = project(x, this.#head);
    if (factors === undefined) return logits;
    return tf.add(logits, project(tf.mul(project(x, factors.a), lora!.gate), factors.b));
  }

  /** Weighted sum of the targets' cross-entropies given the final hidden states; see completionLoss. */
  loss(hidden: T2, targets: T1, weights: T1): tf.Scalar {
    return completionLoss(this.#beforeHead(hidden), this.#head, targets, weights);
  }

  /** What the output matrix multiplies: logits are scaled through it, because tied embeddings must stay as they are. */
  #beforeHead(hidden: T2): T2 {
    const { logitScale } = this.config;
    return logitScale === 1 ? hidden : scaled(hidden, logitScale);
  }

  dispose(): void {
    tf.dispose(this.#held);
    for (const { cos, sin } of this.#rotary.values()) tf.dispose([cos, sin]);
    tf.dispose([...this.#masks.values()]);
    this.#rotary.clear();
    this.#masks.clear();
  }

  #block(index: number, x: T2, B: number, T: number, lora: LoraBinding | undefined): T2 {
    const { numHeads: H, numKvHeads: K, headDim: D, intermediateSize: I, rmsNormEps: eps } = this.config;
    const { projections, activation } = this.#form;
    const block = this.#blocks[index]!;
    const linears = (names: readonly string[], parts: readonly number[]) =>
      new LoraLinears(
        names.map((p) => block.projections.get(p)!),
        names.map((p) => lora?.factors.get(`${block.name}.${p}`)),
        lora?.gate,
        parts,
      );
    const normed = (x: T2, norm: T1 | null) => (norm === null ? x : rmsNorm(x, norm, eps));

    // 1) attention
    const qkv = linears(projections.attentionIn, [H * D, K * D, K * D]);
    const beforeAnyLora = index === 0 && qkv.factors.length > 0;
    const h = normed(x, block.norms.attentionIn);
    const shape = { B, T, H, K, D };
    const heads = selfAttention(h, qkv, block.queryKeyNorms, this.#positions(T, block), shape, !beforeAnyLora);
    const attention = loraLinear(heads, linears([projections.attentionOut], [x.shape[1]]));
    const attended = this.#add(x, normed(attention, block.norms.attentionOut));

    // 2) gated feed-forward
    const h2 = normed(attended, block.norms.mlpIn);
    const wide = gatedProduct(h2, linears(projections.mlpIn, [I, I]), activation);
    const narrow = loraLinear(wide, linears([projections.mlpOut], [x.shape[1]]));
    return this.#add(attended, normed(narrow, block.norms.mlpOut));
  }

  /** The residual and what a part of the block adds to it. */
  #add(x: T2, y: T2): T2 {
    const { residualScale } = this.config;
    return tf.add(x, residualScale === 1 ? y : scaled(y, residualScale));
  }

  /** A layer's rotary tables and attention mask for T positions, made once per length and kind of layer. */
  #positions(T: number, { rope, window }: Block): Positions {
    const known = <V>(map: Map<string, V>, key: string, make: () => V): V => {
      if (!map.has(key)) map.set(key, make());
      return map.get(key)!;
    };
    const mask = known(this.#masks, `${T}/${window}`, () => tf.keep(tf.tensor2d(causalMask(T, window), [T, T])));
    const kind = rope === null ? 'none' : rope === this.config ? 'all' : 'sliding';
    const tables = known(this.#rotary, `${T}/${kind}`, () => rotaryTables(rope, this.config, T));
    return { ...tables, rotateHalf: this.#rotateHalf, mask };
  }
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

/** (D, D) matrix R with [x1, x2, x3] R = [-x2, x1, 0], where x1 and x2 are the halves of the part that is turned. */
function rotateHalfMatrix(D: number, rotaryDim: number): T2 {
  const half = rotaryDim / 2;
  const values = new Float32Array(D * D);
  for (let i = 0; i < half; i++) {
    values[(i + half) * D + i] = -1;
    values[i * D + i + half] = 1;
  }
  return tf.tensor2d(values, [D, D]);
}

/**
 * The tables of Positions: both halves of a head's turned part hold the same angles; what is not turned has cosine 1.
 *
 * @param rope null for layers without a rotary embedding
 */
function rotaryTables(
  rope: Rope | null,
  { headDim: D, rotaryDim, attentionScale }: ModelConfig,
  T: number,
): Pick<Positions, 'cos' | 'sin'> {
  const half = rotaryDim / 2;
  const root = attentionScale === null ? D ** -0.25 : Math.sqrt(attentionScale); // see Positions.cos
  const none = { frequencies: new Float64Array(half), attentionFactor: 1 };
  const { frequencies, attentionFactor } = rope === null ? none : rotaryFrequencies(rope, rotaryDim, T);
  const table = (of: (angle: number) => number) => {
    const values = new Float32Array(T * D).fill(of(0));
    for (let t = 0; t < T; t++) {
      for (let i = 0; i < half; i++) values[t * D + i] = values[t * D + half + i] = of(t * frequencies[i]!);
    }
    // YaRN's and LongRoPE's factor is of what is turned alone
    const scaled = values.map((x, i) => x * (i % D < rotaryDim ? root * attentionFactor : root));
    return tf.keep(tf.tensor2d(scaled, [T, D]));
  };
  return { cos: table(Math.cos), sin: table(Math.sin) };
}
