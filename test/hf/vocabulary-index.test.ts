// npx vitest run test/hf/vocabulary-index.test.ts
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/random.js';
import { loadTokenizer, readTokenizerFiles } from '../../src/hf/tokenizer.js';
import { openVocabularyIndex, type VocabularyIndex, writeVocabularyIndex } from '../../src/hf/vocabulary-index.js';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../../src/safetensors/write.js';

const temporary = mkdtempSync(join(tmpdir(), 'crayon-vocabulary-'));
afterAll(() => rmSync(temporary, { recursive: true }));

const FIXTURES = ['byte-level', 'byte-fallback', 'chatml'].map((name) => join('test/fixtures/tokenizer', name));
const DIRECTORIES = [...FIXTURES, 'models/crayon-edge'];
const path = join(temporary, 'vocabulary.safetensors');
const jsonOf = (dir: string) => readTokenizerFiles(dir).tokenizer;
const indexOf = (dir: string): VocabularyIndex => {
  writeVocabularyIndex(path, jsonOf(dir), 'digest', 1);
  return openVocabularyIndex(path, 'digest')!;
};

/** Text of every kind: words of the vocabulary, of other scripts, spaces, names of special tokens, characters beyond 16 bits. */
function texts(words: string[]): string[] {
  const random = createRandom(4, 'texts');
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.uniform() * list.length)]!;
  const kinds = [
    () => pick(words),
    () => pick([' ', '  ', '\n', '\r\n', '\t', '\u00a0']),
    () => String.fromCodePoint(33 + Math.floor(random.uniform() * 94)),
    () => String.fromCodePoint(0xc0 + Math.floor(random.uniform() * 0x2000)),
    () => pick(['日本語', '🙂', 'e\u0301', 'İ', '\u0000', '<|im_end|>', '<s>', '</s>', '<0x41>', '1984', "we'll"]),
  ];
  return Array.from({ length: 300 }, () => Array.from({ length: 30 }, () => pick(kinds)()).join(''));
}

describe('a tokenizer that looks its vocabulary up', () => {
  it.each(DIRECTORIES)('has the ids of the one that builds it: %s', (dir) => {
    const whole = loadTokenizer(dir, [5]);
    const quick = loadTokenizer(dir, [5], indexOf(dir));
    const { vocab } = jsonOf(dir).model as { vocab: Record<string, number> };
    for (const text of ['', ...texts(Object.keys(vocab))]) {
      expect(quick.encode(text)).toEqual(whole.encode(text));
      expect(quick.encodeText(text)).toEqual(whole.encodeText(text));
    }
    const { vocabSize, bosId, eosId, addsBos, endIds, chatTemplate } = whole;
    expect(quick).toMatchObject({ vocabSize, bosId, eosId, addsBos, endIds, chatTemplate });
    const ids = whole.encode('Once upon a time <|im_end|>');
    expect(quick.decode(ids)).toBe(whole.decode(ids));
    expect(quick.decode(ids, { keepSpecial: true })).toBe(whole.decode(ids, { keepSpecial: true }));
  });

  it.each(FIXTURES)('gives the ids that transformers gives: %s', (dir) => {
    const { cases } = JSON.parse(readFileSync(join(dir, 'golden.json'), 'utf8')) as {
      cases: Array<{ text: string; ids: number[] }>;
    };
    const quick = loadTokenizer(dir, [], indexOf(dir));
    for (const { text, ids } of cases) expect(quick.encode(text, { addBos: false })).toEqual(ids);
  });

  it('renders conversations', () => {
    const dir = 'test/fixtures/tokenizer/chatml';
    const messages = [{ role: 'user' as const, content: 'Say <|im_end|> twice' }];
    const whole = loadTokenizer(dir).chat!.encode(messages);
    expect(loadTokenizer(dir, [], indexOf(dir)).chat!.encode(messages)).toEqual(whole);
  });
});

describe('an index', () => {
  const dir = FIXTURES[0]!;

  it('counts the last of two equal merges, as a map does', () => {
    const json = jsonOf(dir);
    const model = json.model as { merges: unknown[] };
    const merges = [...model.merges, model.merges[0]];
    writeVocabularyIndex(path, { ...json, model: { ...model, merges } }, 'digest', 1);
    const [left, right] = [model.merges[0]].flat().join(' ').split(' ');
    expect(openVocabularyIndex(path, 'digest')!.rankOf(left!, right!)).toBe(merges.length - 1);
  });

  it('is not written of a small vocabulary, of none of byte pairs, or of merges of what are no tokens', () => {
    const other = join(temporary, 'other.safetensors');
    const json = jsonOf(dir);
    const model = json.model as Record<string, unknown>;
    expect(writeVocabularyIndex(other, json, 'digest')).toBe(false);
    expect(writeVocabularyIndex(other, { ...json, model: { ...model, type: 'WordPiece' } }, 'digest', 1)).toBe(false);
    const merges = [['no', 'tokens at all']];
    expect(writeVocabularyIndex(other, { ...json, model: { ...model, merges } }, 'digest', 1)).toBe(false);
    expect(existsSync(other)).toBe(false);
  });

  it('is that of one tokenizer', () => {
    indexOf(dir);
    expect(openVocabularyIndex(path, 'another digest')).toBeNull();
  });

  it.each<[string, (tensors: Record<string, Int32Array>, metadata: Record<string, string>) => void]>([
    ['tokens beyond the text', ({ ends }) => ends!.fill(1e9, 5)],
    ['tokens that end before they begin', ({ ends }) => ends!.fill(0, 5)],
    ['ids below zero', ({ ids }) => ids!.fill(-1)],
    ['ids that no vocabulary has', ({ ids }) => ids!.fill(2 ** 30)],
    ['a skeleton that is no JSON', (_, metadata) => Object.assign(metadata, { skeleton: '{"model":' })],
    ['a skeleton that is no object', (_, metadata) => Object.assign(metadata, { skeleton: '[]' })],
    ['another version', (_, metadata) => Object.assign(metadata, { format: 'crayon-vocabulary-9' })],
  ])('with %s is not used', (_, spoil) => {
    indexOf(dir);
    const file = SafetensorsFile.open(path);
    const metadata = { ...file.metadata };
    const tables: Record<string, Int32Array> = {};
    const text = file.readBytes('text');
    for (const [name, { dtype }] of file.tensors) {
      if (dtype === 'I32') tables[name] = new Int32Array(file.readBytes(name).buffer);
    }
    file.close();
    spoil(tables, metadata);
    const broken = join(temporary, 'broken.safetensors');
    const tensors: TensorToWrite[] = Object.entries(tables).map(([name, data]) => {
      return { name, dtype: 'I32', shape: [data.length], data };
    });
    writeSafetensors(broken, [{ name: 'text', dtype: 'U8', shape: [text.length], data: text }, ...tensors], metadata);
    expect(openVocabularyIndex(broken, 'digest')).toBeNull();
  });
});
