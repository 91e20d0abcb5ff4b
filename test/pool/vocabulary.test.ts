// npx vitest run test/pool/vocabulary.test.ts
import { appendFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256File } from '../../src/files/digest.js';
import type { BaseModel } from '../../src/hf/base-model.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import type { VocabularyIndex } from '../../src/hf/vocabulary-index.js';
import { keepVocabulary, POOL_VOCABULARY, poolTokenizer } from '../../src/pool/vocabulary.js';

const dir = mkdtempSync(join(tmpdir(), 'crayon-vocabulary-'));
const tokenizerPath = join(dir, 'tokenizer.json');
afterAll(() => rmSync(dir, { recursive: true }));

/** As a base model is asked; `given` has the index of each tokenizer that was opened. */
const given: Array<VocabularyIndex | undefined> = [];
const model = (format: 'hf' | 'gguf' = 'hf') =>
  ({
    format,
    path: dir,
    tokenizerDigest: () => sha256File(tokenizerPath),
    tokenizer: (index?: VocabularyIndex) => {
      given.push(index);
      return loadTokenizer(dir, [], index);
    },
  }) as BaseModel;

describe('the vocabulary of a pool’s base model', () => {
  // all pairs of 180 letters: 32,580 tokens
  beforeAll(() => {
    const letters = Array.from({ length: 180 }, (_, i) => String.fromCodePoint(0x61 + i * 3));
    const pairs = letters.flatMap((left) => letters.map((right) => [left, right] as const));
    const tokens = [...letters, ...pairs.map((pair) => pair.join(''))];
    const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
    const steps = { normalizer: null, pre_tokenizer: { type: 'Whitespace' }, post_processor: null, decoder: null };
    const json = { version: '1.0', added_tokens: [], ...steps, model: { type: 'BPE', vocab, merges: pairs } };
    writeFileSync(tokenizerPath, JSON.stringify(json));
  });

  it('is kept of a directory, and used while the digest is the same', () => {
    keepVocabulary(dir, model('gguf'), 'digest');
    expect(existsSync(join(dir, POOL_VOCABULARY))).toBe(false);
    expect(poolTokenizer({ dir }, model()).encode('adg')).toEqual([181, 2]);
    expect(given.pop()).toBeUndefined();

    keepVocabulary(dir, model(), model().tokenizerDigest());
    expect(poolTokenizer({ dir }, model()).encode('adg adg')).toEqual([181, 2, 181, 2]);
    expect(given.pop()?.size).toBe(180 + 180 * 180);
    poolTokenizer({ dir }, model('gguf'));
    expect(given.pop()).toBeUndefined();

    appendFileSync(tokenizerPath, ' ');
    expect(poolTokenizer({ dir }, model()).encode('adg')).toEqual([181, 2]);
    expect(given.pop()).toBeUndefined();
  });
});
