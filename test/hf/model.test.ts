import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { HfModel } from '../../src/hf/model.js';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../../src/safetensors/write.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture, fixtureTensors, MODELS } from '../helpers/fixtures.js';

/** A copy of a fixture model that a test may spoil. */
function copyOf(name: string): string {
  const dir = join(temporaryDir(), name);
  cpSync(fixture('models', name), dir, { recursive: true });
  return dir;
}

function changeJson(path: string, change: (json: Record<string, unknown>) => void): void {
  const json = JSON.parse(readFileSync(path, 'utf8'));
  change(json);
  writeFileSync(path, JSON.stringify(json));
}

/** Rewrites a model's weights. */
function changeWeights(dir: string, change: (tensors: TensorToWrite[]) => TensorToWrite[]): void {
  const path = join(dir, 'model.safetensors');
  const file = SafetensorsFile.open(path);
  const tensors = [...file.tensors].map(
    ([name, { shape }]): TensorToWrite => ({ name, dtype: 'F32', shape, data: file.readF32(name) }),
  );
  file.close();
  writeSafetensors(path, change(tensors), { format: 'pt' });
}

const embed = 'model.embed_tokens.weight';

describe('a model directory', () => {
  it.each(MODELS)('made by transformers opens: %s', (name) => {
    const model = HfModel.open(fixture('models', name));
    expect(model.config.modelType.replace(/_text$/, '')).toBe(name.replace(/-.*/, ''));
    for (const tensor of model.tensorNames()) {
      const count = model.info(tensor).shape.reduce((a, b) => a * b, 1);
      expect(model.readF32(tensor)).toHaveLength(count);
    }
    model.close();
  });

  it('is refused where it could see, by the names of its other weights', () => {
    const dir = copyOf('llama');
    changeWeights(dir, (tensors) => [
      ...tensors,
      { name: 'model.vision_tower.vision_model.head.bias', dtype: 'F32', shape: [1], data: new Float32Array(1) },
    ]);
    const error = errorOf(() => HfModel.open(dir));
    expect(error).toMatchObject({ code: 'model-unsupported' });
    expect(error.message).toMatch(/vision model \(model\.vision_tower/);
  });

  it('has the embeddings that transformers computes from it', () => {
    for (const name of ['llama', 'qwen2', 'qwen3']) {
      const { ids } = JSON.parse(readFileSync(fixture('golden', `${name}.json`), 'utf8')) as { ids: number[][] };
      const model = HfModel.open(fixture('models', name));
      const golden = fixtureTensors('golden', `${name}.safetensors`).get('hidden.0')!;
      const row = model.readRowsF32(embed, ids[0]!);
      expect(row).toEqual(golden.subarray(0, row.length));
      model.close();
    }
  });

  it('in shards reads like one in a single file', () => {
    const dir = copyOf('qwen2');
    const model = HfModel.open(dir);
    const names = model.tensorNames();
    const path = join(temporaryDir(), 'model.safetensors');
    writeSafetensors(
      path,
      names.map((name) => ({ name, dtype: 'F32', shape: model.info(name).shape, data: model.readF32(name) })),
    );
    const before = model.readF32('model.layers.1.mlp.up_proj.weight');
    model.close();
    renameSync(path, join(dir, 'model.safetensors'));
    rmSync(join(dir, 'model.safetensors.index.json'));
    const single = HfModel.open(dir);
    expect(single.tensorNames().sort()).toEqual(names.sort());
    expect(single.readF32('model.layers.1.mlp.up_proj.weight')).toEqual(before);
    single.close();
  });
});

describe('shards', () => {
  const index = 'model.safetensors.index.json';
  const refusal = (change: (map: Record<string, unknown>) => void) => {
    const dir = copyOf('qwen2');
    changeJson(join(dir, index), (json) => change(json.weight_map as Record<string, unknown>));
    return errorOf(() => HfModel.open(dir));
  };

  it.each([
    '../model-00001-of-00002.safetensors',
    '/etc/passwd',
    'a/b.safetensors',
    'a\\b.safetensors',
    '..',
    '',
    '.hidden.safetensors',
    'weights.bin',
    7,
  ])('may not lie outside the directory: %s', (name) => {
    const error = refusal((map) => {
      map[embed] = name;
    });
    expect(error.code).toBe('model-invalid');
    expect(error.message).toContain('files of this directory');
  });

  it('must have the tensors that the index says', () => {
    const error = refusal((map) => {
      map['model.norm.weight'] =
        map['model.norm.weight'] === 'model-00001-of-00002.safetensors'
          ? 'model-00002-of-00002.safetensors'
          : 'model-00001-of-00002.safetensors';
    });
    expect(error.code).toBe('model-invalid');
    expect(error.message).toContain('"model.norm.weight" is not in');
  });

  it('must be there', () => {
    const dir = copyOf('qwen2');
    rmSync(join(dir, 'model-00002-of-00002.safetensors'));
    expect(errorOf(() => HfModel.open(dir)).code).toBe('file-not-found');
  });

  it('need an index with a map', () => {
    const dir = copyOf('qwen2');
    writeFileSync(join(dir, index), '{"weight_map": []}');
    expect(errorOf(() => HfModel.open(dir)).code).toBe('model-invalid');
  });
});

describe('tensors', () => {
  const refusal = (change: (tensors: TensorToWrite[]) => TensorToWrite[]) => {
    const dir = copyOf('llama');
    changeWeights(dir, change);
    return errorOf(() => HfModel.open(dir));
  };
  const tensor = (name: string, shape: number[]): TensorToWrite => {
    return { name, dtype: 'F32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) };
  };

  it('that are missing are all named at once', () => {
    const error = refusal((all) => all.filter(({ name }) => !name.includes('layernorm')));
    expect(error.code).toBe('model-invalid');
    expect(error.message).toMatch(/layers\.0\.input_layernorm.*layers\.1\.post_attention_layernorm/);
  });

  it('of another shape are refused', () => {
    const error = refusal((all) => [...all.filter(({ name }) => name !== embed), tensor(embed, [288, 31])]);
    expect(error.message).toContain(`"${embed}" has shape [288,31], expected [288,32]`);
  });

  it('that the configuration does not speak of are refused: they would be left out in silence', () => {
    expect(refusal((all) => [...all, tensor('model.layers.0.self_attn.q_proj.bias', [48])]).message).toContain(
      'q_proj.bias',
    );
    expect(refusal((all) => [...all, tensor('model.layers.2.input_layernorm.weight', [32])]).message).toContain(
      'layers.2',
    );
  });

  it('of old files that nobody needs are let through', () => {
    const dir = copyOf('llama');
    changeWeights(dir, (all) => [...all, tensor('model.layers.0.self_attn.rotary_emb.inv_freq', [6])]);
    HfModel.open(dir).close();
  });

  it('that are quantised are refused', () => {
    const error = refusal((all) => [
      ...all.filter(({ name }) => name !== embed),
      { name: embed, dtype: 'I8', shape: [288, 32], data: new Int8Array(288 * 32) },
    ]);
    expect(error.message).toContain(`"${embed}" is I8`);
  });

  it('with an untied output matrix need lm_head', () => {
    const error = refusal((all) => all.filter(({ name }) => name !== 'lm_head.weight'));
    expect(error.message).toContain('tie_word_embeddings');
  });

  it('with NaN are refused when they are read', () => {
    const dir = copyOf('llama');
    changeWeights(dir, (all) => [
      ...all.filter(({ name }) => name !== embed),
      { ...tensor(embed, [288, 32]), data: new Float32Array(288 * 32).fill(Number.NaN) },
    ]);
    const model = HfModel.open(dir);
    expect(errorOf(() => model.readF32(embed)).code).toBe('tensor-not-finite');
    expect(errorOf(() => model.readRowsF32(embed, [3])).code).toBe('tensor-not-finite');
    expect(errorOf(() => model.readF32('model.none')).code).toBe('model-invalid');
    model.close();
  });
});

describe('a path that is no model', () => {
  it('is named with what is missing', () => {
    const dir = temporaryDir();
    expect(errorOf(() => HfModel.open(join(dir, 'none'))).code).toBe('file-not-found');
    expect(errorOf(() => HfModel.open(dir)).code).toBe('path-not-recognised');
    cpSync(fixture('models', 'llama', 'config.json'), join(dir, 'config.json'));
    expect(errorOf(() => HfModel.open(dir)).code).toBe('file-not-found');
    writeFileSync(join(dir, 'pytorch_model.bin'), '');
    expect(errorOf(() => HfModel.open(dir)).code).toBe('model-unsupported');
  });
});

describe('digests', () => {
  const digestOf = (dir: string): string => {
    const model = HfModel.open(dir);
    const digest = model.digest();
    model.close();
    return digest;
  };

  it('are the same for a copy, and differ after any change of weights or configuration', () => {
    const dir = copyOf('llama');
    const original = digestOf(fixture('models', 'llama'));
    expect(digestOf(dir)).toBe(original);
    changeWeights(dir, (all) => {
      (all.at(-1)!.data as Float32Array)[0]! += 1;
      return all;
    });
    const changed = digestOf(dir);
    expect(changed).not.toBe(original);
    changeJson(join(dir, 'config.json'), (json) => {
      json.rope_theta = 123;
      json.rope_parameters = { rope_type: 'default', rope_theta: 123 };
    });
    expect([original, changed]).not.toContain(digestOf(dir));
    expect(digestOf(fixture('models', 'qwen2'))).toMatch(/^[0-9a-f]{64}$/);
  });

  it('of the tokenizer are those of its file', () => {
    const model = HfModel.open(fixture('models', 'qwen2'));
    expect(model.tokenizerDigest()).toMatch(/^[0-9a-f]{64}$/);
    model.close();
  });

  it('of a large file read a part of it, both ends included', () => {
    const path = join(temporaryDir(), 'large.safetensors');
    const data = new Float32Array(5 * 2 ** 20); // 20 MiB, beyond the 16 MiB that are read whole
    const sample = (at: number) => {
      data.fill(0)[at] = 1;
      writeSafetensors(path, [{ name: 'a', dtype: 'F32', shape: [data.length], data }]);
      const file = SafetensorsFile.open(path);
      const bytes = Buffer.from(file.sample(64, 4096, 16 * 2 ** 20));
      file.close();
      return bytes;
    };
    const none = sample(1024 + 5); // just behind the first block
    expect(none.length).toBeLessThan(64 * 4096 + 1000);
    expect(sample(0).equals(none)).toBe(false);
    expect(sample(data.length - 1).equals(none)).toBe(false);
  });
});
