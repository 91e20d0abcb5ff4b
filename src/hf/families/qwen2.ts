/** Qwen 2 and 2.5: `configuration_qwen2.py`. q, k and v always have a bias, o never. */

import { CrayonError } from '../../core/errors.js';
import type { ConfigReader } from '../config-reader.js';
import { LLAMA_BLOCK, MAX_LAYERS, type ModelConfig, type ModelFamily, SILU } from './family.js';

export const qwen2: ModelFamily = {
  modelType: 'qwen2',
  defaults: { numKvHeads: 32, headDim: null, maxPositionEmbeddings: 32_768 },
  block: LLAMA_BLOCK,
  activation: SILU,
  biases: () => ({ attentionBias: true, attentionOutBias: false, mlpBias: false }),
  window: qwenWindow,
  gguf: { name: 'qwen2', reordersHeads: false, hasOutBias: false, hasRopeFactors: false, hasWindow: false },
};

/** Qwen can give a window to some layers only; then it is neither null nor one number. */
export function qwenWindow(read: ConfigReader, path: string): Pick<ModelConfig, 'slidingWindow' | 'slidingLayers'> {
  const { layer_types: types, use_sliding_window: isUsed } = read.json;
  if (isUsed !== true) return { slidingWindow: null, slidingLayers: null };
  const window = read.optionalSize('sliding_window', 4096);
  const firstLayer = (read.json.max_window_layers ?? 28) as number;
  const layers = Array.isArray(types)
    ? types
    : Array.from({ length: Math.min(read.size('num_hidden_layers'), MAX_LAYERS) }, (_, i) => {
        return i >= firstLayer ? 'sliding_attention' : 'full_attention';
      });
  if (window === null || layers.every((type) => type === 'full_attention')) {
    return { slidingWindow: null, slidingLayers: null };
  }
  if (layers.every((type) => type === 'sliding_attention')) return { slidingWindow: window, slidingLayers: null };
  throw new CrayonError('model-unsupported', `${path}: a sliding window on some layers only (max_window_layers)`, {
    hint: 'Set use_sliding_window to false if prompts stay shorter than the window.',
  });
}
