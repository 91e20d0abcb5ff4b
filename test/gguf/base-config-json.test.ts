/** A GGUF's metadata as the config.json that transformers reads, where a base model is handed to another program. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GgufModel } from '../../src/gguf/base.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { parseModelConfig } from '../../src/hf/config.js';
import { rotaryFrequencies } from '../../src/hf/rope.js';
import { temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';

function opened(model: string): GgufModel {
  const out = join(temporaryDir(), 'model.gguf');
  exportModelGguf({ model: fixture('models', model), out, type: 'F32' });
  const base = GgufModel.open(out);
  base.close();
  return base;
}

describe('configJson', () => {
  it.each(['llama', 'llama-linear', 'gemma3', 'granite', 'olmo2', 'phi3', 'qwen2', 'qwen3', 'smollm3'])(
    'of %s says what the file says',
    (model) => {
      const { config, configJson } = opened(model);
      expect(parseModelConfig(configJson, 'config.json')).toEqual(config);
    },
  );

  it('says divisors of the frequencies, which were rope type llama3, as longrope', () => {
    const { config, configJson } = opened('llama-rope3');
    const again = parseModelConfig(configJson, 'config.json');
    expect(config.ropeScaling?.type).toBe('factors');
    expect(again.ropeScaling?.type).toBe('longrope');
    expect({ ...again, ropeScaling: null }).toEqual({ ...config, ropeScaling: null });
    for (const length of [8, 4096]) {
      const of = (rope: typeof config) => rotaryFrequencies(rope, config.rotaryDim, length);
      expect(of(again)).toEqual(of(config));
    }
  });
});
