/** Random texts from awkward pieces: the same ids as llama.cpp itself gives, on real vocabularies. */

import type { Llama } from 'node-llama-cpp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { GgufFile } from '../../../src/gguf/read.js';
import { ggufTokenizer } from '../../../src/gguf/vocabulary/tokenizer.js';
import { hasShared, shared } from '../../helpers/fixtures.js';

const TEXTS = 400;
const PIECES = [
  ...['Hello', ' world', "don't", "I'LL", 'aaaaaaaaaaaaaaaaaaaaaaaa', 'x=1;', '{"a": 1}', '123', '4567', '...', '!!'],
  ...[' ', '  ', '\n', '\t', '\r\n', ' \n \n', '\u00a0', '\u2028', '\u0000', 'a\u0000b', '\ufeff', '\u200d', '\ud83d'],
  ...[
    'é',
    'ñ',
    '\u0301',
    'Ω',
    'ß',
    'İ',
    'ÀÉ',
    'ﷺ',
    '日本語',
    'क्षि',
    'ก็',
    '🦙',
    '👩‍👩‍👧',
    '１２３',
    '٣',
    'Ⅷ',
    '²',
    '—',
    '“q”',
  ],
  ...['$', '+', '^', '_', '▁', '▁▁a', '<0x0A>', '<s>', '</s>', '<unk>', '<|end|>', ' <|end|> ', '<|endoftext|>'],
  ...['<|assistant|>', 'fim_prefix', '<fim_prefix>', '<file_sep>'],
];

const llamaCpp = await import('node-llama-cpp').catch(() => null);

describe.skipIf(!hasShared || llamaCpp === null)('beside llama.cpp (needs ../shared and node-llama-cpp)', () => {
  let llama: Llama;

  beforeAll(async () => {
    const { getLlama, LlamaLogLevel } = llamaCpp!;
    llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: LlamaLogLevel.disabled });
  });
  afterAll(() => llama.dispose());

  it.each(['gpt-2', 'llama-spm', 'phi-3', 'starcoder'])('%s', async (name) => {
    const path = shared('llama.cpp-vocab', 'models', `ggml-vocab-${name}.gguf`);
    const theirs = await llama.loadModel({ modelPath: path, vocabOnly: true });
    const file = GgufFile.open(path);
    file.close();
    const ours = ggufTokenizer(file);
    const random = createRandom(7, `tokenizer ${name}`);
    for (let i = 0; i < TEXTS; i++) {
      const text = Array.from({ length: 1 + random.int(12) }, () => PIECES[random.int(PIECES.length)]).join('');
      expect(ours.encode(text, { addBos: false }), JSON.stringify(text)).toEqual([...theirs.tokenize(text, true)]);
    }
    await theirs.dispose();
  });
});
