/** Metadata that llama.cpp ends the process for are refused by name, and what it takes is not. */

import { describe, expect, it } from 'vitest';
import { exportAdapterGguf } from '../../src/gguf/adapter.js';
import { refuseWhatAborts, whatAborts } from '../../src/gguf/llama-cpp.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { GgufFile } from '../../src/gguf/read.js';
import { temporaryDir } from '../helpers/files.js';
import { fixture, MODELS } from '../helpers/fixtures.js';
import {
  arrayEntry,
  boolEntry,
  floatEntry,
  ggufBytes,
  ggufPath,
  stringEntry,
  stringsEntry,
  u32,
  uintEntry,
  VALUE,
} from '../helpers/gguf.js';

/** Metadata of a small Llama, some of them others or left out. */
function model(change: Record<string, Buffer | null> = {}, architecture = 'llama'): GgufFile {
  const key = (name: string) => `${architecture}.${name}`;
  const entries: Record<string, Buffer | null> = {
    architecture: stringEntry('general.architecture', architecture),
    layers: uintEntry(key('block_count'), 2),
    width: uintEntry(key('embedding_length'), 32),
    context: uintEntry(key('context_length'), 64),
    inner: uintEntry(key('feed_forward_length'), 64),
    heads: uintEntry(key('attention.head_count'), 4),
    kvHeads: uintEntry(key('attention.head_count_kv'), 2),
    eps: floatEntry(key('attention.layer_norm_rms_epsilon'), 1e-5),
    kind: stringEntry('tokenizer.ggml.model', 'gpt2'),
    tokens: stringsEntry('tokenizer.ggml.tokens', ['<unk>', '<s>', '', '']),
    ...change,
  };
  const metadata = Object.values(entries).filter((entry) => entry !== null);
  const file = GgufFile.open(ggufPath(ggufBytes({ metadata })));
  file.close();
  return file;
}

/** A SentencePiece vocabulary of all bytes but some. */
const bytes = (has: (name: string) => boolean) =>
  stringsEntry('tokenizer.ggml.tokens', [
    '<unk>',
    '<s>',
    '</s>',
    ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`).filter(has),
  ]);

const layers = (key: string, ...values: number[]) => arrayEntry(key, VALUE.uint32, values.map(u32));

describe('a model', () => {
  it('is taken as it is, with sizes for each layer, experts, a partly rotated head', () => {
    const good: Array<Record<string, Buffer | null>> = [
      {},
      { heads: layers('llama.attention.head_count', 4, 8), kvHeads: layers('llama.attention.head_count_kv', 2, 4) },
      { inner: layers('llama.feed_forward_length', 64, 32), kvHeads: null },
      {
        tokens: bytes((name) => !['<0xC0>', '<0xFF>', '<0x20>'].includes(name)),
        kind: stringEntry('tokenizer.ggml.model', 'llama'),
      },
      { a: uintEntry('llama.expert_count', 8), b: uintEntry('llama.expert_used_count', 2) },
      { a: uintEntry('llama.rope.dimension_count', 4), b: stringEntry('llama.rope.scaling.type', 'yarn') },
      { a: uintEntry('llama.attention.key_length', 16), b: uintEntry('llama.attention.value_length', 16) },
    ];
    for (const change of good) expect(whatAborts(model(change))).toEqual([]);
  });

  it.each<[string, RegExp, Record<string, Buffer | null>]>([
    ['no layer', /block_count is 0, expected 1 to 512/, { layers: uintEntry('llama.block_count', 0) }],
    ['layers without end', /block_count is 262146/, { layers: uintEntry('llama.block_count', 262146) }],
    ['no layers', /block_count is missing/, { layers: null }],
    ['a text for layers', /block_count is missing/, { layers: stringEntry('llama.block_count', '2') }],
    ['no heads', /head_count is missing/, { heads: null }],
    ['no head in one layer', /head_count is 4, 0/, { heads: layers('llama.attention.head_count', 4, 0) }],
    [
      'heads that share nothing',
      /head_count_kv is 3, expected a divisor/,
      { kvHeads: uintEntry('llama.attention.head_count_kv', 3) },
    ],
    [
      'more heads than width',
      /head_count is 64, expected at most/,
      { heads: uintEntry('llama.attention.head_count', 64), kvHeads: null },
    ],
    ['no width', /embedding_length is 0/, { width: uintEntry('llama.embedding_length', 0) }],
    ['no inner width', /feed_forward_length is 0/, { inner: uintEntry('llama.feed_forward_length', 0) }],
    [
      'other values than keys',
      /value_length is 4, expected the key_length 8/,
      { a: uintEntry('llama.attention.value_length', 4) },
    ],
    ['an odd rotation', /rope.dimension_count is 7/, { a: uintEntry('llama.rope.dimension_count', 7) }],
    ['a rotation beyond the head', /rope.dimension_count is 16/, { a: uintEntry('llama.rope.dimension_count', 16) }],
    ['an unknown scaling', /scaling.type is "mystery"/, { a: stringEntry('llama.rope.scaling.type', 'mystery') }],
    ['a negative epsilon', /epsilon is -1/, { eps: floatEntry('llama.attention.layer_norm_rms_epsilon', -1) }],
    ['epsilon NaN', /epsilon is NaN/, { eps: floatEntry('llama.attention.layer_norm_rms_epsilon', Number.NaN) }],
    ['experts nobody uses', /expert_used_count is missing, expected 1 to 8/, { a: uintEntry('llama.expert_count', 8) }],
    ['used experts of none', /expert_used_count is 2, expected 0/, { a: uintEntry('llama.expert_used_count', 2) }],
    [
      'too many experts',
      /expert_count is 5000/,
      { a: uintEntry('llama.expert_count', 5000), b: uintEntry('llama.expert_used_count', 1) },
    ],
    [
      'uneven groups',
      /expert_group_count is 3/,
      {
        a: uintEntry('llama.expert_count', 8),
        b: uintEntry('llama.expert_used_count', 1),
        c: uintEntry('llama.expert_group_count', 3),
      },
    ],
    [
      'groups nobody uses',
      /expert_group_used_count is missing/,
      {
        a: uintEntry('llama.expert_count', 8),
        b: uintEntry('llama.expert_used_count', 1),
        c: uintEntry('llama.expert_group_count', 4),
      },
    ],
    [
      'more predicted layers than layers',
      /nextn_predict_layers is 3/,
      { a: uintEntry('llama.nextn_predict_layers', 3) },
    ],
    [
      'a token twice',
      /token "<s>" occurs twice, the second time as 2/,
      { tokens: stringsEntry('tokenizer.ggml.tokens', ['a', '<s>', '<s>']) },
    ],
    [
      'llama.cpp’s name of an empty token',
      /token "\[EMPTY_1\]" occurs twice/,
      { tokens: stringsEntry('tokenizer.ggml.tokens', ['[EMPTY_1]', '']) },
    ],
    [
      'no token for a byte',
      /no token for the byte <0x4D>$/,
      { tokens: bytes((name) => name !== '<0x4D>'), kind: stringEntry('tokenizer.ggml.model', 'llama') },
    ],
    ['no vocabulary', /tokenizer.ggml.model is "none"/, { kind: stringEntry('tokenizer.ggml.model', 'none') }],
    ['no word of it', /tokenizer.ggml.model is "none"/, { kind: null }],
    ['no architecture', /general.architecture is no text/, { architecture: boolEntry('general.architecture', true) }],
  ])('with %s is refused', (_, message, change) => {
    expect(() => refuseWhatAborts(model(change))).toThrow(
      expect.objectContaining({ code: 'gguf-invalid', message: expect.stringMatching(message) }),
    );
  });

  it('with a norm in half precision is refused', () => {
    const out = `${temporaryDir()}/model.gguf`;
    exportModelGguf({ model: fixture('models', 'llama'), out, type: 'F16' });
    const file = GgufFile.open(out);
    file.close();
    const norm = file.info('blk.1.attn_norm.weight');
    for (const [type, count] of [
      ['F32', 0],
      ['F16', 1],
      ['Q8_0', 1],
    ] as const) {
      const tensors = new Map(file.tensors).set(norm.name, { ...norm, type });
      expect(whatAborts({ path: out, metadata: file.metadata, tensors })).toHaveLength(count);
    }
  });

  it('of another architecture is refused for what all of them assert alone', () => {
    expect(whatAborts(model({ heads: null, inner: null }, 'mamba'))).toEqual([]);
    expect(whatAborts(model({ layers: uintEntry('mamba.block_count', 0) }, 'mamba'))).toHaveLength(1);
  });

  it.each(MODELS)('%s, as we export it, is taken', (family) => {
    const out = `${temporaryDir()}/model.gguf`;
    exportModelGguf({ model: fixture('models', family), out, type: 'F16' });
    const file = GgufFile.open(out);
    file.close();
    expect(whatAborts(file)).toEqual([]);
  });
});

describe('a LoRA', () => {
  const metadata = {
    type: stringEntry('general.type', 'adapter'),
    architecture: stringEntry('general.architecture', 'llama'),
    kind: stringEntry('adapter.type', 'lora'),
    alpha: floatEntry('adapter.lora.alpha', 8),
  };
  const lora = (change: Partial<typeof metadata> = {}, type = 0): GgufFile => {
    const tensors = [{ name: 'blk.0.attn_q.weight.lora_a', sizes: [8, 1], type, offset: 0 }];
    const file = GgufFile.open(
      ggufPath(ggufBytes({ metadata: Object.values({ ...metadata, ...change }), tensors, data: Buffer.alloc(64) })),
    );
    file.close();
    return file;
  };

  it('is taken as it is', () => {
    expect(whatAborts(lora())).toEqual([]);
    const out = `${temporaryDir()}/lora.gguf`;
    exportAdapterGguf({ adapter: fixture('lora', 'llama'), base: fixture('models', 'llama'), out });
    const file = GgufFile.open(out);
    file.close();
    expect(whatAborts(file)).toEqual([]);
  });

  it.each<[string, RegExp, Partial<typeof metadata>, number?]>([
    ['whole numbers for weights', /is of I32/, {}, 26],
    ['doubles for weights', /is of F64/, {}, 28],
    [
      'an alpha that is no float32',
      /lora.alpha is uint32, expected float32/,
      { alpha: uintEntry('adapter.lora.alpha', 8) },
    ],
    ['a kind that is no text', /adapter.type is bool/, { kind: boolEntry('adapter.type', true) }],
    ['a type that is no text', /general.type is uint32/, { type: uintEntry('general.type', 1) }],
  ])('with %s is refused', (_, message, change, type) => {
    expect(() => refuseWhatAborts(lora(change, type))).toThrow(
      expect.objectContaining({ code: 'gguf-invalid', message: expect.stringMatching(message) }),
    );
  });
});
