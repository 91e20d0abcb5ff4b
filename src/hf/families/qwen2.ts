/** Qwen 2 and 2.5: `configuration_qwen2.py`. q, k and v always have a bias, o never. */

import { LIMITS } from '../../core/limits.js';
import type { ConfigReader } from '../config-reader.js';
import { LLAMA_BLOCK, type ModelConfig, type ModelFamily, NO_WINDOW, SILU } from './family.js';

export const qwen2: ModelFamily = {
  modelType: 'qwen2',
  defaults: { numKvHeads: 32, headDim: null, maxPositionEmbeddings: 32_768 },
  block: LLAMA_BLOCK,
  activation: SILU,
  biases: () => ({ attentionBias: true, attentionOutBias: false, mlpBias: false }),
  window: qwenWindow,
  gguf: {
    name: 'qwen2',
    reordersHeads: false,
    hasOutBias: false,
    hasRopeFactors: false,
    hasLongRope: false,
    hasWindow: false,
  },
};

/** Qwen's window is on the layers from a certain one on, where it is used at all. */
export function qwenWindow(read: ConfigReader): Pick<ModelConfig, 'slidingWindow' | 'slidingLayers'> {
  if (read.json.use_sliding_window !== true) return NO_WINDOW();
  const window = read.optionalSize('sliding_window', 4096);
  const firstLayer = (read.json.max_window_layers ?? 28) as number;
  const length = Math.min(read.size('num_hidden_layers'), LIMITS.layers);
  const layers = read.slidingLayers() ?? Array.from({ length }, (_, i) => i >= firstLayer);
  if (window === null || !layers.includes(true)) return NO_WINDOW();
  return { slidingWindow: window, slidingLayers: layers.includes(false) ? layers : null };
}
