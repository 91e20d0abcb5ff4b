/**
 * What training, scoring, answering and embedding ask of a base model, whoever computes it: TensorFlow.js (llama.ts) or ONNX
 * Runtime (onnx/onnx-model.ts). Batches and results are plain arrays.
 *
 * Letters: B sequences, T tokens each (padded on the right), M = B*T rows, P predicted tokens, C hidden size, V vocabulary,
 * N adapters.
 */

import type { ModelConfig } from '../hf/config.js';
import type { AdamWOptions, AdamWState } from './adamw-settings.js';
import type { LoraLayout } from './lora-layout.js';

/** Sequences padded on the right to one length. */
export interface SequenceBatch {
  /** (B, T) row-major; padding is 0 */
  ids: Int32Array;
  B: number;
  T: number;
  /** absent where every row is one sequence */
  packed?: PackedRow | undefined;
}

/**
 * Several sequences in the one row of a batch, what they begin with alike once: a forest of segments, such as the examples before all
 * questions, a question, its choices. A token sees its own segment as far as itself, and those that this one goes on from.
 */
export interface PackedRow {
  /** (T) the question whose coefficients a token gets, one of those that it is read for; -1 for padding */
  question: Int32Array;
  /** (T) in the token's own sequence, from 0 */
  position: Int32Array;
  /** each behind what it goes on from, one after another from token 0 on; padding is behind them all */
  segments: ReadonlyArray<{ start: number; end: number; parent: number | null }>;
}

/** Sequences of which some tokens are to be predicted. */
export interface TargetBatch extends SequenceBatch {
  /** (P) positions in the flattened (B*T) whose next token is to be predicted */
  rows: Int32Array;
  /** (P) that next token */
  targets: Int32Array;
}

/** Without the tokens that are to be predicted. */
export type TargetRows = Omit<TargetBatch, 'targets'>;

/** Coefficients of the adapters, N for each sequence of a batch; of a packed one, for each question. */
export type Gates = ReadonlyArray<ArrayLike<number>>;

/** N adapters stacked, as one flat vector. */
export interface StackedAdapters {
  layout: LoraLayout;
  /** the flat vector of `layout` */
  parameters: Float32Array;
  loraAlpha: number;
}

/** Adapters on the back end, where any number of batches can use them. */
export interface AttachedAdapters {
  dispose(): void;
}

/** Attached adapters, each sequence of a batch through its own mixture of them. */
export interface LoraUse {
  adapters: AttachedAdapters;
  gates: Gates;
}

/** What the model says of each of the P tokens to be predicted. */
export interface PredictedTokens {
  /** log-probability of the target, in nats */
  targets: Float32Array;
  /** the likeliest token, and its log-probability */
  best: Int32Array;
  largest: Float32Array;
}

export interface Network {
  readonly config: ModelConfig;
  attach(adapters: StackedAdapters): AttachedAdapters;
  predict(batch: TargetBatch, lora?: LoraUse): Promise<PredictedTokens>;
  /** (P, V) row-major */
  targetLogits(batch: TargetRows, lora?: LoraUse): Promise<Float32Array>;
  /**
   * Weighted sums of each sequence's hidden states, scaled to length 1: (B, C).
   *
   * @param layer hidden state as transformers numbers them: 0 the embeddings, `numLayers` the last one after the final norm
   * @param share (B*T) the weight of each token
   */
  embed(batch: SequenceBatch, layer: number, share: Float32Array): Promise<Float32Array>;
  /** What goes into each block, from the first one on: (B*T, C) row-major, good until `heard` returns. */
  blockInputs(batch: SequenceBatch, heard: (layer: number, x: Float32Array) => void): Promise<void>;
  /** Begins or continues the training of stacked adapters. */
  learner(input: LearnerInput): Learner;
  dispose(): void;
}

export interface LearnerInput {
  layout: LoraLayout;
  loraAlpha: number;
  /** the flat vector to begin with, or where an earlier learner of the same layout stood */
  start: Float32Array | AdamWState;
  adamw: AdamWOptions;
  /** the flat vector that weight decay pulls back to (L2-SP, arXiv 1802.01483); zero when absent */
  anchor?: Float32Array | undefined;
  /** Keep only each block's input, and run its forward pass again before its backward pass; ignored where the back end cannot. */
  recomputes?: boolean;
}

/** Gathers the gradient of a step, batch by batch, then updates the flat vector by AdamW. */
export interface Learner {
  /** updates done so far */
  readonly step: number;
  /**
   * Adds the loss of a batch and its gradient to those of the step.
   *
   * @param normaliser the loss is the sum over completion tokens divided by this
   */
  add(batch: TargetBatch, gates: Gates, normaliser: number): Promise<void>;
  /** The gradient gathered since the last update: the length of the flat vector. */
  gradient(): Promise<Float32Array>;
  /** One update by what was gathered, which is then forgotten. @returns the sum of the losses, the gradient's L2 norm before clipping */
  update(learningRate: number): Promise<{ loss: number; gradientNorm: number }>;
  /** Where the learner stands; the arrays may be its own, good until the next update. */
  state(): Promise<AdamWState>;
  dispose(): void;
}

/**
 * (B*T, N*r): row (b, t) holds example b's coefficients times the LoRA scale, each repeated r times; of a packed batch those of the
 * token's question, and zeros for padding.
 *
 * @param scale lora_alpha / r
 */
export function gateRows(
  gates: Gates,
  { T, packed }: Pick<SequenceBatch, 'T' | 'packed'>,
  r: number,
  scale: number,
): Float32Array {
  const R = gates[0]!.length * r;
  const set = (from: number, coefficients: ArrayLike<number>) => {
    for (let n = 0; n < coefficients.length; n++) {
      rows.fill(coefficients[n]! * scale, from + n * r, from + (n + 1) * r);
    }
  };
  const rows = new Float32Array((packed === undefined ? gates.length : 1) * T * R);
  if (packed !== undefined) {
    packed.question.forEach((question, t) => {
      if (question >= 0) set(t * R, gates[question]!);
    });
    return rows;
  }
  for (const [b, coefficients] of gates.entries()) {
    const from = b * T * R;
    set(from, coefficients);
    for (let t = 1; t < T; t++) rows.copyWithin(from + t * R, from, from + R);
  }
  return rows;
}
