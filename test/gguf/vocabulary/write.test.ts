/** llama.cpp gives every text the token ids that the model's own tokenizer gives, or the export is refused by name. */

import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { convertLlama2c } from '../../../scripts/convert-llama2c.js';
import type { JsonObject } from '../../../src/files/json.js';
import { TOKEN_TYPE } from '../../../src/gguf/format.js';
import { exportModelGguf } from '../../../src/gguf/model.js';
import { GgufFile } from '../../../src/gguf/read.js';
import type { GgufWriteType } from '../../../src/gguf/types.js';
import { ggufVocabulary } from '../../../src/gguf/vocabulary/write.js';
import { writeGguf } from '../../../src/gguf/write.js';
import { loadTokenizer, readTokenizerFiles, type TokenizerFiles } from '../../../src/hf/tokenizer.js';
import { editJson } from '../../e2e/helpers.js';
import { errorOf, temporaryRoot } from '../../helpers/files.js';
import { fixture, hasShared, ROOT, shared } from '../../helpers/fixtures.js';
import { endLlamaCpp, tokenIds } from '../../helpers/llama-cpp.js';

const dir = temporaryRoot();
afterAll(() => rmSync(dir, { recursive: true, force: true }));
endLlamaCpp();

const EDGE = join(ROOT, 'models', 'crayon-edge');

/** Prompts and completions of the repository's own test sets. */
function suiteTexts(perTask: number): string[] {
  const tasks = readdirSync(join(ROOT, 'suite'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return tasks.flatMap(({ name }) => {
    let lines: string[];
    try {
      lines = readFileSync(join(ROOT, 'suite', name, 'test.jsonl'), 'utf8').split('\n');
    } catch {
      return []; // suite/examples holds users, not a task
    }
    return lines.slice(0, perTask).flatMap((line) => {
      const { prompt, completion } = JSON.parse(line) as { prompt: string; completion: string };
      return [prompt, completion];
    });
  });
}

const HARD = [
  ' ',
  '   three before, two after  ',
  'tabs\tand\t\tmore\r\nWindows line\n\n\n  indented\n \n',
  '1 12 123 1234 12345 3.14159 2024-05-06 ½ ² ٣٤ Ⅷ 一二三',
  "don't I'll WE'RE he'D it’s 'quoted' ''''",
  'naïve café Ångström ǅ İstanbul ß straße',
  'emoji 😀😃 👩‍👩‍👧‍👦 🇩🇪 ❤️ 🏳️‍🌈 mixed a😀b',
  '日本語のテキスト。漢字かな交じり 中文，标点！ 한국어 문장 ภาษาไทย हिन्दी العربية עברית Ελληνικά русский',
  'decomposed e\u0301 a\u0308 \u1e9b\u0323 zero\u200bwidth \u00a0nbsp \u2003em \u3000wide',
  '<|notatoken|> [INST] </div> <s <s> </s> <unk> <|im_start|>user\n<|start|>x<|end|>',
  '\u0000\u0001\u007f\ufeff\ufffd\u{10ffff}',
  '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~ ===== ----- ..... !!!???',
  'ĠĊ▁▁ ▁word Ġword <0x41> <0xFF>',
  'x'.repeat(300),
  `${' '.repeat(70)}y${'\n'.repeat(20)}`,
];

/** Text of published novels, in pieces of different lengths. */
function novelTexts(): string[] {
  if (!hasShared) return [];
  const folder = shared('english-novels');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.txt'));
  return files.slice(0, 6).flatMap((name) => {
    const text = readFileSync(join(folder, name), 'utf8');
    return Array.from({ length: 25 }, (_, i) => text.slice(5000 * i, 5000 * i + 40 + 37 * i));
  });
}

describe.each([
  ['models/crayon-edge', EDGE, 12],
  ['llama', fixture('models', 'llama'), 2],
  ['mistral', fixture('models', 'mistral'), 2],
  ['qwen3', fixture('models', 'qwen3'), 2],
] as const)('%s', (_, model, perTask) => {
  it('is tokenised by llama.cpp as by its own tokenizer', async () => {
    const out = join(dir, 'model.gguf');
    exportModelGguf({ model, out, type: 'F16', force: true });
    const tokenizer = loadTokenizer(model);
    // Qwen normalises to NFC, llama.cpp does not: what decomposed characters become is the caller's to say.
    const normalise = (text: string) => (model.includes('qwen') ? text.normalize('NFC') : text);
    const texts = [...HARD, ...suiteTexts(perTask), ...novelTexts()].map(normalise);
    expect(texts.length).toBeGreaterThan(50);
    const found = await tokenIds(out, texts);
    const different = texts.flatMap((text, i) => {
      const expected = tokenizer.encode(text, { addBos: false });
      return expected.join() === found[i]!.join() ? [] : [{ text, expected, found: found[i] }];
    });
    expect(different).toEqual([]);
  });
});

it.skipIf(!hasShared)("a converted SentencePiece model keeps its tokenizer's ids", async () => {
  const model = join(dir, 'stories260k');
  const source = shared('stories260k', 'data');
  convertLlama2c(join(source, 'stories260K.bin'), join(source, 'tok512.bin'), model);
  const out = join(dir, 'stories.gguf');
  exportModelGguf({ model, out, type: 'F32' });
  const tokenizer = loadTokenizer(model);
  const texts = [...HARD, ...suiteTexts(3), ...novelTexts()];
  const found = await tokenIds(out, texts);
  expect(found).toEqual(texts.map((text) => tokenizer.encode(text, { addBos: false })));
});

/** The splitting rules of published tokenizers, as their tokenizer.json has them. */
const split = (Regex: string) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false });
const bytes = (useRegex: boolean) => ({ type: 'ByteLevel', add_prefix_space: false, use_regex: useRegex });
const sequence = (...pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers });
const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" +
  '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const NEMO =
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|' +
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}|' +
  ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const PRE: Array<[pre: string, preTokenizer: object, ignoreMerges: boolean]> = [
  ['gpt-2', bytes(true), false],
  ['smollm', sequence({ type: 'Digits', individual_digits: true }, bytes(true)), false],
  ['qwen2', sequence(split(LLAMA3.replace('{1,3}', '')), bytes(false)), false],
  ['llama-bpe', sequence(split(LLAMA3), bytes(false)), true],
  ['smaug-bpe', sequence(split(LLAMA3), bytes(false)), false],
  ['tekken', sequence(split(NEMO), bytes(false)), true],
];

it.each(PRE)('words split as under the name %s have the same ids in llama.cpp', async (pre, preTokenizer, ignore) => {
  const model = join(dir, `split-${pre}`);
  cpSync(EDGE, model, { recursive: true });
  editJson<{ pre_tokenizer: object; model: object }>(join(model, 'tokenizer.json'), (json) => {
    json.pre_tokenizer = preTokenizer;
    Object.assign(json.model, { ignore_merges: ignore });
  });
  const out = join(dir, `${pre}.gguf`);
  exportModelGguf({ model, out, type: 'Q8_0' });
  const file = GgufFile.open(out);
  file.close();
  expect(file.metadata.get('tokenizer.ggml.pre')?.value).toBe(pre);
  const tokenizer = loadTokenizer(model);
  const texts = [...HARD, ...suiteTexts(2)];
  expect(await tokenIds(out, texts)).toEqual(texts.map((text) => tokenizer.encode(text, { addBos: false })));
});

it('notices another way to split words', async () => {
  const out = join(dir, 'other-pre.gguf');
  exportModelGguf({ model: EDGE, out, type: 'F16', force: true });
  const file = GgufFile.open(out);
  const metadata = new Map(file.metadata).set('tokenizer.ggml.pre', { type: 'string', value: 'default' });
  const tensors = [...file.tensors.values()].map(({ name, shape, type }) => {
    return { name, shape, type: type as GgufWriteType, data: () => file.readF32(name) };
  });
  const spoilt = join(dir, 'spoilt.gguf');
  writeGguf(spoilt, metadata, tensors);
  file.close();
  const [right, wrong] = [await tokenIds(out, HARD), await tokenIds(spoilt, HARD)];
  expect(right).not.toEqual(wrong);
});

describe('metadata', () => {
  const config = { vocabSize: 3072, bosTokenId: 0, endTokenIds: [1] };
  const edge = (): TokenizerFiles => readTokenizerFiles(EDGE);
  const of = (files: TokenizerFiles, overrides: Partial<typeof config> = {}) => {
    return ggufVocabulary(files, { ...config, ...overrides }, 'dir');
  };

  it('names the special tokens, and says whether a text starts with BOS', () => {
    const metadata = of(edge());
    const value = (key: string) => metadata.get(`tokenizer.ggml.${key}`)?.value;
    expect(value('model')).toBe('gpt2');
    expect(value('pre')).toBe('smollm');
    expect([value('bos_token_id'), value('eos_token_id'), value('padding_token_id')]).toEqual([0, 1, 1]);
    expect([value('add_bos_token'), value('add_eos_token')]).toEqual([true, false]);
    expect(metadata.get('tokenizer.chat_template')?.value).toBe(edge().config.chat_template);
    const withoutBos = { ...edge(), tokenizer: { ...edge().tokenizer, post_processor: null } };
    expect(of(withoutBos).get('tokenizer.ggml.add_bos_token')?.value).toBe(false);
    const another = { ...edge(), config: { ...edge().config, bos_token: '</s>' } };
    expect(of(another).get('tokenizer.ggml.add_bos_token')?.value).toBe(false); // <s> is added, but is not BOS
  });

  it('pads up to the rows of the embedding table with unused tokens of their own names', () => {
    const files = edge();
    (files.tokenizer.model as { vocab: Record<string, number> }).vocab['[PAD3073]'] = 3072;
    const metadata = of(files, { vocabSize: 3075 });
    const tokens = metadata.get('tokenizer.ggml.tokens')!.value as string[];
    expect(tokens.slice(3072)).toEqual(['[PAD3073]', '[[PAD3073]]', '[PAD3074]']);
    expect((metadata.get('tokenizer.ggml.token_type')!.value as number[]).slice(3071)).toEqual([1, 1, 5, 5]);
  });

  it('types added tokens: control when special or looking so, else user defined', () => {
    const files = edge();
    const added = files.tokenizer.added_tokens as object[];
    added.push({ id: 3072, content: '<|tool|>', special: false }, { id: 3073, content: 'NEWWORD', special: false });
    const types = of(files, { vocabSize: 3074 }).get('tokenizer.ggml.token_type')!.value as number[];
    expect(types.slice(3072)).toEqual([TOKEN_TYPE.control, TOKEN_TYPE.userDefined]);
    expect(types.slice(0, 3)).toEqual([TOKEN_TYPE.control, TOKEN_TYPE.control, TOKEN_TYPE.normal]);
  });

  it('passes on a second end of the answer that llama.cpp would not guess', () => {
    const key = 'tokenizer.ggml.eot_token_id';
    expect(of(edge()).has(key)).toBe(false);
    expect(of(edge(), { endTokenIds: [1, 40] }).get(key)?.value).toBe(40);
    expect(of(edge(), { endTokenIds: [40, 1] }).get(key)?.value).toBe(40);
    const third = of(edge(), { endTokenIds: [1, 40, 41, 42] });
    expect(['eot', 'eom'].map((name) => third.get(`tokenizer.ggml.${name}_token_id`)?.value)).toEqual([40, 41]);
    const files = edge();
    (files.tokenizer.added_tokens as object[]).push({ id: 3072, content: '<|im_end|>', special: true });
    const known = of(files, { vocabSize: 3073, endTokenIds: [1, 3072, 40] });
    expect(known.get(key)?.value).toBe(40);
    expect(known.has('tokenizer.ggml.eom_token_id')).toBe(false);
  });

  it('refuses a tokenizer whose ids lie beyond the model, or that has no end token', () => {
    expect(errorOf(() => of(edge(), { vocabSize: 3000 }))).toMatchObject({ code: 'tokenizer-invalid' });
    const config = { ...edge().config, eos_token: undefined };
    const error = errorOf(() => of({ ...edge(), config }, { endTokenIds: [] }));
    expect(error).toMatchObject({ code: 'tokenizer-unsupported' });
    expect(error.message).toContain('eos_token');
  });

  const refused: Array<[string, (tokenizer: JsonObject) => void, string]> = [
    ['Unigram', (t) => Object.assign(t.model as object, { type: 'Unigram' }), 'Unigram'],
    ['a suffix of words', (t) => Object.assign(t.model as object, { end_of_word_suffix: '</w>' }), '</w>'],
    ['a normalizer', (t) => Object.assign(t, { normalizer: { type: 'Lowercase' } }), 'Lowercase'],
    ['an unknown split', (t) => Object.assign(t, { pre_tokenizer: { type: 'Whitespace' } }), 'Whitespace'],
    ['no split', (t) => Object.assign(t, { pre_tokenizer: null }), 'nothing'],
    [
      'a known split, but whole words first',
      (t) => Object.assign(t.model as object, { ignore_merges: true }),
      'ignore',
    ],
  ];
  it.each(refused)('refuses %s by name', (_, change, mentioned) => {
    const files = edge();
    change(files.tokenizer);
    const error = errorOf(() => of(files));
    expect(error).toMatchObject({ code: 'tokenizer-unsupported' });
    expect(error.message).toContain(mentioned);
  });

  it('refuses byte fallback whose merges no scores can express', () => {
    const mistral = (): TokenizerFiles => readTokenizerFiles(fixture('models', 'mistral'));
    const model = (files: TokenizerFiles) => {
      return files.tokenizer.model as { vocab: Record<string, number>; merges: string[][] };
    };
    const small = { vocabSize: 288, bosTokenId: 1, endTokenIds: [2] };
    expect(() => of(mistral(), small)).not.toThrow();
    const half = mistral();
    model(half).vocab.th = 288; // "the" = "th" + "e" is no merge
    expect(errorOf(() => of(half, { ...small, vocabSize: 289 })).message).toContain('"the" is not merged from');
    const apart = mistral();
    model(apart).merges.push(['h', 'e']);
    expect(errorOf(() => of(apart, small))).toMatchObject({ code: 'tokenizer-unsupported' });
  });
});
