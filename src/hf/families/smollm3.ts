/** SmolLM 3: `configuration_smollm3.py`. Llama with some layers, by default every fourth, that do not know positions. */

import { LIMITS } from '../../core/limits.js';
import type { ConfigReader } from '../config-reader.js';
import { LLAMA_BLOCK, type ModelFamily, NO_WINDOW, ropeOfAllLayers, SILU } from './family.js';
import { LLAMA_ARCHITECTURE, llama } from './llama.js';

/** llama.cpp has it built in (src/models/smollm3.cpp). */
const INTERVAL = 4;

export const smollm3: ModelFamily = {
  modelType: 'smollm3',
  defaults: {
    numKvHeads: 4,
    headDim: null,
    maxPositionEmbeddings: 32_768,
    tieWordEmbeddings: true,
    ropeTheta: 2_000_000,
  },
  block: LLAMA_BLOCK,
  activation: SILU,
  biases: llama.biases,
  window(read) {
    if (read.json.use_sliding_window !== true) return NO_WINDOW();
    const window = read.optionalSize('sliding_window', 0);
    const layers = read.slidingLayers() ?? rotaryLayers(read).map((isTurned) => !isTurned);
    return window === null || !layers.includes(true) ? NO_WINDOW() : { slidingWindow: window, slidingLayers: layers };
  },
  rope: (read, context) => ({ ...ropeOfAllLayers(read, context), rotaryLayers: rotaryLayers(read) }),
  gguf: {
    ...LLAMA_ARCHITECTURE,
    name: 'smollm3',
    hasOutBias: false,
    hasRopeFactors: false,
    hasLongRope: false,
    differs({ rotaryLayers: layers, mlpBias }) {
      const isBuiltIn = layers!.every((isTurned, i) => isTurned === ((i + 1) % INTERVAL !== 0));
      return [
        ...(isBuiltIn ? [] : ['no_rope_layers other than every fourth']),
        ...(mlpBias ? ['biases of the feed-forward'] : []),
      ];
    },
  },
};

function rotaryLayers(read: ConfigReader): boolean[] {
  const isFlag = (item: unknown): item is number => item === 0 || item === 1;
  const given = read.perLayer('no_rope_layers', isFlag, '0 or 1');
  const interval = read.size('no_rope_layer_interval', INTERVAL);
  const length = Math.min(read.size('num_hidden_layers'), LIMITS.layers);
  return given?.map((flag) => flag === 1) ?? Array.from({ length }, (_, i) => (i + 1) % interval !== 0);
}
