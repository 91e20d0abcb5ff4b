/** A base model ready for forward passes, on the back end that is active. */

import { activeRuntime } from './backend.js';
import { LlamaModel } from './llama.js';
import type { Network } from './network.js';
import { OnnxModel } from './onnx/onnx-model.js';
import type { WeightSource } from './weights.js';

/** @throws CrayonError what reading the weights throws */
export function openNetwork(source: WeightSource): Network {
  const runtime = activeRuntime();
  return runtime === undefined ? new LlamaModel(source) : new OnnxModel(source, runtime);
}
