/** GGUF files that are no base model, or one that would be computed otherwise: each is refused by name before any work. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GgufModel, openBase } from '../../src/gguf/base.js';
import type { GgufValue } from '../../src/gguf/format.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { GgufFile } from '../../src/gguf/read.js';
import type { GgufWriteType } from '../../src/gguf/types.js';
import { type GgufTensorToWrite, writeGguf } from '../../src/gguf/write.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';
import { ggufModel, ggufPath, stringEntry, uintEntry } from '../helpers/gguf.js';

type Metadata = Map<string, GgufValue>;
type Tensors = Map<string, GgufTensorToWrite>;

interface Original {
  metadata: Metadata;
  tensors: Tensors;
}
/** Read once, in the first test. */
let llama: Original | undefined;

/** All of a small Llama, or of another fixture, in memory. */
function contentOf(model: string): Original {
  const path = join(temporaryDir(), 'model.gguf');
  exportModelGguf({ model: fixture('models', model), out: path, type: 'F32' });
  const file = GgufFile.open(path);
  const tensors: Tensors = new Map();
  for (const { name, shape, type } of file.tensors.values()) {
    const values = file.readF32(name);
    tensors.set(name, { name, shape, type: type as GgufWriteType, data: () => values });
  }
  file.close();
  return { metadata: new Map(file.metadata), tensors };
}

function written(change: (metadata: Metadata, tensors: Tensors) => void, original?: Original): string {
  llama ??= contentOf('llama');
  const { metadata, tensors } = original ?? llama;
  const [keys, weights] = [new Map(metadata), new Map(tensors)];
  change(keys, weights);
  const path = join(temporaryDir(), 'spoilt.gguf');
  writeGguf(path, keys, [...weights.values()]);
  return path;
}

const whole = (value: number): GgufValue => ({ type: 'uint32', value });
const real = (value: number): GgufValue => ({ type: 'float32', value });
const text = (value: string): GgufValue => ({ type: 'string', value });
const zeros = (name: string, ...shape: number[]): GgufTensorToWrite => {
  return { name, shape, type: 'F32', data: () => new Float32Array(shape.reduce((a, b) => a * b)) };
};

describe('a GGUF as a base model is refused', () => {
  it.each(['llama', 'gemma3'])(
    'for more layers than any model has, before something is made for each of them: %s',
    (name) => {
      const path = written((metadata) => metadata.set(`${name}.block_count`, whole(2 ** 32 - 1)), contentOf(name));
      const error = errorOf(() => openBase(path));
      expect(error.code).toBe('gguf-invalid');
      expect(error.message).toContain(`${name}.block_count is 4294967295, expected at most 10000`);
    },
  );

  it('not as it was', () => {
    const base = GgufModel.open(written(() => {}));
    expect(base.config.modelType).toBe('llama');
    base.close();
  });

  it.each<[string, string, RegExp, (metadata: Metadata, tensors: Tensors) => void]>([
    [
      'of another architecture',
      'gguf-unsupported',
      /architecture "mamba", expected a base model of llama, /,
      (m) => m.set('general.architecture', text('mamba')),
    ],
    ['that is an adapter', 'gguf-unsupported', /of type "adapter"/, (m) => m.set('general.type', text('adapter'))],
    ['without layers', 'gguf-invalid', /has no llama\.block_count/, (m) => m.delete('llama.block_count')],
    ['without a width', 'gguf-invalid', /has no llama\.embedding_length/, (m) => m.delete('llama.embedding_length')],
    ['without a context', 'gguf-invalid', /has no llama\.context_length/, (m) => m.delete('llama.context_length')],
    [
      'without an epsilon',
      'gguf-invalid',
      /has no llama\.attention\.layer_norm_rms_epsilon/,
      (m) => m.delete('llama.attention.layer_norm_rms_epsilon'),
    ],
    [
      'of another width',
      'gguf-invalid',
      /"token_embd\.weight" has shape \[\d+,32\], expected \[\d+,33\]/,
      (m) => m.set('llama.embedding_length', whole(33)),
    ],
    [
      'of another number of heads',
      'gguf-invalid',
      /"blk\.0\.attn_q\.weight" has shape \[48,32\], expected \[96,32\]/,
      (m) => m.set('llama.attention.head_count', whole(8)),
    ],
    [
      'of a text for a number',
      'gguf-invalid',
      /llama\.block_count is string, expected a number/,
      (m) => m.set('llama.block_count', text('2')),
    ],
    [
      'of layers beyond all bounds',
      'gguf-invalid',
      /block_count is 4294967295, expected at most/,
      (m) => m.set('llama.block_count', whole(2 ** 32 - 1)),
    ],
    ['without its table', 'gguf-invalid', /"token_embd\.weight"/, (_, t) => t.delete('token_embd.weight')],
    [
      'without a tensor',
      'gguf-invalid',
      /"blk\.1\.ffn_down\.weight" is missing, expected \[32,48\]/,
      (_, t) => t.delete('blk.1.ffn_down.weight'),
    ],
    [
      'with a layer too many',
      'gguf-invalid',
      /"blk\.1\.attn_q\.weight" is not expected/,
      (m) => m.set('llama.block_count', whole(1)),
    ],
    [
      'with a tensor that is not computed with',
      'gguf-invalid',
      /"blk\.0\.attn_q_norm\.weight" is not expected of architecture llama/,
      (_, t) => t.set('x', zeros('blk.0.attn_q_norm.weight', 12)),
    ],
    [
      'with a bias in one layer only',
      'gguf-invalid',
      /"blk\.1\.attn_output\.bias" is missing/,
      (_, t) => t.set('x', zeros('blk.0.attn_output.bias', 32)),
    ],
    [
      'with experts',
      'gguf-unsupported',
      /llama with expert_count 8, expected 0/,
      (m) => m.set('llama.expert_count', whole(8)),
    ],
    [
      'with scaled logits',
      'gguf-unsupported',
      /logit_scale 0\.25, expected 0/,
      (m) => m.set('llama.logit_scale', real(0.25)),
    ],
    [
      'with a partial rotary embedding',
      'gguf-unsupported',
      /rope\.dimension_count 6, expected 12/,
      (m) => m.set('llama.rope.dimension_count', whole(6)),
    ],
    [
      'with values of another size',
      'gguf-unsupported',
      /attention\.value_length 24, expected 12/,
      (m) => m.set('llama.attention.value_length', whole(24)),
    ],
    [
      'of an unknown rope type',
      'gguf-unsupported',
      /rope\.scaling\.type "su"/,
      (m) => m.set('llama.rope.scaling.type', text('su')).set('llama.rope.scaling.factor', real(4)),
    ],
    [
      'with factors of another length',
      'gguf-invalid',
      /"rope_freqs\.weight" has shape \[5\], expected \[6\]/,
      (_, t) => t.set('x', zeros('rope_freqs.weight', 5)),
    ],
    [
      'with factors of zero',
      'gguf-invalid',
      /"rope_freqs\.weight" has values that are not above 0/,
      (_, t) => t.set('x', zeros('rope_freqs.weight', 6)),
    ],
  ])('%s', (_, code, message, change) => {
    const path = written(change);
    const error = errorOf(() => openBase(path));
    expect(error).toMatchObject({ code });
    expect(error.message).toMatch(message);
    expect(error.message).toContain(path);
  });

  it('without the biases or norms of its architecture', () => {
    const qwen2 = contentOf('qwen2');
    const noBias = written((_, t) => t.delete('blk.1.attn_k.bias'), qwen2);
    expect(errorOf(() => openBase(noBias)).message).toContain('"blk.1.attn_k.bias" is missing');
    const noNorm = written((_, t) => t.delete('blk.0.attn_k_norm.weight'), contentOf('qwen3'));
    expect(errorOf(() => openBase(noNorm)).message).toContain('"blk.0.attn_k_norm.weight" is missing');
    const unread = written((_, t) => t.set('x', { ...zeros('rope_freqs.weight', 4) }), qwen2);
    expect(errorOf(() => openBase(unread)).message).toContain('"rope_freqs.weight" is not expected');
  });

  it('with a number that is none, when it is read', () => {
    const values = new Float32Array(48 * 32);
    values[100] = Number.NaN;
    const name = 'blk.1.ffn_up.weight';
    const base = openBase(written((_, t) => t.set(name, { ...zeros(name, 48, 32), data: () => values })));
    const read = () => base.readF32('model.layers.1.mlp.up_proj.weight');
    expect(errorOf(read)).toMatchObject({ code: 'tensor-not-finite', message: expect.stringContaining(`"${name}"`) });
    expect(base.readF32('model.layers.0.mlp.up_proj.weight')).toHaveLength(48 * 32);
    base.close();
  });
});

describe('a type that is not read', () => {
  /** One layer of 256 columns whose query matrix is I8, ggml's type 24. */
  function opaque(): string {
    const C = 256;
    const f32 = (name: string, ...shape: number[]) => {
      return { name, shape, type: 0, bytes: new Uint8Array(4 * shape.reduce((a, b) => a * b)).fill(0) };
    };
    const matrices = ['attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down'];
    return ggufPath(
      ggufModel(
        [
          stringEntry('general.architecture', 'llama'),
          ...Object.entries({
            block_count: 1,
            context_length: 8,
            embedding_length: C,
            feed_forward_length: C,
            'attention.head_count': 4,
            'attention.layer_norm_rms_epsilon': 1,
          }).map(([key, value]) => uintEntry(`llama.${key}`, value)),
        ],
        [
          f32('token_embd.weight', 8, C),
          f32('output_norm.weight', C),
          f32('blk.0.attn_norm.weight', C),
          f32('blk.0.ffn_norm.weight', C),
          ...matrices.map((name) => f32(`blk.0.${name}.weight`, C, C)),
          { name: 'blk.0.attn_q.weight', shape: [C, C], type: 24, bytes: new Uint8Array(C * C) },
        ],
      ),
    );
  }

  it('is refused by name at once, or when it is read where a few tensors are enough', () => {
    const path = opaque();
    const error = errorOf(() => openBase(path));
    expect(error).toMatchObject({ code: 'gguf-unsupported' });
    expect(error.message).toContain('"blk.0.attn_q.weight" is stored as I8');
    const base = openBase(path, { someWeights: true });
    expect(base.readRowsF32('model.embed_tokens.weight', [3])).toEqual(new Float32Array(256));
    const read = () => base.readF32('model.layers.0.self_attn.q_proj.weight');
    expect(errorOf(read)).toMatchObject({ code: 'gguf-unsupported' });
    base.close();
  });
});
