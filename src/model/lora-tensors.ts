/** The flat vector of stacked LoRA parameters, and a batch's coefficients, as TensorFlow.js's arrays. */

import * as tf from '@tensorflow/tfjs-core';
import type { LoraLayout } from './lora-layout.js';
import type { StackedFactors } from './lora-linears.js';
import { type Gates, gateRows, type SequenceBatch, type StackedAdapters } from './network.js';

/** See gateRows. */
export function gateTensor(
  gates: Gates,
  batch: Pick<SequenceBatch, 'T' | 'packed'>,
  r: number,
  scale: number,
): tf.Tensor2D {
  const R = gates[0]!.length * r;
  const rows = gateRows(gates, batch, r, scale);
  return tf.tensor2d(rows, [rows.length / R, R]);
}

/** The flat vector cut into [A, B] of every module, in layout order. */
export function factorSlices(layout: LoraLayout, flat: tf.Tensor1D): tf.Tensor2D[] {
  const R = layout.adapters * layout.r;
  return layout.modules.flatMap((module) => [
    tf.reshape<tf.Rank.R2>(tf.slice(flat, module.aOffset, R * module.in), [R, module.in]),
    tf.reshape<tf.Rank.R2>(tf.slice(flat, module.bOffset, module.out * R), [module.out, R]),
  ]);
}

export function bindFactors(layout: LoraLayout, slices: ReadonlyArray<tf.Tensor>): ReadonlyMap<string, StackedFactors> {
  return new Map(
    layout.modules.map((m, i) => [m.name, { a: slices[2 * i] as tf.Tensor2D, b: slices[2 * i + 1] as tf.Tensor2D }]),
  );
}

/** A batch's adapters, with the coefficients of each of its rows, as the forward pass takes them. */
export function bindLora(
  { layout, loraAlpha }: Pick<StackedAdapters, 'layout' | 'loraAlpha'>,
  gates: Gates,
  batch: Pick<SequenceBatch, 'T' | 'packed'>,
  slices: readonly tf.Tensor[],
): { factors: ReadonlyMap<string, StackedFactors>; gate: tf.Tensor2D } {
  const gate = gateTensor(gates, batch, layout.r, loraAlpha / layout.r);
  return { factors: bindFactors(layout, slices), gate };
}
