/** A real checkpoint of llama2.c, converted: the tokenizer against llama2.c's own way of encoding. */

import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { convertLlama2c, type Piece, readPieces } from '../../scripts/convert-llama2c.js';
import { createRandom } from '../../src/core/random.js';
import { HfModel } from '../../src/hf/model.js';
import { loadTokenizer, type Tokenizer } from '../../src/hf/tokenizer.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { hasShared, shared } from '../helpers/fixtures.js';

const checkpoint = shared('stories260k', 'data', 'stories260K.bin');
const pieces = shared('stories260k', 'data', 'tok512.bin');

/** `encode` of llama2.c's run.c: a leading space, characters or bytes, then the best-scored pair merged until none is left. */
function encodeLlama2c(vocabulary: Piece[], text: string): number[] {
  const idOf = new Map(vocabulary.map(({ text: piece }, id) => [piece, id]));
  const ids: number[] = [];
  if (text !== '') ids.push(idOf.get(' ')!);
  for (const character of text) {
    const id = idOf.get(character);
    if (id !== undefined) ids.push(id);
    else for (const byte of Buffer.from(character)) ids.push(byte + 3);
  }
  while (true) {
    let best = { score: Number.NEGATIVE_INFINITY, id: -1, at: -1 };
    for (let i = 0; i + 1 < ids.length; i++) {
      const id = idOf.get(vocabulary[ids[i]!]!.text + vocabulary[ids[i + 1]!]!.text);
      if (id !== undefined && vocabulary[id]!.score > best.score) best = { score: vocabulary[id]!.score, id, at: i };
    }
    if (best.at === -1) return ids;
    ids.splice(best.at, 2, best.id);
  }
}

/** 200 texts (without '▁', which is the space itself to SentencePiece, but not to llama2.c): made of the story's words in any order, and of awkward characters. */
function texts(): string[] {
  const random = createRandom(1, 'texts');
  const words = readFileSync(shared('stories260k', 'greedy.txt'), 'utf8').split(/\s+/);
  const odd = ['', '  ', '\n', '\t', 'é', '你好', '🙂', '1234', '"', "n't", 'aaaa', 'zzz', '...', 'THE', '<0x41>'];
  return Array.from({ length: 200 }, (_, i) => {
    const length = 1 + random.int(12);
    const pick = () =>
      i % 2 === 1 && random.int(4) === 0 ? odd[random.int(odd.length)]! : words[random.int(words.length)]!;
    return Array.from({ length }, pick).join(i % 5 === 4 ? '' : ' ');
  });
}

describe.skipIf(!hasShared)('stories260K (needs ../shared)', () => {
  let dir: string;
  let tokenizer: Tokenizer;

  beforeAll(() => {
    const parent = mkdtempSync(join(tmpdir(), 'crayon-test-'));
    dir = join(parent, 'stories260k');
    convertLlama2c(checkpoint, pieces, dir);
    tokenizer = loadTokenizer(dir);
    return () => rmSync(parent, { recursive: true, force: true });
  });

  it('becomes a Llama of 260,032 weights', () => {
    const model = HfModel.open(dir);
    expect(model.config).toMatchObject({
      hiddenSize: 64,
      numLayers: 5,
      numHeads: 8,
      numKvHeads: 4,
      vocabSize: 512,
      tieWordEmbeddings: true,
    });
    const count = model.tensorNames().reduce((sum, name) => sum + model.readF32(name).length, 0);
    expect(count).toBe(260_032);
    model.close();
  });

  it('has its rotary pairs moved to the halves of each head', () => {
    const bytes = readFileSync(checkpoint);
    const [C, , L, , , V] = new Int32Array(bytes.buffer, bytes.byteOffset, 7);
    const start = 28 + 4 * (V! * C! + L! * C!); // q_proj of layer 0 follows the embeddings and the first norms
    const row = (i: number) =>
      new Float32Array(
        bytes.buffer.slice(bytes.byteOffset + start + 4 * i * C!, bytes.byteOffset + start + 4 * (i + 1) * C!),
      );
    const model = HfModel.open(dir);
    const q = model.readF32('model.layers.0.self_attn.q_proj.weight');
    model.close();
    const converted = (i: number) => q.slice(i * C!, (i + 1) * C!);
    for (const [i, original] of [0, 2, 4, 6, 1, 3, 5, 7].entries()) expect(converted(i)).toEqual(row(original)); // head size 8
    expect(converted(9)).toEqual(row(10)); // the second head
  });

  it('encodes 200 texts as llama2.c does', () => {
    const vocabulary = readPieces(pieces);
    const differing = texts().filter((text) => {
      const expected = encodeLlama2c(vocabulary, text);
      return JSON.stringify(tokenizer.encode(text, { addBos: false })) !== JSON.stringify(expected);
    });
    expect(differing).toEqual([]);
    expect(tokenizer.encode('Once upon a time')).toEqual([1, ...encodeLlama2c(vocabulary, 'Once upon a time')]);
  });

  it('decodes what it encodes', () => {
    const story = readFileSync(shared('stories260k', 'greedy.txt'), 'utf8');
    expect(tokenizer.decode(tokenizer.encode(story))).toBe(story);
    expect(tokenizer.decode(tokenizer.encode('你好 🙂'))).toBe('你好 🙂');
  });

  it('is refused when the checkpoint is cut, no checkpoint, or of another vocabulary', () => {
    const work = temporaryDir();
    const cut = join(work, 'cut.bin');
    copyFileSync(checkpoint, cut);
    truncateSync(cut, 1_000_000);
    expect(errorOf(() => convertLlama2c(cut, pieces, join(work, 'out'))).code).toBe('model-invalid');
    expect(errorOf(() => convertLlama2c(pieces, pieces, join(work, 'out'))).code).toBe('model-invalid');
    truncateSync(cut, 10);
    expect(errorOf(() => convertLlama2c(cut, pieces, join(work, 'out'))).code).toBe('model-invalid');
    const fewer = join(work, 'fewer.bin');
    copyFileSync(pieces, fewer);
    truncateSync(fewer, 100);
    expect(errorOf(() => convertLlama2c(checkpoint, fewer, join(work, 'out'))).code).toBe('model-invalid');
  });
});
