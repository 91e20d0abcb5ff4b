/** What families' metadata say beyond Llama's when a GGUF is read as a base model, as llama.cpp and its converter have it. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openBase } from '../../src/gguf/base.js';
import type { GgufValue } from '../../src/gguf/format.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import type { GgufTensorToWrite } from '../../src/gguf/write.js';
import type { ModelConfig } from '../../src/hf/config.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';
import { changedGguf } from '../helpers/gguf-changed.js';

const whole = (value: number): GgufValue => ({ type: 'uint32', value });
const real = (value: number): GgufValue => ({ type: 'float32', value });
const text = (value: string): GgufValue => ({ type: 'string', value });
const numbers = (name: string, values: number[]): GgufTensorToWrite => {
  return { name, shape: [values.length], type: 'F32', data: () => Float32Array.from(values) };
};

/** The fixture exported in F32, with other metadata and tensors more. */
function changed(
  model: string,
  change: (metadata: Map<string, GgufValue>) => unknown,
  more: GgufTensorToWrite[] = [],
): string {
  const plain = join(temporaryDir(), 'plain.gguf');
  exportModelGguf({ model: fixture('models', model), out: plain, type: 'F32' });
  return changedGguf(plain, change, more);
}

function configOf(...args: Parameters<typeof changed>): ModelConfig {
  const base = openBase(changed(...args));
  base.close();
  return base.config;
}

describe('gemma3', () => {
  it('has windows where the file has one, on all layers but every sixth or as the pattern says', () => {
    const plain = configOf('gemma3', (m) => m.delete('gemma3.rope.freq_base_swa'));
    expect(plain).toMatchObject({ slidingWindow: 6, slidingRope: { ropeTheta: 10_000, ropeScaling: null } });
    expect(plain.slidingLayers).toEqual([true, true, true, true, true, false, true]);
    const other = configOf('gemma3', (m) => {
      m.set('gemma3.attention.sliding_window_pattern', whole(2)).set('gemma3.rope.freq_base_swa', real(500));
    });
    expect(other.slidingLayers).toEqual([true, false, true, false, true, false, true]);
    expect(other.slidingRope).toEqual({ ropeTheta: 500, ropeScaling: null });
    const none = configOf('gemma3', (m) => m.delete('gemma3.attention.sliding_window'));
    expect(none).toMatchObject({ slidingWindow: null, slidingLayers: Array(7).fill(false) });
  });

  it('scales full layers alone, where the file has a factor', () => {
    const { ropeScaling, slidingRope } = configOf('gemma3', (m) => {
      m.set('gemma3.rope.scaling.type', text('linear')).set('gemma3.rope.scaling.factor', real(8));
    });
    expect(ropeScaling).toEqual({ type: 'linear', factor: 8 });
    expect(slidingRope!.ropeScaling).toBeNull();
  });

  it('is refused with a soft cap', () => {
    const path = changed('gemma3', (m) => m.set('gemma3.final_logit_softcapping', real(30)));
    const error = errorOf(() => openBase(path));
    expect(error.code).toBe('gguf-unsupported');
    expect(error.message).toContain('final_logit_softcapping 30');
  });
});

describe('granite', () => {
  it('has its factors as the decimals that were written, and a factor of 0 is none', () => {
    expect(configOf('granite', () => {})).toMatchObject({
      embeddingScale: 6,
      attentionScale: 0.2,
      residualScale: 0.6,
      logitScale: 0.5,
    });
    const none = configOf('granite', (m) => m.delete('granite.attention.scale') && m.delete('granite.residual_scale'));
    expect(none).toMatchObject({ residualScale: 1 });
    expect(none.attentionScale).toBeCloseTo(12 ** -0.5, 12);
  });
});

describe('olmo2', () => {
  it('is refused with a window, which is OLMo 3', () => {
    const path = changed('olmo2', (m) => m.set('olmo2.attention.sliding_window', whole(4096)));
    expect(errorOf(() => openBase(path)).message).toMatch(/sliding_window, which is OLMo 3/);
  });
});

describe('phi3', () => {
  it('has longrope where the file has its factors, which the converter writes without the type', () => {
    const factors = [numbers('rope_factors_long.weight', [2, 3, 4]), numbers('rope_factors_short.weight', [1, 1, 1.5])];
    const { ropeScaling, rotaryDim } = configOf(
      'phi3',
      (m) => {
        m.set('phi3.rope.scaling.original_context_length', whole(32)).set('phi3.rope.scaling.attn_factor', real(1.19));
      },
      factors,
    );
    expect(rotaryDim).toBe(6);
    expect(ropeScaling).toEqual({
      type: 'longrope',
      longFactors: [2, 3, 4],
      shortFactors: [1, 1, 1.5],
      originalMaxPositionEmbeddings: 32,
      attentionFactor: 1.19,
    });
  });

  it('is refused with one set of factors alone', () => {
    const path = changed('phi3', () => {}, [numbers('rope_factors_long.weight', [2, 3, 4])]);
    expect(errorOf(() => openBase(path)).code).toBe('gguf-invalid');
  });
});

describe('yarn', () => {
  const yarn = (m: Map<string, GgufValue>) =>
    m
      .set('llama.rope.scaling.type', text('yarn'))
      .set('llama.rope.scaling.factor', real(4))
      .set('llama.rope.scaling.original_context_length', whole(16));

  it("has llama.cpp's attention factor: what it infers, times what the file says beyond", () => {
    const inferred = 0.1 * Math.log(4) + 1;
    expect(configOf('llama', yarn).ropeScaling).toMatchObject({ type: 'yarn', factor: 4, attentionFactor: inferred });
    const beyond = configOf('llama', (m) => yarn(m).set('llama.rope.scaling.attn_factor', real(0.5)));
    expect(beyond.ropeScaling).toMatchObject({ attentionFactor: inferred / 2 });
  });

  it.each([
    ['yarn_beta_fast', 16],
    ['yarn_attn_factor', 1.5],
  ])('is refused with a %s that llama.cpp does not read', (key, value) => {
    const path = changed('llama', (m) => yarn(m).set(`llama.rope.scaling.${key}`, real(value)));
    const error = errorOf(() => openBase(path));
    expect(error.code).toBe('gguf-unsupported');
    expect(error.message).toContain(`${key} ${value}, where llama.cpp takes`);
  });
});
