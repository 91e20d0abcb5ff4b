/** PEFT's own adapters on lm_head, with the copies of base weights that it saves (scripts/fixtures/identity.py). */

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportAdapterGguf } from '../../src/gguf/adapter.js';
import { cachedAdapterGguf } from '../../src/gguf/cache.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { GgufFile } from '../../src/gguf/read.js';
import { HfModel } from '../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { LlamaModel } from '../../src/model/llama.js';
import { bindLora, factorSlices } from '../../src/model/lora-tensors.js';
import { compareCopies } from '../../src/peft/copies.js';
import { openPeftAdapter } from '../../src/peft/read.js';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../../src/safetensors/write.js';
import { loadAdapterLora } from '../../src/train/adapter-lora.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture, fixtureJson, relativeDifference } from '../helpers/fixtures.js';

const CASES = [
  ['lm-head-adapter', 'llama'],
  ['tied-lm-head-adapter', 'llama-rope3'],
] as const;
const COPY = 'base_model.model.lm_head.base_layer.weight';

beforeAll(async () => {
  await chooseBackend('cpu');
});
afterAll(releaseBackend);

/** The adapter with its copy changed, or another name for it. */
function changed(change: (tensor: TensorToWrite) => TensorToWrite, config: Record<string, unknown> = {}): string {
  const dir = join(temporaryDir(), 'adapter');
  cpSync(fixture('identity', 'lm-head-adapter'), dir, { recursive: true });
  const path = join(dir, 'adapter_model.safetensors');
  const file = SafetensorsFile.open(path);
  const tensors = [...file.tensors].map(([name, { shape }]): TensorToWrite => {
    return { name, dtype: 'F32', shape: [...shape], data: file.readF32(name) };
  });
  file.close();
  writeSafetensors(
    path,
    tensors.map((one) => (one.name === COPY ? change(one) : one)),
    { format: 'pt' },
  );
  const json = JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8'));
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify({ ...json, ...config }));
  return dir;
}

const load = (dir: string, model = 'llama') => {
  const source = HfModel.open(fixture('models', model));
  try {
    return loadAdapterLora(dir, source);
  } finally {
    source.close();
  }
};

describe('an adapter on lm_head', () => {
  it.each(CASES)('%s gives the logits that PEFT computes, its copy of %s taken for one', (name, base) => {
    const {
      ids,
      stride,
      logits: expected,
    } = fixtureJson<{ ids: number[]; stride: number; logits: number[] }>('identity', name, 'golden.json');
    const source = HfModel.open(fixture('models', base));
    const lora = loadAdapterLora(fixture('identity', name), source);
    const model = new LlamaModel(source);
    source.close();
    const last = tf.tidy(() => {
      const binding = bindLora(
        lora,
        lora.gates,
        { T: ids.length },
        factorSlices(lora.layout, tf.tensor1d(lora.parameters)),
      );
      const hidden = model.forward(tf.tensor2d([ids], undefined, 'int32'), { lora: binding });
      return model.logits(hidden, binding).dataSync();
    });
    const ours = last.slice((ids.length - 1) * model.config.vocabSize).filter((_, i) => i % stride === 0);
    expect(relativeDifference(ours, expected)).toBeLessThan(1e-4);
    model.dispose();
  });

  it('is exported where llama.cpp has a matrix for it, and refused by name where it has not', () => {
    const out = join(temporaryDir(), 'lora.gguf');
    exportAdapterGguf({ adapter: fixture('identity', 'lm-head-adapter'), base: fixture('models', 'llama'), out });
    const file = GgufFile.open(out);
    expect(file.tensors.has('output.weight.lora_a')).toBe(true);
    file.close();
    const tied = { adapter: fixture('identity', 'tied-lm-head-adapter'), base: fixture('models', 'llama-rope3'), out };
    const error = errorOf(() => exportAdapterGguf({ ...tied, force: true }));
    expect(error).toMatchObject({ code: 'adapter-unsupported' });
    expect(error.message).toMatch(/adapts lm_head, which is the embedding table/);
  });
});

describe('a base weight in an adapter', () => {
  it('is refused without the base model, with the way out', () => {
    const error = errorOf(() => openPeftAdapter(fixture('identity', 'lm-head-adapter')));
    expect(error).toMatchObject({ code: 'adapter-unsupported' });
    expect(error.hint).toMatch(/save_embedding_layers=False/);
    const adapter = openPeftAdapter(fixture('identity', 'lm-head-adapter'), { copies: 'later' });
    expect(adapter.copies).toEqual([{ tensor: COPY, name: 'lm_head.weight' }]);
    adapter.close();
  });

  it('that is a copy is taken, also as modules_to_save or rounded to bfloat16', () => {
    const saved = 'base_model.model.lm_head.weight';
    expect(() => load(changed((one) => ({ ...one, name: saved }), { modules_to_save: ['lm_head'] }))).not.toThrow();
    expect(() => load(changed((one) => ({ ...one, dtype: 'BF16' })))).not.toThrow();
    expect(() => load(changed((one) => ({ ...one, dtype: 'F16' })))).not.toThrow();
  });

  it('is compared by half a step where float16 has numbers below its smallest normal one', () => {
    const path = join(temporaryDir(), 'copy.safetensors');
    const values = Float32Array.of(1e-6, -3.3e-7, 2e-8, 0.1);
    const base = { path: 'base', tensorNames: () => ['w.weight'], info: () => ({ shape: [4], dtype: 'F32' }) };
    const tensor = 'base_model.model.w.weight';
    const compare = (data: Float32Array) => {
      writeSafetensors(path, [{ name: tensor, dtype: 'F16', shape: [4], data }]);
      const file = SafetensorsFile.open(path);
      try {
        compareCopies(file, [{ tensor, name: 'w.weight' }], { ...base, readF32: () => values });
      } finally {
        file.close();
      }
    };
    expect(() => compare(values)).not.toThrow();
    expect(errorOf(() => compare(values.map((x) => x + 1e-6))).message).toContain('is trained');
  });

  it.each([
    [
      'trained',
      (one: TensorToWrite) => ({ ...one, data: (one.data as Float32Array).map((x, i) => (i === 9 ? x + 1 : x)) }),
      /is trained/,
    ],
    [
      'with tokens added',
      (one: TensorToWrite) => ({ ...one, shape: [290, 32], data: new Float32Array(290 * 32) }),
      /is \[290,32\], the base model's \[288,32\]: tokens were added/,
    ],
    [
      'of no module',
      (one: TensorToWrite) => ({ ...one, name: 'base_model.model.score.weight' }),
      /has no "score.weight"/,
    ],
  ])('that is %s is refused by its true name', (_, change, message) => {
    const error = errorOf(() => load(changed(change)));
    expect(error).toMatchObject({ code: 'adapter-unsupported' });
    expect(error.message).toMatch(message);
    expect(error.hint).toMatch(/merge_and_unload/);
  });

  it('cannot be compared with a quantised one, and is not said to be trained then', () => {
    const gguf = join(temporaryDir(), 'model.gguf');
    exportModelGguf({ model: fixture('models', 'llama'), out: gguf, type: 'Q8_0' });
    const out = join(temporaryDir(), 'lora.gguf');
    const error = errorOf(() =>
      exportAdapterGguf({ adapter: fixture('identity', 'lm-head-adapter'), base: gguf, out }),
    );
    expect(error.message).toMatch(/cannot be compared with the base model's, which is stored as Q8_0/);
  });

  it('is compared each time a GGUF LoRA is found in the cache', () => {
    const cacheDir = temporaryDir();
    const adapter = changed((one) => one);
    cachedAdapterGguf(adapter, fixture('models', 'llama'), { cacheDir });
    const other = join(temporaryDir(), 'other');
    cpSync(fixture('models', 'llama'), other, { recursive: true });
    const model = HfModel.open(other);
    const tensors = model.tensorNames().map((name): TensorToWrite => {
      const data = model.readF32(name);
      return {
        name,
        dtype: 'F32',
        shape: model.info(name).shape,
        data: name.startsWith('lm_head') ? data.fill(1) : data,
      };
    });
    model.close();
    writeSafetensors(join(other, 'model.safetensors'), tensors, { format: 'pt' });
    expect(errorOf(() => cachedAdapterGguf(adapter, other, { cacheDir }))).toMatchObject({
      code: 'adapter-unsupported',
    });
  });
});
