/** Scales, names and refusals of exported adapters; the probabilities are in gguf-parity.test.ts. */

import { cpSync, existsSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { chooseAlpha, exportAdapterGguf } from '../../src/gguf/adapter.js';
import { cachedAdapterGguf, cachedModelGguf, defaultCacheDir } from '../../src/gguf/cache.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { GgufFile } from '../../src/gguf/read.js';
import { openPeftAdapter } from '../../src/peft/read.js';
import { writePeftAdapter } from '../../src/peft/write.js';
import { editJson } from '../e2e/helpers.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture, relativeDifference } from '../helpers/fixtures.js';
import { readWithPeer } from '../helpers/gguf-peer.js';

const LLAMA = fixture('models', 'llama');

/** Each module's scale * B A as llama.cpp computes it: alpha / rank of the pair, times B A. */
function deltas(path: string): Map<string, Float32Array> {
  const file = GgufFile.open(path);
  const alpha = file.metadata.get('adapter.lora.alpha')!.value as number;
  const found = new Map<string, Float32Array>();
  for (const name of file.tensors.keys()) {
    if (!name.endsWith('.lora_a')) continue;
    const module = name.slice(0, -'.lora_a'.length);
    const [r, inSize] = file.info(name).shape as [number, number];
    const b = file.readF32(`${module}.lora_b`);
    found.set(module, product(file.readF32(name), b, r, inSize, alpha / r));
  }
  file.close();
  return found;
}

function product(a: Float32Array, b: Float32Array, r: number, inSize: number, scale: number): Float32Array {
  const out = new Float32Array((b.length / r) * inSize);
  for (let o = 0; o < b.length / r; o++) {
    for (let i = 0; i < inSize; i++) {
      let sum = 0;
      for (let k = 0; k < r; k++) sum += b[o * r + k]! * a[k * inSize + i]!;
      out[o * inSize + i] = scale * sum;
    }
  }
  return out;
}

describe('one alpha for the file', () => {
  it('is scale * r where all modules agree, with the factors stored as they are', () => {
    const same = chooseAlpha([4, 8].map((r) => ({ r, scale: 16 / r })));
    expect(same).toEqual({ alpha: 16, factors: [1, 1] });
  });

  it("is the first module's elsewhere, and the factor of B makes up the difference", () => {
    const { alpha, factors } = chooseAlpha([
      { r: 4, scale: 2 },
      ...[4, 9].map((r) => ({ r, scale: 8 / Math.sqrt(r) })),
    ]);
    expect(alpha).toBe(8);
    expect(factors).toEqual([1, 2, 3]);
  });

  it('is never 0, which llama.cpp takes for 1 / scale', () => {
    expect(chooseAlpha([{ r: 4, scale: 0 }])).toEqual({ alpha: 1, factors: [0] });
    expect(chooseAlpha([])).toEqual({ alpha: 1, factors: [] });
  });

  // rsLoRA, rank patterns and alpha patterns: what llama.cpp's own converter leaves out.
  it.each(['plain', 'rslora', 'patterns'])("gives every module of %s PEFT's own scale", (name) => {
    const out = join(temporaryDir(), 'a.gguf');
    const dir = fixture('peft-combine', name);
    exportAdapterGguf({ adapter: dir, base: LLAMA, out });
    const found = deltas(out);
    const adapter = openPeftAdapter(dir);
    expect(found.size).toBe(adapter.modules.length);
    for (const module of adapter.modules.filter((one) => !/[qk]_proj$/.test(one.name))) {
      const suffix = module.name.split('.').at(-1)!;
      const short = { v_proj: 'attn_v', o_proj: 'attn_output', gate_proj: 'ffn_gate', up_proj: 'ffn_up' }[suffix];
      const key = `blk.${module.name.split('.')[2]}.${short ?? 'ffn_down'}.weight`;
      const expected = product(adapter.readA(module), adapter.readB(module), module.r, module.in, module.scale);
      expect(relativeDifference(found.get(key)!, expected), key).toBeLessThan(1e-6);
    }
    adapter.close();
  });
});

describe('the file', () => {
  it('says what it is in the keys that llama.cpp reads', async () => {
    const out = join(temporaryDir(), 'a.gguf');
    const result = exportAdapterGguf({ adapter: fixture('lora', 'mistral'), base: fixture('models', 'mistral'), out });
    expect(result).toMatchObject({ modules: 14, alpha: 8, rescaled: 0, architecture: 'llama' });
    const { metadata, tensors } = await readWithPeer(out);
    expect(metadata).toMatchObject({
      'general.type': 'adapter',
      'general.architecture': 'llama',
      'adapter.type': 'lora',
      'adapter.lora.alpha': 8,
    });
    const q = tensors.find(({ name }) => name === 'blk.1.attn_q.weight.lora_b')!;
    expect(q.shape).toEqual([48, 4]);
    expect(tensors).toHaveLength(28);
  });
});

describe('refused', () => {
  /** An adapter of one module. */
  function adapterOf(name: string, inSize: number, outSize: number): string {
    const dir = join(temporaryDir(), 'adapter');
    const a = () => new Float32Array(2 * inSize).fill(0.1);
    const b = () => new Float32Array(outSize * 2).fill(0.1);
    writePeftAdapter(dir, {
      baseModel: 'base',
      r: 2,
      loraAlpha: 2,
      targetModules: [name.split('.').at(-1)!],
      modules: [{ name, r: 2, in: inSize, out: outSize, a, b }],
    });
    return dir;
  }
  const exportTo = (adapter: string, base: string) => () => {
    return exportAdapterGguf({ adapter, base, out: join(temporaryDir(), 'x.gguf') });
  };

  it('is the head of a model whose embeddings are tied, from either kind of base; an untied head is not', () => {
    const head = adapterOf('lm_head', 32, 288);
    const tied = fixture('models', 'qwen2');
    const file = join(temporaryDir(), 'tied.gguf');
    exportModelGguf({ model: tied, out: file, type: 'F32' });
    for (const base of [tied, file]) {
      expect(errorOf(exportTo(head, base))).toMatchObject({ code: 'adapter-unsupported' });
    }
    expect(exportTo(head, LLAMA)()).toMatchObject({ modules: 1 });
  });

  it.each([
    ['an unknown module', 'model.layers.0.self_attn.rotary', 32, 48],
    ['a layer too many', 'model.layers.7.mlp.up_proj', 32, 48],
    ['the embeddings', 'model.embed_tokens', 32, 288],
    ['a norm', 'model.layers.0.input_layernorm', 32, 32],
    ['another shape', 'model.layers.0.mlp.up_proj', 32, 64],
  ])('is %s, by name', (_, name, inSize, outSize) => {
    const error = errorOf(exportTo(adapterOf(name, inSize, outSize), LLAMA));
    expect(error).toMatchObject({ code: 'adapter-mismatch' });
    expect(error.message).toContain(name);
  });

  it('is an adapter for another base, and a base that is itself an adapter', () => {
    expect(errorOf(exportTo(fixture('lora', 'qwen3'), LLAMA))).toMatchObject({ code: 'adapter-mismatch' });
    const lora = join(temporaryDir(), 'lora.gguf');
    exportAdapterGguf({ adapter: fixture('lora', 'llama'), base: LLAMA, out: lora });
    expect(errorOf(exportTo(fixture('lora', 'llama'), lora))).toMatchObject({ code: 'gguf-unsupported' });
  });
});

describe('the cache', () => {
  it('makes each file once, under a name that its content decides', () => {
    const cacheDir = join(temporaryDir(), 'deep', 'cache');
    const path = cachedModelGguf(LLAMA, { cacheDir, type: 'F32' });
    expect(path).toMatch(/[0-9a-f]{16}-F32\.gguf$/);
    const { ino } = statSync(path);
    utimesSync(path, 1, 1);
    expect(cachedModelGguf(LLAMA, { cacheDir, type: 'F32' })).toBe(path);
    expect(statSync(path).ino).toBe(ino);
    expect(statSync(path).mtimeMs).toBeGreaterThan(1e12); // marked as used
    expect(cachedModelGguf(LLAMA, { cacheDir })).toMatch(/-F16\.gguf$/);
    expect(cachedModelGguf(fixture('models', 'qwen3'), { cacheDir, type: 'F32' })).not.toBe(path);

    const adapter = fixture('lora', 'llama');
    const first = cachedAdapterGguf(adapter, LLAMA, { cacheDir });
    expect(first.path).toBe(join(cacheDir, `${first.id}.lora.gguf`));
    const elsewhere = join(temporaryDir(), 'copy');
    cpSync(adapter, elsewhere, { recursive: true });
    expect(cachedAdapterGguf(elsewhere, path, { cacheDir })).toEqual(first);
    editJson<{ lora_alpha: number }>(join(elsewhere, 'adapter_config.json'), (config) => {
      config.lora_alpha = 9;
    });
    expect(cachedAdapterGguf(elsewhere, LLAMA, { cacheDir }).id).not.toBe(first.id);
    expect(readdirSync(cacheDir)).toHaveLength(5);
  });

  it('knows a changed tokenizer or chat template from the old one', () => {
    const model = join(temporaryDir(), 'model');
    cpSync(LLAMA, model, { recursive: true });
    const cacheDir = temporaryDir();
    const path = cachedModelGguf(model, { cacheDir });
    editJson<{ chat_template: string }>(join(model, 'tokenizer_config.json'), (config) => {
      config.chat_template = 'other';
    });
    expect(cachedModelGguf(model, { cacheDir })).not.toBe(path);
  });

  it('keeps nothing of a failed export', () => {
    const cacheDir = join(temporaryDir(), 'cache');
    const other = fixture('lora', 'qwen3');
    expect(errorOf(() => cachedAdapterGguf(other, LLAMA, { cacheDir }))).toMatchObject({ code: 'adapter-mismatch' });
    expect(existsSync(cacheDir) ? readdirSync(cacheDir) : []).toEqual([]);
  });

  it('lies where XDG_CACHE_HOME says, or below the home directory', () => {
    expect(defaultCacheDir({ XDG_CACHE_HOME: '/x' })).toBe(join('/x', 'crayon'));
    expect(defaultCacheDir({})).toMatch(/\.cache[\\/]crayon$/);
  });
});
