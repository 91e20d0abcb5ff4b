/** Tokenizers of GGUF files: llama.cpp's own test vectors, transformers' goldens, small vocabularies made by hand. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { GgufMetadata } from '../../../src/gguf/format.js';
import { GgufFile } from '../../../src/gguf/read.js';
import { PRE_TOKENIZERS } from '../../../src/gguf/vocabulary/pre-tokenizers.js';
import { ggufTokenizer } from '../../../src/gguf/vocabulary/tokenizer.js';
import { ggufVocabulary } from '../../../src/gguf/vocabulary/write.js';
import { loadTokenizer, readTokenizerFiles, type Tokenizer } from '../../../src/hf/tokenizer.js';
import { errorOf } from '../../helpers/files.js';
import { fixture, fixtureJson, hasShared, shared } from '../../helpers/fixtures.js';
import { processorMs } from '../../helpers/processor.js';

const REAL = ['gpt-2', 'llama-spm', 'phi-3', 'starcoder'];
const realPath = (name: string): string => shared('llama.cpp-vocab', 'models', `ggml-vocab-${name}.gguf`);

function openTokenizer(path: string): Tokenizer {
  const file = GgufFile.open(path);
  file.close();
  return ggufTokenizer(file);
}

describe.skipIf(!hasShared).each(REAL)('the real vocabulary %s (needs ../shared)', { tags: 'slow' }, (name) => {
  const inputs = (): string[] =>
    readFileSync(`${realPath(name)}.inp`, 'utf8')
      .split('\n__ggml_vocab_test__\n')
      .slice(0, -1);

  it("gives llama.cpp's ids for all of its test texts", () => {
    const tokenizer = openTokenizer(realPath(name));
    const expected = readFileSync(`${realPath(name)}.out`, 'utf8').split('\n');
    expect(inputs()).toHaveLength(46);
    for (const [i, text] of inputs().entries()) {
      const ids = tokenizer.encode(text, { addBos: false });
      expect(ids.join(' '), JSON.stringify(text)).toBe(expected[i]!.trim());
      expect(tokenizer.decode(ids)).toBe(text);
    }
  });
});

describe.skipIf(!hasShared)('real special tokens (need ../shared)', { tags: 'slow' }, () => {
  it('Llama 2: BOS in front, by default; names of special tokens in a text are those tokens', () => {
    const tokenizer = openTokenizer(realPath('llama-spm'));
    expect(tokenizer).toMatchObject({ bosId: 1, eosId: 2, addsBos: true, vocabSize: 32_000, renderChat: null });
    expect(tokenizer.encode('Hello')).toEqual([1, 15043]);
    expect(tokenizer.encode('Hello', { addBos: false })).toEqual([15043]);
    expect(tokenizer.encode('')).toEqual([1]);
    expect(tokenizer.encode('Hello</s> Hello')).toEqual([1, 15043, 2, 29871, 15043]);
    expect(tokenizer.decode([1, 15043, 2])).toBe('Hello');
    expect(tokenizer.decode([1, 15043, 2], { keepSpecial: true })).toBe('<s> Hello</s>');
  });

  it('Phi-3: spaces after a special token are swallowed, and the chat template is its own', () => {
    const tokenizer = openTokenizer(realPath('phi-3'));
    expect(tokenizer.encode('<|end|> \n Hello', { addBos: false })).toEqual([32007, 15043]);
    expect(tokenizer.renderChat?.([{ role: 'user', content: 'Hi' }])).toBe('<s><|user|>\nHi<|end|>\n<|assistant|>\n');
  });

  it('GPT-2: no BOS of its own accord, but on demand', () => {
    const tokenizer = openTokenizer(realPath('gpt-2'));
    expect(tokenizer).toMatchObject({ bosId: 50_256, eosId: 50_256, addsBos: false });
    expect(tokenizer.encode('Hello')).toEqual([15496]);
    expect(tokenizer.encode('Hello<|endoftext|>', { addBos: true })).toEqual([50_256, 15496, 50_256]);
    expect(tokenizer.decode([15496, 50_256])).toBe('Hello');
  });
});

describe.each(['byte-level', 'chatml', 'byte-fallback'])('the %s tokenizer written as GGUF metadata', (name) => {
  const dir = fixture('tokenizer', name);
  const golden = fixtureJson<{
    vocabSize: number;
    cases: Array<{ text: string; ids: number[]; idsWithSpecial: number[]; decodedSkipSpecial: string }>;
  }>('tokenizer', name, 'golden.json');
  const config = { vocabSize: golden.vocabSize, bosTokenId: null, endTokenIds: [] };
  const metadata = ggufVocabulary(readTokenizerFiles(dir), config, dir);

  it("gives transformers' ids and texts", () => {
    const tokenizer = ggufTokenizer({ metadata, path: name });
    expect(golden.cases.length).toBeGreaterThan(20);
    for (const { text, ids, idsWithSpecial, decodedSkipSpecial } of golden.cases) {
      // llama.cpp does not compose characters (NFC), which Qwen's tokenizer does.
      if (name === 'chatml' && text !== text.normalize('NFC')) continue;
      expect(tokenizer.encode(text, { addBos: false }), JSON.stringify(text)).toEqual(ids);
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(idsWithSpecial);
      expect(tokenizer.decode(ids)).toBe(decodedSkipSpecial);
    }
  });

  it('renders a chat as the directory does', () => {
    const ours = ggufTokenizer({ metadata, path: name });
    const theirs = loadTokenizer(dir);
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello' },
      { role: 'user', content: 'Bye' },
    ];
    expect(theirs.renderChat).not.toBeNull();
    expect(ours.renderChat?.(messages)).toBe(theirs.renderChat?.(messages));
  });
});

/** Metadata from plain values: arrays of texts and of numbers, numbers, truth values, texts. */
function metadataOf(values: Record<string, string | number | boolean | string[] | number[]>): GgufMetadata {
  const entries = Object.entries(values).map(([key, value]) => {
    const name = key === 'chat_template' ? 'tokenizer.chat_template' : `tokenizer.ggml.${key}`;
    if (typeof value === 'string') return [name, { type: 'string', value }];
    if (typeof value === 'boolean') return [name, { type: 'bool', value }];
    if (typeof value === 'number') return [name, { type: 'uint32', value }];
    return [name, { type: 'array', of: typeof value[0] === 'string' ? 'string' : 'float32', value }];
  });
  return new Map(entries as Array<[string, NonNullable<ReturnType<GgufMetadata['get']>>]>);
}

const SPM_TOKENS = ['<unk>', '<s>', '</s>', '▁', 'a', 'b', 'c', 'ab', 'bc', '▁a', '<x>'];
const spm = (change: Parameters<typeof metadataOf>[0] = {}): GgufMetadata =>
  metadataOf({
    model: 'llama',
    tokens: SPM_TOKENS,
    scores: [0, 0, 0, -9, -9, -9, -9, -1, -1, -2, 0],
    token_type: [2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 4],
    ...change,
  });
const encode = (metadata: GgufMetadata, text: string): number[] =>
  ggufTokenizer({ metadata, path: 'm' }).encode(text, { addBos: false });

describe('SentencePiece by score', () => {
  it('of two merges with equal scores takes the one on the left', () => {
    expect(encode(spm({ add_space_prefix: false }), 'abc')).toEqual([7, 6]);
    expect(encode(spm({ add_space_prefix: false, scores: [0, 0, 0, -9, -9, -9, -9, -2, -1, -2, 0] }), 'abc')).toEqual([
      4, 8,
    ]);
  });

  it('puts a space in front of a text and after a special token, unless told not to', () => {
    expect(encode(spm(), 'a')).toEqual([9]);
    expect(encode(spm(), 'a<s>a<x>c')).toEqual([9, 1, 9, 10, 3, 6]);
    expect(encode(spm({ add_space_prefix: false }), 'a<s>a')).toEqual([4, 1, 4]);
    expect(ggufTokenizer({ metadata: spm(), path: 'm' }).decode([9, 4])).toBe('aa');
    expect(ggufTokenizer({ metadata: spm({ add_space_prefix: false }), path: 'm' }).decode([9, 4])).toBe(' aa');
  });

  it('takes the longest special token first', () => {
    const tokens = [...SPM_TOKENS.slice(0, 9), '<x>y', '<x>'];
    const types = [2, 3, 3, 1, 1, 1, 1, 1, 1, 4, 4];
    expect(encode(spm({ tokens, token_type: types }), '<x>y<x>')).toEqual([9, 10]);
  });

  it('without byte tokens gives the unknown token for each byte of what it does not know', () => {
    expect(encode(spm({ add_space_prefix: false }), 'aé')).toEqual([4, 0, 0]);
  });

  it('takes half a surrogate pair for the replacement character', () => {
    const tokens = [...SPM_TOKENS.slice(0, 10), '\ufffd'];
    expect(encode(spm({ tokens, add_space_prefix: false }), 'a\ud83d')).toEqual([4, 10]);
  });

  it('adds BOS unless told not to, and knows where there is none', () => {
    expect(ggufTokenizer({ metadata: spm(), path: 'm' }).encode('a')).toEqual([1, 9]);
    expect(ggufTokenizer({ metadata: spm({ add_bos_token: false }), path: 'm' }).encode('a')).toEqual([9]);
  });

  it('is quick on a long text', () => {
    const tokenizer = ggufTokenizer({ metadata: spm(), path: 'm' });
    const start = processorMs();
    expect(tokenizer.encode('abcab c'.repeat(30_000))).not.toHaveLength(0);
    expect(processorMs() - start).toBeLessThan(10_000); // quadratic time would take minutes
  });
});

const BPE = { model: 'gpt2', pre: 'gpt-2', tokens: ['a', 'b', 'c', 'Ġ', 'ab', '<e>'], merges: ['a b'] };

describe('byte-level BPE', () => {
  it('merges by rank and keeps special tokens whole', () => {
    const metadata = metadataOf({ ...BPE, token_type: [1, 1, 1, 1, 1, 3], eos_token_id: 5 });
    const tokenizer = ggufTokenizer({ metadata, path: 'm' });
    expect(tokenizer.encode('ab<e>c b')).toEqual([4, 5, 2, 3, 1]);
    expect(tokenizer.decode([4, 5, 2, 3, 1])).toBe('abc b');
    expect(tokenizer.decode([4, 5], { keepSpecial: true })).toBe('ab<e>');
    expect(tokenizer).toMatchObject({ bosId: null, eosId: 5, addsBos: false, vocabSize: 6 });
    expect(errorOf(() => tokenizer.encode('a', { addBos: true })).code).toBe('tokenizer-unsupported');
  });

  it('leaves out bytes that have no token, as llama.cpp does', () => {
    expect(encode(metadataOf(BPE), 'aéb')).toEqual([0, 1]);
  });

  it('of a Phi-3 swallows the spaces after a special token', () => {
    const metadata = new Map(metadataOf({ ...BPE, token_type: [1, 1, 1, 1, 1, 3] }));
    expect(encode(metadata, 'a<e> c')).toEqual([0, 5, 3, 2]);
    metadata.set('general.name', { type: 'string', value: 'My Phi-3' });
    expect(encode(metadata, 'a<e> c')).toEqual([0, 5, 2]);
  });

  it('under llama-bpe starts with BOS and takes a whole word that is a token before merging', () => {
    const tokens = ['a', 'b', 'c', 'Ġ', 'ab', '<e>', 'abc', 'bc'];
    const metadata = metadataOf({ ...BPE, pre: 'llama-bpe', tokens, merges: ['b c', 'a b'], bos_token_id: 5 });
    expect(ggufTokenizer({ metadata, path: 'm' }).encode('abc')).toEqual([5, 6]);
    expect(encode(metadataOf({ ...BPE, tokens, merges: ['b c', 'a b'] }), 'abc')).toEqual([0, 7]);
  });

  it.each([...PRE_TOKENIZERS.keys()])('has expressions for pre-tokenizer %s that can be used', (pre) => {
    const metadata = metadataOf({ ...BPE, pre, bos_token_id: 5 });
    expect(encode(metadata, "ab c\n 1234 don't ÀÉ 日本 ...")).toEqual(expect.arrayContaining([4, 3, 2]));
  });
});

describe('a vocabulary is refused', () => {
  const cases: Array<[string, GgufMetadata, string, RegExp]> = [
    ['without a model', new Map(), 'tokenizer-unsupported', /has no tokenizer.ggml.model, expected llama or gpt2/],
    ['of model bert', metadataOf({ ...BPE, model: 'bert' }), 'tokenizer-unsupported', /tokenizer model "bert"/],
    ['of model t5', metadataOf({ ...BPE, model: 't5' }), 'tokenizer-unsupported', /"t5"/],
    [
      'with an unknown pre-tokenizer',
      metadataOf({ ...BPE, pre: 'new' }),
      'tokenizer-unsupported',
      /pre-tokenizer "new" is unknown/,
    ],
    ['without tokens', metadataOf({ model: 'llama' }), 'tokenizer-invalid', /tokens is missing or empty/],
    [
      'with a token twice',
      metadataOf({ ...BPE, tokens: ['a', 'b', 'a'] }),
      'tokenizer-invalid',
      /"a" occurs twice, the second time as 2/,
    ],
    ['with too few scores', spm({ scores: [1, 2] }), 'tokenizer-invalid', /scores has 2 entries, expected 11/],
    ['with a score that is NaN', spm({ scores: Array(11).fill(Number.NaN) }), 'tokenizer-invalid', /scores has NaN/],
    ['without scores', metadataOf({ model: 'llama', tokens: SPM_TOKENS }), 'tokenizer-invalid', /scores is missing/],
    ['with too many types', spm({ token_type: Array(12).fill(1) }), 'tokenizer-invalid', /token_type has 12 entries/],
    ['without merges', metadataOf({ model: 'gpt2', tokens: ['a'] }), 'tokenizer-invalid', /merges is missing/],
    ['with half a merge', metadataOf({ ...BPE, merges: ['ab'] }), 'tokenizer-invalid', /merge "ab"/],
    ['with BOS beyond its end', spm({ bos_token_id: 11 }), 'tokenizer-invalid', /bos_token_id is 11, expected 0 to 10/],
    [
      'with BOS wanted but none',
      metadataOf({ ...BPE, add_bos_token: true }),
      'tokenizer-invalid',
      /there is no bos_token_id/,
    ],
    [
      'with tokens that are numbers',
      metadataOf({ ...BPE, tokens: [1, 2] }),
      'gguf-invalid',
      /array of float32, expected an array of string/,
    ],
  ];
  it.each(cases)('%s', (_name, metadata, code, message) => {
    const error = errorOf(() => ggufTokenizer({ metadata, path: 'model.gguf' }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.message).toContain('model.gguf');
  });
});
