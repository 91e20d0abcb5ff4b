/**
 * Llama and its kin (hf/families.ts) on TensorFlow.js, with an optional stacked, gated LoRA.
 *
 * Names are those of the Hugging Face checkpoints, so weights need no mapping table. What families differ in is data: where
 * norms stand and what is added to their weights, the activation, biases, scales, how projections are cut (BlockForm), and
 * for each layer its window and rotary embedding (ModelConfig). What a family does not have costs it no operation.
 *
 * Letters: B batch, T tokens, M = B*T, C hidden size, V vocabulary.
 */

import * as tf from '@tensorflow/tfjs-core';
import { CrayonError } from '../core/errors.js';
import type { ModelConfig } from '../hf/config.js';
import type { Positions } from './attention.js';
import { block } from './block.js';
import type { StackedFactors } from './lora-linears.js';
import { bindLora, factorSlices } from './lora-tensors.js';
import type {
  AttachedAdapters,
  Learner,
  LearnerInput,
  LoraUse,
  Network,
  PackedRow,
  PredictedTokens,
  SequenceBatch,
  StackedAdapters,
  TargetBatch,
  TargetRows,
} from './network.js';
import type { T1, T2, Tensor } from './operations.js';
import { completionLoss, predictions, project, rmsNorm, scaled } from './ops.js';
import {
  type LayerKind,
  layerKind,
  type PositionTables,
  packedTables,
  plainTables,
  rotateHalfMatrix,
} from './positions.js';
import { TfjsLearner } from './tfjs-learner.js';
import { TFJS_OPERATIONS as ops, takeRows } from './tfjs-operations.js';
import { type ModelWeights, readWeights, type WeightSource } from './weights.js';

export type { WeightSource } from './weights.js';

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
  /** where the one row of ids is packed */
  packed?: PackedRow | undefined;
  /** Called with every hidden state as transformers numbers them: 0 the embeddings, L the normalised last one. */
  onHidden?: (index: number, x: tf.Tensor2D) => void;
}

/** Adapters on the back end: their flat vector's slices. */
class TfjsAdapters implements AttachedAdapters {
  readonly slices: tf.Tensor2D[];

  constructor(readonly stacked: StackedAdapters) {
    this.slices = tf.tidy(() => factorSlices(stacked.layout, tf.tensor1d(stacked.parameters)));
  }

  bind(gates: LoraUse['gates'], batch: Pick<SequenceBatch, 'T' | 'packed'>): LoraBinding {
    return bindLora(this.stacked, gates, batch, this.slices);
  }

  dispose(): void {
    tf.dispose(this.slices);
  }
}

export class LlamaModel implements Network {
  readonly config: ModelConfig;
  readonly #weights: ModelWeights;
  readonly #rotateHalf: tf.Tensor2D;
  /** by length and by what layers differ in */
  readonly #positions = new Map<string, Positions>();
  readonly #held: tf.Tensor[] = [];

  /**
   * Reads all weights, converts them to float32 and hands them to the active back end.
   *
   * @throws CrayonError `backend-unavailable` where TensorFlow.js has none
   */
  constructor(source: WeightSource) {
    if (tf.getBackend() === undefined) {
      throw new CrayonError('backend-unavailable', 'TensorFlow.js has no back end in this process', {
        hint: 'openNetwork() opens a model on whichever back end chooseBackend() took; chooseBackend("wasm") is one of TensorFlow.js.',
      });
    }
    const { config } = source;
    this.config = config;
    this.#weights = readWeights(source, (data, shape) => {
      const tensor = tf.tensor(data, shape);
      this.#held.push(tensor);
      return tensor as Tensor;
    });
    this.#rotateHalf = tf.tensor2d(rotateHalfMatrix(config), [config.headDim, config.headDim]);
    this.#held.push(this.#rotateHalf);
  }

  /**
   * Hidden states after the last block and the final norm (or after `blocks` blocks, not normalised).
   *
   * Rows may be padded on the right: a causal model's real positions never see the padding.
   *
   * @param ids (B, T) int32
   * @returns (M, C)
   */
  forward(ids: tf.Tensor2D, { lora, blocks, packed, onHidden }: ForwardOptions = {}): tf.Tensor2D {
    const [B, T] = ids.shape;
    const { rmsNormEps, embeddingScale, numLayers } = this.config;
    const { embedding, finalNorm } = this.#weights;
    const heard = (index: number, x: T2) => onHidden?.(index, x as tf.Tensor2D);
    const until = blocks ?? numLayers;
    let x = ops.rows(embedding, tf.reshape(ids, [B * T]) as tf.Tensor1D as T1);
    if (embeddingScale !== 1) x = ops.mul(x, embeddingScale);
    heard(0, x);
    const ofPacked = new Map<string, Positions>();
    for (let i = 0; i < until; i++) {
      const kind = layerKind(this.config, i);
      const positions =
        packed === undefined
          ? this.#positionsOf(T, kind)
          : getOrMake(ofPacked, kind.name, () => this.#tensors(packedTables(kind, this.config, packed), T));
      x = this.#block(i, x, B, T, positions, lora);
      if (i + 1 < numLayers) heard(i + 1, x);
    }
    if (until < numLayers) return x as tf.Tensor2D;
    x = rmsNorm(ops, x, finalNorm, rmsNormEps);
    heard(until, x);
    return x as tf.Tensor2D;
  }

  /**
   * Logits of the given final hidden states, without gradient. (P, C) -> (P, V)
   *
   * @param lora its factors of lm_head, where it has any, are applied; the gate's rows are those of `hidden` (P, R)
   */
  logits(hidden: tf.Tensor2D, lora?: LoraBinding): tf.Tensor2D {
    const x = this.#beforeHead(hidden);
    const factors = lora?.factors.get(OUTPUT_MODULE);
    const logits = project(ops, x, this.#weights.head);
    if (factors === undefined) return logits as tf.Tensor2D;
    const narrow = ops.mul(project(ops, x, factors.a), lora!.gate);
    return ops.add(logits, project(ops, narrow, factors.b)) as tf.Tensor2D;
  }

  /** Weighted sum of the targets' cross-entropies given the final hidden states; see completionLoss. */
  loss(hidden: tf.Tensor2D, targets: tf.Tensor1D, weights: tf.Tensor1D): tf.Scalar {
    return completionLoss(ops, this.#beforeHead(hidden), this.#weights.head, targets, weights) as unknown as tf.Scalar;
  }

  attach(adapters: StackedAdapters): AttachedAdapters {
    return new TfjsAdapters(adapters);
  }

  async predict(batch: TargetBatch, lora?: LoraUse): Promise<PredictedTokens> {
    const { targets, largest, best } = tf.tidy(() => {
      const found = predictions(ops, this.#targetLogits(batch, lora), tf.tensor1d(batch.targets, 'int32'));
      return found as unknown as Record<keyof PredictedTokens, tf.Tensor1D>;
    });
    const [ofTargets, ofBest, ids] = await Promise.all([targets.data(), largest.data(), best.data()]);
    tf.dispose([targets, largest, best]);
    return { targets: ofTargets as Float32Array, largest: ofBest as Float32Array, best: ids as Int32Array };
  }

  async targetLogits(batch: TargetRows, lora?: LoraUse): Promise<Float32Array> {
    const logits = tf.tidy(() => this.#targetLogits(batch, lora));
    const values = (await logits.data()) as Float32Array;
    logits.dispose();
    return values;
  }

  async embed({ ids, B, T }: SequenceBatch, layer: number, share: Float32Array): Promise<Float32Array> {
    const C = this.config.hiddenSize;
    const unit = tf.tidy(() => {
      const x = this.forward(tf.tensor2d(ids, [B, T], 'int32'), { blocks: layer }); // (B*T, C)
      const weighted = tf.mul(tf.reshape(x, [B, T, C]), tf.tensor3d(share, [B, T, 1]));
      const mean = tf.sum(weighted, 1); // (B, C)
      return tf.div(mean, tf.maximum(tf.norm(mean, 2, 1, true), 1e-12));
    });
    const values = (await unit.data()) as Float32Array;
    unit.dispose();
    return values;
  }

  async blockInputs({ ids, B, T }: SequenceBatch, heard: (layer: number, x: Float32Array) => void): Promise<void> {
    const kept: tf.Tensor[] = [];
    tf.tidy(() => {
      const onHidden = (_: number, x: tf.Tensor2D) => kept.push(tf.keep(tf.clone(x)));
      this.forward(tf.tensor2d(ids, [B, T], 'int32'), { blocks: this.config.numLayers - 1, onHidden });
    });
    try {
      for (const [layer, x] of kept.entries()) heard(layer, (await x.data()) as Float32Array);
    } finally {
      tf.dispose(kept);
    }
  }

  learner(input: LearnerInput): Learner {
    return new TfjsLearner(this, input);
  }

  dispose(): void {
    tf.dispose(this.#held);
    for (const { cos, sin, mask } of this.#positions.values()) tf.dispose([cos, sin, mask] as tf.Tensor[]);
    this.#positions.clear();
  }

  /** (P, V) logits of the tokens that are to be predicted, without gradient. */
  #targetLogits(batch: TargetRows, use: LoraUse | undefined) {
    const { ids, B, T, rows, packed } = batch;
    const at = tf.tensor1d(rows, 'int32');
    const lora = use && (use.adapters as TfjsAdapters).bind(use.gates, batch);
    const hidden = takeRows(this.forward(tf.tensor2d(ids, [B, T], 'int32'), { lora, packed }), at);
    return this.logits(hidden as tf.Tensor2D, lora && { ...lora, gate: takeRows(lora.gate, at) });
  }

  /** What the output matrix multiplies: logits are scaled through it, because tied embeddings must stay as they are. */
  #beforeHead(hidden: T2): T2 {
    const { logitScale } = this.config;
    return logitScale === 1 ? hidden : scaled(ops, hidden, logitScale);
  }

  #block(index: number, x: T2, B: number, T: number, positions: Positions, lora: LoraBinding | undefined): T2 {
    const prefix = `model.layers.${index}.`;
    const factors = new Map<string, StackedFactors>();
    for (const [name, pair] of lora?.factors ?? []) {
      if (name.startsWith(prefix)) factors.set(name.slice(prefix.length), pair);
    }
    return block(ops, x, {
      config: this.config,
      weights: this.#weights.blocks[index]!,
      positions,
      B,
      T,
      factors,
      gate: lora?.gate,
      needsInputGradient: index > 0 || factors.size === 0,
    });
  }

  /** Rotary tables and attention mask of a kind of layer for T positions, made once per length. */
  #positionsOf(T: number, kind: LayerKind): Positions {
    return getOrMake(this.#positions, `${T}/${kind.name}`, () => {
      const made = this.#tensors(plainTables(kind, this.config, T), T);
      for (const tensor of [made.cos, made.sin, made.mask]) tf.keep(tensor as tf.Tensor);
      return made;
    });
  }

  #tensors({ cos, sin, mask }: PositionTables, T: number): Positions {
    const table = (values: Float32Array, width: number): T2 => tf.tensor2d(values, [T, width]);
    const D = this.config.headDim;
    return { cos: table(cos, D), sin: table(sin, D), rotateHalf: this.#rotateHalf, mask: table(mask, T) };
  }
}

function getOrMake<V>(map: Map<string, V>, key: string, make: () => V): V {
  const value = map.get(key) ?? make();
  map.set(key, value);
  return value;
}
