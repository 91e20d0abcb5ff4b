/**
 * How much memory a training takes: on ONNX Runtime every array is counted (onnx/), on TensorFlow.js, which allocates as it goes,
 * what the operations keep, with a share for what its allocators lose.
 */

import type { BaseModel } from '../hf/base-model.js';
import type { LoraLayout } from './lora-layout.js';
import type { BackendName } from './names.js';
import { type BlockForm, blockPrograms } from './onnx/block-programs.js';
import { headRows, lossProgram } from './onnx/head-programs.js';
import { layerKind } from './positions.js';
import { type BlockWeights, blockTensors } from './weights.js';

/** One micro-batch: B sequences of T tokens, P of which are predicted. */
export interface StepShape {
  B: number;
  T: number;
  P: number;
}

export interface TrainingMemory {
  /** of the base model, in float32 */
  weights: number;
  /** trainable numbers, their moments and gradients */
  parameters: number;
  /** what a micro-batch keeps for its backward pass, and holds besides at its fullest moment */
  activations: number;
}

/** What tfjs's allocators take beyond what is asked of them; measured, see docs/experiments.md. */
const TFJS_SHARE = 1.3;

/**
 * @param options.parts micro-batches of an update @param options.recomputes see LearnerInput
 * @returns bytes, beside what the process holds before
 */
export function trainingMemory(
  backend: BackendName,
  source: Pick<BaseModel, 'config' | 'info'>,
  layout: LoraLayout,
  { B, T, P }: StepShape,
  { parts, recomputes }: { parts: number; recomputes: boolean },
): TrainingMemory {
  const { config } = source;
  const { numLayers, hiddenSize: C, vocabSize: V } = config;
  const { norms, linears } = blockTensors(config);
  const shapes: BlockWeights = new Map(
    [...norms, ...linears].map((name) => [name, { shape: [...source.info(`model.layers.0.${name}`).shape] }]),
  );
  const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
  const ofBlock = [...shapes.values()].reduce((sum, { shape }) => sum + count(shape), 0);
  const weights = 4 * (numLayers * ofBlock + (config.tieWordEmbeddings ? 1 : 2) * V * C + C);

  const rows = headRows(config, P);
  const loss = lossProgram(config, rows);
  const R = layout.adapters * layout.r;
  const M = B * T;
  let kept = 0;
  let left = 0;
  let transient = loss.transient;
  const kinds = new Map<string, ReturnType<typeof blockPrograms>>();
  for (let layer = 0; layer < numLayers; layer++) {
    const prefix = `model.layers.${layer}.`;
    const adapted: BlockForm['adapted'] = new Map(
      layout.modules
        .filter(({ name }) => name.startsWith(prefix))
        .map((module) => [module.name.slice(prefix.length), module]),
    );
    const key = [layerKind(config, layer).name, ...adapted.keys()].join();
    if (!kinds.has(key)) {
      const form = { config, weights: shapes, B, T, adapted, R, trains: adapted.size > 0, needsInputGradient: true };
      kinds.set(key, blockPrograms(form));
    }
    const programs = kinds.get(key)!;
    const crossing = 4 * programs.crossing.reduce((sum, { length }) => sum + length, 0);
    left = recomputes ? Math.max(left, crossing) : left + crossing;
    kept += programs.saved;
    transient = Math.max(transient, programs.transient);
  }
  if (backend === 'onnx') {
    // each block's input, two gradients of one, the gate, the head's rows and their gradients
    const rowsHeld = 4 * (M * C * (numLayers + 3) + M * R + 2 * rows * C);
    const parameters = 4 * layout.size * (parts > 1 ? 5 : 4);
    return { weights, parameters, activations: rowsHeld + left + transient };
  }
  const logits = 3 * 4 * P * V;
  return {
    weights: weights * TFJS_SHARE,
    parameters: 4 * layout.size * 7 * TFJS_SHARE,
    activations: (kept + Math.max(transient, logits)) * TFJS_SHARE,
  };
}
