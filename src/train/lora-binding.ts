/** Binds the flat vector of stacked LoRA parameters to the model's modules, and a batch's coefficients to its rows. */

import * as tf from '@tensorflow/tfjs-core';
import type { LlamaModel, LoraBinding } from '../model/llama.js';
import { takeRows } from '../model/ops.js';
import type { PaddedBatch } from './batches.js';
import type { LoraLayout } from './lora-layout.js';

/**
 * (B*T, N*r): row (b, t) holds example b's coefficients times the LoRA scale, each repeated r times.
 *
 * @param coefficients one array of N per example
 * @param scale lora_alpha / r
 */
export function gateTensor(
  coefficients: ReadonlyArray<ArrayLike<number>>,
  T: number,
  r: number,
  scale: number,
): tf.Tensor2D {
  const B = coefficients.length;
  const N = coefficients[0]!.length;
  const R = N * r;
  const rows = new Float32Array(B * R);
  for (let b = 0; b < B; b++) {
    for (let n = 0; n < N; n++) rows.fill(coefficients[b]![n]! * scale, b * R + n * r, b * R + (n + 1) * r);
  }
  return tf.tidy(() => tf.reshape(tf.tile(tf.tensor3d(rows, [B, 1, R]), [1, T, 1]), [B * T, R]));
}

/** The flat vector cut into [A, B] of every module, in layout order. */
export function factorSlices(layout: LoraLayout, flat: tf.Tensor1D): tf.Tensor2D[] {
  const R = layout.adapters * layout.r;
  return layout.modules.flatMap((module) => [
    tf.reshape<tf.Rank.R2>(tf.slice(flat, module.aOffset, R * module.in), [R, module.in]),
    tf.reshape<tf.Rank.R2>(tf.slice(flat, module.bOffset, module.out * R), [module.out, R]),
  ]);
}

export function bindFactors(layout: LoraLayout, slices: ReadonlyArray<tf.Tensor>): LoraBinding['factors'] {
  return new Map(
    layout.modules.map((m, i) => [m.name, { a: slices[2 * i] as tf.Tensor2D, b: slices[2 * i + 1] as tf.Tensor2D }]),
  );
}

/** A batch's adapters, with the coefficients of each of its rows, as the forward pass takes them. */
export function bindLora(
  { layout, loraAlpha }: { layout: LoraLayout; loraAlpha: number },
  coefficients: ReadonlyArray<ArrayLike<number>>,
  T: number,
  slices: readonly tf.Tensor[],
): LoraBinding {
  const gate = gateTensor(coefficients, T, layout.r, loraAlpha / layout.r);
  return { factors: bindFactors(layout, slices), gate };
}

/** (P, V) logits of the tokens that are to be predicted, without gradient. */
export function targetLogits(model: LlamaModel, batch: PaddedBatch, lora: LoraBinding | undefined): tf.Tensor2D {
  const ids = tf.tensor2d(batch.ids, [batch.B, batch.T], 'int32');
  const rows = tf.tensor1d(batch.rows, 'int32');
  const ofRows = lora && { ...lora, gate: takeRows(lora.gate, rows) };
  return model.logits(takeRows(model.forward(ids, { lora }), rows), ofRows);
}
