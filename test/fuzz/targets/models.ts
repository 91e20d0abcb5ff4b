/** Base models: directories and GGUF files, their configurations, tokenizers and chat templates, a forward pass. */

import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { openBase } from '../../../src/gguf/base.js';
import { exportModelGguf } from '../../../src/gguf/model.js';
import type { BaseModel } from '../../../src/hf/base-model.js';
import { HfModel } from '../../../src/hf/model.js';
import { loadTokenizer, type Tokenizer } from '../../../src/hf/tokenizer.js';
import { chooseBackend } from '../../../src/model/backend.js';
import { LlamaModel } from '../../../src/model/llama.js';
import { fixture } from '../../helpers/fixtures.js';
import { Finding, type Target } from '../target.js';
import { CODE_MS, FAMILIES, files, filesOf, ggufModels, model } from './seeds.js';

const TEXTS = [
  'Once upon a time',
  ' a  b\n\tc ',
  'é 日本 👩‍👩‍👧',
  '<s></s><|im_start|>',
  'x'.repeat(300),
  '1234567890 12',
  "don't I'LL",
  '',
];
const CHAT = [
  { role: 'user', content: 'Hello <s>' },
  { role: 'assistant', content: 'Hi' },
  { role: 'user', content: 'Bye\n' },
];

/** Uses a tokenizer as commands do: what comes out must be ids and text. */
function useTokenizer(tokenizer: Tokenizer): string {
  for (const text of TEXTS) {
    for (const ids of [tokenizer.encode(text, { addBos: false }), tokenizer.encodeText(text)]) {
      const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= tokenizer.vocabSize);
      if (bad !== undefined)
        throw new Finding('different', `token id ${bad} of a vocabulary of ${tokenizer.vocabSize}`);
      if (typeof tokenizer.decode(ids) !== 'string' || typeof tokenizer.decode(ids, { keepSpecial: true }) !== 'string')
        throw new Finding('different', 'decoded to no text');
    }
  }
  if (tokenizer.addsBos) tokenizer.encode('a');
  const rendered = tokenizer.renderChat?.(CHAT);
  if (rendered !== undefined && typeof rendered !== 'string') throw new Finding('different', 'rendered to no text');
  tokenizer.chat?.encode(CHAT);
  tokenizer.chat?.encodeAnswer(CHAT.slice(0, 1), 'An answer', { endIds: tokenizer.endIds, isTraining: true });
  return `${tokenizer.chat === null ? 'plain' : 'chat'}${tokenizer.addsBos ? ' bos' : ''}`;
}

/** Everything that is read of a base, its tokenizer last. */
function useBase(base: BaseModel): string {
  try {
    base.digest();
    for (const name of base.tensorNames()) base.readF32(name);
    base.readRowsF32('model.embed_tokens.weight', [0, 1]);
    const ends = base.endTokenIds;
    if (ends.some((id) => !Number.isSafeInteger(id) || id < 0)) throw new Finding('different', `end tokens ${ends}`);
    return `${base.config.modelType} ${useTokenizer(base.tokenizer())}`;
  } finally {
    base.close();
  }
}

const small = (name: string) => !/golden|README/.test(name);

export const hfModel: Target = {
  name: 'model',
  longestMs: CODE_MS,
  reads: 'a Hugging Face directory: config.json, generation_config.json, index, weights, tokenizer, chat template',
  weight: 2,
  seeds: () =>
    FAMILIES.map(
      (name) =>
        new Map([
          ...model(name, small),
          ['generation_config.json', Buffer.from('{"eos_token_id":[2],"bos_token_id":1}')],
        ]),
    ),
  changes: /\.json$|jinja$|00001/,
  run: (dir) => useBase(HfModel.open(dir)),
};

export const weights: Target = {
  name: 'model-weights',
  longestMs: CODE_MS,
  reads: "the same, of mutants of the weights' file",
  seeds: () => ['olmo2', 'phi3', 'llama'].map((name) => model(name, small)),
  changes: /safetensors$/,
  run: (dir) => useBase(HfModel.open(dir)),
};

export const tokenizer: Target = {
  name: 'tokenizer',
  longestMs: CODE_MS,
  reads: 'tokenizer.json, tokenizer_config.json and their kin: texts and conversations to tokens and back',
  weight: 2,
  seeds: () => [
    ...['llama', 'gemma3', 'qwen2', 'phi3', 'mistral'].map((name) => model(name, (file) => /token|jinja/.test(file))),
    ...['byte-fallback', 'byte-level', 'chatml'].map((name) => filesOf(fixture('tokenizer', name))),
    files({
      'tokenizer.json': JSON.stringify({
        added_tokens: [],
        normalizer: null,
        post_processor: null,
        model: {
          type: 'Unigram',
          unk_id: 0,
          vocab: [
            ['<unk>', 0],
            ['▁', -1],
            ['a', -2],
            ['b', -2.5],
            ['▁a', -1.5],
          ],
        },
        pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
        decoder: { type: 'Metaspace', replacement: '▁' },
      }),
      'tokenizer_config.json': '{"unk_token":"<unk>"}',
    }),
    files({
      'tokenizer.json': JSON.stringify({
        added_tokens: [],
        post_processor: null,
        model: {
          type: 'WordPiece',
          unk_token: '[UNK]',
          continuing_subword_prefix: '##',
          vocab: { '[UNK]': 0, a: 1, '##b': 2, x: 3 },
        },
        normalizer: { type: 'BertNormalizer', lowercase: true },
        pre_tokenizer: { type: 'BertPreTokenizer' },
        decoder: { type: 'WordPiece', prefix: '##' },
      }),
      'special_tokens_map.json': '{"unk_token":{"content":"[UNK]"}}',
    }),
  ],
  words: TOKENIZER_WORDS(),
  run: (dir) => useTokenizer(loadTokenizer(dir)),
};

function TOKENIZER_WORDS(): string[] {
  return [
    ...[
      'BPE',
      'Unigram',
      'WordPiece',
      'WordLevel',
      'ByteLevel',
      'Metaspace',
      'Split',
      'Digits',
      'Punctuation',
      'Whitespace',
      'WhitespaceSplit',
    ],
    ...[
      'Sequence',
      'Replace',
      'Prepend',
      'Strip',
      'NFC',
      'NFKC',
      'Lowercase',
      'StripAccents',
      'Precompiled',
      'ByteFallback',
      'Fuse',
      'CTC',
    ],
    ...[
      'TemplateProcessing',
      'RobertaProcessing',
      'BertProcessing',
      'Removed',
      'Isolated',
      'MergedWithPrevious',
      'pattern',
      'Regex',
      'String',
    ],
    ...[
      'add_prefix_space',
      'trim_offsets',
      'use_regex',
      'ignore_merges',
      'byte_fallback',
      'fuse_unk',
      'dropout',
      'truncation',
      'padding',
    ],
  ];
}

export const chatTemplate: Target = {
  name: 'chat-template',
  longestMs: CODE_MS,
  reads: 'chat_template.jinja over conversations',
  seeds: () => {
    const base = filesOf(fixture('tokenizer', 'byte-level'), (name) => !name.includes('jinja'));
    return [...filesOf(fixture('chat-templates'), (name) => name.endsWith('.jinja')).values()].map(
      (source) => new Map([...base, ['chat_template.jinja', source]]),
    );
  },
  changes: /jinja$/,
  run: (dir) => useTokenizer(loadTokenizer(dir)),
};

export const ggufModel: Target = {
  name: 'gguf-model',
  longestMs: CODE_MS,
  reads: 'a GGUF file as a base model: configuration, names, rows in order, vocabulary, chat template',
  weight: 2,
  seeds: (scratch) =>
    ggufModels(scratch, ['llama', 'gemma3', 'qwen2', 'phi3', 'granite', 'smollm3', 'mistral', 'llama-rope3']),
  run: (dir) => useBase(openBase(join(dir, 'model.gguf'))),
};

export const ggufExport: Target = {
  name: 'model-export',
  longestMs: CODE_MS,
  reads: 'a model of either kind, written as GGUF and read again',
  writes: true,
  weight: 0.5,
  seeds: (scratch) => [
    ...['llama', 'qwen2', 'mistral'].map((name) => model(name, small)),
    ...ggufModels(scratch, ['llama', 'phi3']),
  ],
  changes: /\.json$|jinja$|gguf$/,
  run(dir, given) {
    const out = join(dir, 'out.gguf');
    const from = given.has('model.gguf') ? join(dir, 'model.gguf') : dir;
    useBase(openBase(from));
    exportModelGguf({ model: from, out, type: 'Q8_0', allowRequantize: true });
    try {
      return useBase(openBase(out));
    } catch (error) {
      throw new Finding('different', `what was written is not read: ${error}`, { cause: error });
    }
  },
};

export const forward: Target = {
  name: 'forward',
  reads: 'a small model, and tokens through it: logits are numbers',
  weight: 0.3,
  seeds: (scratch) => [
    ...['llama', 'gemma3', 'phi3', 'granite', 'smollm3'].map((name) => model(name, small)),
    ...ggufModels(scratch, ['llama', 'gemma3']),
  ],
  changes: /config\.json$|gguf$|safetensors$/,
  async open() {
    await chooseBackend('wasm');
    return async () => {};
  },
  run(dir, given) {
    const base = openBase(given.has('model.gguf') ? join(dir, 'model.gguf') : dir);
    try {
      return tf.tidy(() => {
        const llama = new LlamaModel(base);
        const ids = tf.tensor2d([[1, 2, 3, 0]], [1, 4], 'int32');
        const logits = llama.logits(llama.forward(ids as tf.Tensor2D) as tf.Tensor2D);
        const numbers = logits.dataSync();
        llama.dispose();
        return numbers.every(Number.isFinite) ? base.config.modelType : 'not finite';
      });
    } finally {
      base.close();
    }
  },
};
