/**
 * The general adapter of a residual pool: one LoRA on everything, trained first and by itself, then kept as it is while the N of the
 * clusters are trained on top of it, deltaW(x) = s B_g A_g + sum_n alpha_n(x) s B_n A_n. In phase two it is a part of the stacked layout whose
 * coefficient is 1 for every example: the last adapters of it, as many as its rank needs, filled up with zeros.
 */

import { frozenRanges, initialParameters, type LoraLayout, poolLayout } from '../model/lora-layout.js';
import type { BuildInputs, BuildPoolOptions, GeneralOptions } from './inputs.js';
import type { Trained, TrainingTask } from './trainers/trainer.js';

/** Adapters of the stacked layout that hold the general one; none in a plain pool. */
export const generalSlots = ({ general, r }: Pick<BuildPoolOptions, 'general' | 'r'>): number =>
  general === undefined ? 0 : Math.ceil(general.r / r);

/** The layout that is trained: N base LoRAs, then the general adapter, frozen. */
export function trainedLayout({ model }: Pick<BuildInputs, 'model'>, options: BuildPoolOptions, N: number): LoraLayout {
  const slots = generalSlots(options);
  return poolLayout(model, options, N + slots, slots);
}

/** Phase one's options: those of a pool of one, with the pool's scale lora_alpha / r. */
export function generalOptions(
  options: BuildPoolOptions,
  { r, learningRate, epochs }: GeneralOptions,
): BuildPoolOptions {
  const { training } = options;
  const loraAlpha = (training.loraAlpha / options.r) * r;
  return { ...options, r, training: { ...training, learningRate, epochs, loraAlpha } };
}

/** Phase one of a pool's training. */
export function generalTask(task: Omit<TrainingTask, 'phase'>, general: GeneralOptions): TrainingTask {
  const options = generalOptions(task.options, general);
  const layout = poolLayout(task.inputs.model, options, 1);
  const gates = task.inputs.examples.map(() => [1]);
  return { ...task, phase: 'general', options, layout, gates, evaluated: [], general: undefined };
}

/** Where phase two begins: fresh base LoRAs, and the trained general adapter in its place. */
export function startBeside(
  layout: LoraLayout,
  seed: number,
  general: Pick<TrainingTask, 'layout'> & Pick<Trained, 'parameters'>,
): Float32Array {
  const flat = initialParameters(layout, seed);
  for (const [from, to] of frozenRanges(layout)) flat.fill(0, from, to);
  const { r } = general.layout;
  const R = layout.adapters * layout.r;
  const before = (layout.adapters - (layout.frozen ?? 0)) * layout.r;
  for (const [i, { aOffset, bOffset, in: inSize, out }] of layout.modules.entries()) {
    const from = general.layout.modules[i]!;
    flat.set(general.parameters.subarray(from.aOffset, from.aOffset + r * inSize), aOffset + before * inSize);
    for (let o = 0; o < out; o++) {
      const column = from.bOffset + o * r;
      flat.set(general.parameters.subarray(column, column + r), bOffset + o * R + before);
    }
  }
  return flat;
}
