import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loraTensorName, openPeftAdapter } from '../../src/peft/read.js';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../../src/safetensors/write.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { ADAPTED_MODELS, fixture, hasShared, shared } from '../helpers/fixtures.js';

const q = 'model.layers.0.self_attn.q_proj';
const v = 'model.layers.0.self_attn.v_proj';
const A = (module: string) => loraTensorName(module, 'A');
const B = (module: string) => loraTensorName(module, 'B');

const tensor = (name: string, shape: number[], fill = 1): TensorToWrite => {
  return { name, dtype: 'F32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill) };
};
const sound = [tensor(A(q), [2, 6]), tensor(B(q), [4, 2]), tensor(A(v), [2, 6]), tensor(B(v), [3, 2])];

/** An adapter directory of these tensors, rank 2. */
function adapterDir(tensors: TensorToWrite[], config: Record<string, unknown> = {}): string {
  const dir = temporaryDir();
  const json = { peft_type: 'LORA', r: 2, lora_alpha: 4, target_modules: ['q_proj', 'v_proj'], ...config };
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify(json));
  writeSafetensors(join(dir, 'adapter_model.safetensors'), tensors, { format: 'pt' });
  return dir;
}

const refusal = (tensors: TensorToWrite[], config?: Record<string, unknown>) => {
  const dir = adapterDir(tensors, config);
  return errorOf(() => openPeftAdapter(dir));
};
const without = (name: string) => sound.filter((entry) => entry.name !== name);
const instead = (...tensors: TensorToWrite[]) => {
  return [...sound.filter(({ name }) => !tensors.some((other) => other.name === name)), ...tensors];
};

describe('an adapter', () => {
  it('gives its modules in order of their names, with shapes and scale', () => {
    const adapter = openPeftAdapter(adapterDir(sound));
    expect(adapter.modules).toEqual([
      { name: q, r: 2, in: 6, out: 4, scale: 2 },
      { name: v, r: 2, in: 6, out: 3, scale: 2 },
    ]);
    expect(adapter.readA(adapter.modules[0]!)).toHaveLength(12);
    expect(adapter.readB(adapter.modules[1]!)).toHaveLength(6);
    const target = new Float32Array(8);
    adapter.readBInto(adapter.modules[0]!, target);
    expect(target).toEqual(adapter.readB(adapter.modules[0]!));
    adapter.validate();
    adapter.close();
  });

  it.each(ADAPTED_MODELS)('of PEFT opens: lora/%s', (name) => {
    const adapter = openPeftAdapter(fixture('lora', name));
    expect(adapter.modules.length % (name === 'phi3' ? 4 : 7)).toBe(0);
    expect(new Set(adapter.modules.map(({ r, scale }) => `${r} ${scale}`))).toEqual(new Set(['4 2']));
    adapter.validate();
    adapter.close();
  });

  it('under rsLoRA has scale alpha / sqrt(r)', () => {
    const adapter = openPeftAdapter(fixture('peft-combine', 'rslora'));
    const { r, loraAlpha } = adapter.config;
    expect(new Set(adapter.modules.map(({ scale }) => scale))).toEqual(new Set([loraAlpha / Math.sqrt(r)]));
    adapter.close();
  });

  it('with patterns has ranks that agree with its tensors', () => {
    const adapter = openPeftAdapter(fixture('peft-combine', 'patterns'));
    expect(new Set(adapter.modules.map(({ r }) => r)).size).toBeGreaterThan(1);
    adapter.validate();
    adapter.close();
  });

  it('has fan_in_fan_out passed on, with the factors as they are', () => {
    const adapter = openPeftAdapter(adapterDir(sound, { fan_in_fan_out: true }));
    expect(adapter.config.fanInFanOut).toBe(true);
    expect(adapter.modules[0]).toMatchObject({ in: 6, out: 4 });
    adapter.close();
  });
});

describe('an adapter is refused as invalid', () => {
  it.each([
    ['when lora_B is missing', without(B(q)), `module "${q}" has lora_A but no lora_B`],
    ['when lora_A is missing', without(A(q)), `module "${q}" has lora_B but no lora_A`],
    ['when a tensor is no matrix', instead(tensor(A(q), [12])), 'shape [12], expected (r, in)'],
    ['when a tensor is empty', instead(tensor(A(q), [2, 0])), 'shape [2,0], expected (r, in)'],
    ['when lora_A is transposed', instead(tensor(A(q), [6, 2])), 'shape [6,2], expected (r, in) with r = 2'],
    ['when lora_B is transposed', instead(tensor(B(q), [2, 4])), 'shape [2,4], expected (out, r) with r = 2'],
    [
      'when a rank is not that of the configuration',
      instead(tensor(A(q), [3, 6]), tensor(B(q), [4, 3])),
      'with r = 2 from adapter_config.json',
    ],
    [
      'when it has the adapter name in its tensors',
      [tensor(A(q).replace('.weight', '.default.weight'), [2, 6])],
      'has the adapter name in it',
    ],
    ['when a tensor has no prefix', instead(tensor(`${q}.lora_A.weight`, [2, 6])), 'unexpected tensor name'],
    ['when it has no tensors', [], 'no lora_A and lora_B tensors'],
    [
      'when the factors are integers',
      instead({ name: A(q), dtype: 'I32', shape: [2, 6], data: new Int32Array(12) }),
      'dtype I32',
    ],
    [
      'when PEFT would not apply a module',
      instead(tensor(A(`${q}x`), [2, 6]), tensor(B(`${q}x`), [4, 2])),
      'not among target_modules',
    ],
  ])('%s', (_name, tensors, message) => {
    const error = refusal(tensors);
    expect(error.code).toBe('adapter-invalid');
    expect(error.message).toContain(message);
  });

  it('with all bad tensors named at once', () => {
    const { message } = refusal([tensor(A(q), [3, 6]), tensor(B(q), [4, 2]), tensor(A(v), [2, 6])]);
    expect(message).toContain(A(q));
    expect(message).toContain(v);
  });
});

describe('an adapter is refused as unsupported', () => {
  it.each([
    ['DoRA', `base_model.model.${q}.lora_magnitude_vector`],
    ['LoRA on an embedding', 'base_model.model.model.embed_tokens.lora_embedding_A'],
    ['lora_bias', `base_model.model.${q}.lora_B.bias`],
  ])('for %s in its tensors: %s', (reason, name) => {
    const error = refusal([...sound, tensor(name, [2, 6])]);
    expect(error.code).toBe('adapter-unsupported');
    expect(error.message).toContain(`"${name}" (${reason})`);
  });

  it.each([
    'base_model.model.lm_head.modules_to_save.weight',
    'base_model.model.lm_head.weight',
    `base_model.model.${q}.bias`,
  ])('for whole weights beside the LoRA, where no base model is at hand: %s', (name) => {
    const error = refusal([...sound, tensor(name, [2, 6])]);
    expect(error.code).toBe('adapter-unsupported');
    expect(error.message).toContain(`whole weights of the base model beside the LoRA: "${name}"`);
  });

  it('for weights in a pickle', () => {
    const dir = adapterDir(sound);
    rmSync(join(dir, 'adapter_model.safetensors'));
    writeFileSync(join(dir, 'adapter_model.bin'), 'x');
    const error = errorOf(() => openPeftAdapter(dir));
    expect(error.code).toBe('adapter-unsupported');
    expect(error.message).toContain('pickle');
  });
});

describe('NaN and infinity', () => {
  const broken = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

  it.each(broken)('%s is refused by name when the tensor is read', (bad) => {
    const tensors = instead(tensor(B(v), [3, 2], bad));
    const adapter = openPeftAdapter(adapterDir(tensors));
    expect(adapter.readA(adapter.modules[1]!)).toHaveLength(12);
    const error = errorOf(() => adapter.readB(adapter.modules[1]!));
    expect(error.code).toBe('tensor-not-finite');
    expect(error.message).toContain(B(v));
    adapter.close();
  });

  it('are all named at once by validate', () => {
    const adapter = openPeftAdapter(
      adapterDir(instead(tensor(B(v), [3, 2], Number.NaN), tensor(A(q), [2, 6], Number.NaN))),
    );
    const error = errorOf(() => adapter.validate());
    expect(error.message).toContain(A(q));
    expect(error.message).toContain(B(v));
    adapter.close();
  });

  it('are found at any place of a tensor', () => {
    for (let at = 0; at < 6; at++) {
      const data = new Float32Array(6);
      data[at] = Number.NaN;
      const adapter = openPeftAdapter(adapterDir(instead({ name: B(v), dtype: 'F32', shape: [3, 2], data })));
      expect(errorOf(() => adapter.validate()).code).toBe('tensor-not-finite');
      adapter.close();
    }
  });
});

describe('a path that is no adapter', () => {
  it('is named with what is missing', () => {
    const dir = temporaryDir();
    expect(errorOf(() => openPeftAdapter(join(dir, 'none'))).code).toBe('file-not-found');
    expect(errorOf(() => openPeftAdapter(dir)).code).toBe('path-not-recognised');
    writeFileSync(join(dir, 'file'), '');
    expect(errorOf(() => openPeftAdapter(join(dir, 'file'))).code).toBe('path-not-recognised');
    mkdirSync(join(dir, 'half'));
    cpSync(fixture('lora', 'llama', 'adapter_config.json'), join(dir, 'half', 'adapter_config.json'));
    expect(errorOf(() => openPeftAdapter(join(dir, 'half'))).code).toBe('file-not-found');
  });

  it('leaves no file open when it is refused', { tags: 'slow' }, () => {
    const dir = adapterDir(without(B(q)));
    for (let i = 0; i < 5000; i++) errorOf(() => openPeftAdapter(dir)); // 5000 open files would be beyond the usual limit
    SafetensorsFile.open(join(dir, 'adapter_model.safetensors')).close();
  });
});

describe.skipIf(!hasShared)('a real adapter for GPT-2 (needs ../shared)', () => {
  it('opens, with fan_in_fan_out and a target that matches two modules of a block', () => {
    const adapter = openPeftAdapter(shared('lora-gpt2-tigrinya'));
    expect(adapter.config).toMatchObject({ baseModel: 'gpt2', r: 8, loraAlpha: 32, fanInFanOut: true });
    expect(adapter.modules).toHaveLength(36);
    expect(adapter.modules.find(({ name }) => name === 'transformer.h.11.mlp.c_proj')).toEqual({
      name: 'transformer.h.11.mlp.c_proj',
      r: 8,
      in: 3072,
      out: 768,
      scale: 4,
    });
    adapter.validate();
    adapter.close();
  });
});
