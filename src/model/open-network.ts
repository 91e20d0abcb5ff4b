/** A base model ready for forward passes, on the back end that is active. */

import { LlamaModel } from './llama.js';
import type { Network } from './network.js';
import type { WeightSource } from './weights.js';

/** @throws CrayonError what reading the weights throws */
export function openNetwork(source: WeightSource): Network {
  return new LlamaModel(source);
}
