import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ChatMessage } from '../../src/core/chat.js';
import { LIMITS } from '../../src/core/limits.js';
import type { JsonObject } from '../../src/files/json.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { hasKnownExpressions } from '../../src/hf/word-expressions.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture, fixtureJson, hasShared, shared } from '../helpers/fixtures.js';

interface Golden {
  vocabSize: number;
  cases: Array<{ text: string; ids: number[]; idsWithSpecial: number[]; decoded: string; decodedSkipSpecial: string }>;
  chats: Array<{ messages: ChatMessage[]; addGenerationPrompt: boolean; text?: string; error?: string }>;
}

const NAMES = ['byte-level', 'chatml', 'byte-fallback'];

describe.each(NAMES)('%s', (name) => {
  const golden = fixtureJson<Golden>('tokenizer', name, 'golden.json');
  const tokenizer = loadTokenizer(fixture('tokenizer', name));

  it('encodes as transformers does', () => {
    for (const { text, ids, idsWithSpecial } of golden.cases) {
      expect(tokenizer.encode(text, { addBos: false }), JSON.stringify(text)).toEqual(ids);
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(idsWithSpecial);
    }
  });

  it('decodes as transformers does', () => {
    for (const { ids, decoded, decodedSkipSpecial } of golden.cases) {
      expect(tokenizer.decode(ids, { keepSpecial: true })).toBe(decoded);
      expect(tokenizer.decode(Int32Array.from(ids))).toBe(decodedSkipSpecial);
    }
  });

  it('renders chats as transformers does', () => {
    for (const { messages, addGenerationPrompt, text, error } of golden.chats) {
      const render = () => tokenizer.renderChat!(messages, { addGenerationPrompt });
      if (error === undefined) expect(render()).toBe(text);
      else expect(errorOf(render).message).toContain(error);
    }
  });

  it('knows its size', () => {
    expect(tokenizer.vocabSize).toBe(golden.vocabSize);
  });
});

describe('special tokens', () => {
  it('come from tokenizer_config.json, and BOS is added where the tokenizer adds it', () => {
    expect(loadTokenizer(fixture('tokenizer', 'byte-level'))).toMatchObject({ bosId: 1, eosId: 2, addsBos: true });
    expect(loadTokenizer(fixture('tokenizer', 'chatml'))).toMatchObject({ bosId: null, eosId: 2, addsBos: false });
  });

  it('can be asked for, or left out', () => {
    const tokenizer = loadTokenizer(fixture('tokenizer', 'byte-level'));
    expect(tokenizer.encode('a', { addBos: true })[0]).toBe(1);
    expect(tokenizer.encode('', { addBos: true })).toEqual([1]);
    expect(tokenizer.encode('a', { addBos: false })[0]).not.toBe(1);
    const without = loadTokenizer(fixture('tokenizer', 'chatml'));
    expect(errorOf(() => without.encode('a', { addBos: true })).code).toBe('tokenizer-unsupported');
  });

  it('come from special_tokens_map.json too', () => {
    const dir = temporaryDir();
    cpSync(fixture('tokenizer', 'byte-level', 'tokenizer.json'), join(dir, 'tokenizer.json'));
    writeFileSync(join(dir, 'special_tokens_map.json'), '{"bos_token": {"content": "<s>"}, "eos_token": "</s>"}');
    expect(loadTokenizer(dir)).toMatchObject({ bosId: 1, eosId: 2, addsBos: true, renderChat: null });
  });
});

describe('a tokenizer is refused', () => {
  const copy = (change: (json: Record<string, unknown>) => unknown): string => {
    const dir = temporaryDir();
    cpSync(fixture('tokenizer', 'byte-level'), dir, { recursive: true });
    const path = join(dir, 'tokenizer.json');
    writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')))));
    return dir;
  };

  it.each<[string, (json: Record<string, unknown>) => unknown]>([
    ['without a model', ({ model: _, ...rest }) => rest],
    ['with a model that is none', (json) => ({ ...json, model: 7 })],
    ['with an id that is no number', (json) => ({ ...json, model: { ...(json.model as object), vocab: { a: 'x' } } })],
    ['with a huge id', (json) => ({ ...json, model: { ...(json.model as object), vocab: { a: 0, b: 4e9 } } })],
    ['with a huge id of an added token', (json) => ({ ...json, added_tokens: [{ id: 4e9, content: '<x>' }] })],
    ['with an added token that is no text', (json) => ({ ...json, added_tokens: [{ id: 0, content: ['<x>'] }] })],
    ['with an added token that is a text alone', (json) => ({ ...json, added_tokens: ['<x>'] })],
    ['with a vocabulary that is a text', (json) => ({ ...json, model: { ...(json.model as object), vocab: 'abc' } })],
    [
      'with a piece that is no text',
      (json) => ({ ...json, model: { type: 'Unigram', unk_id: 0, vocab: [[['a'], 0]] } }),
    ],
    ['with a score that is none', (json) => ({ ...json, model: { type: 'Unigram', unk_id: 0, vocab: [['a', null]] } })],
    [
      'with an unknown piece beyond the others',
      (json) => ({ ...json, model: { type: 'Unigram', unk_id: 1, vocab: [['a', 0]] } }),
    ],
    ['with a step that is not known', (json) => ({ ...json, normalizer: { type: 'Magic' } })],
  ])('%s', (_name, change) => {
    const error = errorOf(() => loadTokenizer(copy(change)));
    expect(error.code).toBe('tokenizer-invalid');
    expect(error.message).toContain('tokenizer.json');
  });

  it('of a model that is not known', () => {
    const error = errorOf(() =>
      loadTokenizer(copy((json) => ({ ...json, model: { type: 'WordLevel', vocab: { a: 0 } } }))),
    );
    expect(error.code).toBe('tokenizer-unsupported');
    expect(error.message).toContain('"WordLevel", expected BPE');
  });

  it('whose special token is not in the vocabulary', () => {
    const dir = copy((json) => json);
    writeFileSync(join(dir, 'tokenizer_config.json'), '{"bos_token": "<begin>"}');
    const error = errorOf(() => loadTokenizer(dir));
    expect(error.code).toBe('tokenizer-invalid');
    expect(error.message).toContain('<begin>');
  });

  it('when there is none, or only one of another kind', () => {
    const dir = temporaryDir();
    expect(errorOf(() => loadTokenizer(dir)).code).toBe('file-not-found');
    writeFileSync(join(dir, 'tokenizer.model'), '');
    const error = errorOf(() => loadTokenizer(dir));
    expect(error.code).toBe('tokenizer-unsupported');
    expect(error.message).toContain('tokenizer.model');
  });

  it('when its chat template is broken, at the first chat', () => {
    const dir = copy((json) => json);
    rmSync(join(dir, 'chat_template.jinja'));
    writeFileSync(join(dir, 'chat_template.jinja'), '{% for %}');
    const tokenizer = loadTokenizer(dir);
    expect(errorOf(() => tokenizer.renderChat!([{ role: 'user', content: 'a' }])).code).toBe('tokenizer-unsupported');
  });
});

describe('what has no token', () => {
  const small = (model: object): string => {
    const dir = temporaryDir();
    const parts = {
      added_tokens: [],
      normalizer: null,
      post_processor: null,
      pre_tokenizer: { type: 'BertPreTokenizer' },
    };
    writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify({ ...parts, decoder: { type: 'WordPiece' }, model }));
    return dir;
  };
  const vocab = { a: 0, '##b': 1, '[UNK]': 4 };
  const model = { type: 'WordPiece', continuing_subword_prefix: '##', vocab };

  it('becomes the unknown token where there is one, and is refused where there is none: never token 0', () => {
    expect(loadTokenizer(small({ ...model, unk_token: '[UNK]' })).encode('ab c')).toEqual([0, 1, 4]);
    const error = errorOf(() => loadTokenizer(small(model)).encode('ab c'));
    expect(error).toMatchObject({ code: 'example-invalid', hint: expect.stringMatching(/Leave that text out/) });
    expect(error.message).toContain('no token for');
  });

  it('is no text of an id either: rows of an embedding table beyond the vocabulary, or between its tokens', () => {
    const tokenizer = loadTokenizer(small({ ...model, unk_token: '[UNK]' }));
    expect(tokenizer.decode([0, 2, 1, 5, 70_000])).toBe(tokenizer.decode([0, 1]));
    expect(tokenizer.decode([2, 5])).toBe('');
  });
});

describe('regular expressions of a tokenizer.json', () => {
  /** The fixture with a step that takes for ever over letters that end otherwise, under a limit that a test can wait for. */
  const hostile = (key: string, step: object) => {
    const limits = LIMITS as { codeMs: number };
    const { codeMs } = limits;
    limits.codeMs = 200;
    onTestFinished(() => {
      limits.codeMs = codeMs;
    });
    const dir = temporaryDir();
    cpSync(fixture('tokenizer', 'chatml'), dir, { recursive: true });
    const path = join(dir, 'tokenizer.json');
    const json = JSON.parse(readFileSync(path, 'utf8'));
    const list = { normalizer: 'normalizers', pre_tokenizer: 'pretokenizers', decoder: 'decoders' }[key]!;
    const steps = json[key] === null ? [step] : [step, json[key]];
    writeFileSync(path, JSON.stringify({ ...json, [key]: { type: 'Sequence', [list]: steps } }));
    return loadTokenizer(dir);
  };
  const pattern = { Regex: '(?:(?:a+)+)+!' };
  const split = { type: 'Split', pattern, behavior: 'Isolated', invert: false };
  const replace = { type: 'Replace', pattern, content: 'b' };
  const text = 'a'.repeat(60);

  it.each([
    ['a pre-tokenizer', 'pre_tokenizer', split],
    ['a normaliser', 'normalizer', replace],
  ])('are stopped when their time is over: of %s', (_, key, step) => {
    const tokenizer = hostile(key, step);
    expect(tokenizer.encode('b c').length).toBeGreaterThan(0);
    for (const encode of [tokenizer.encode, tokenizer.encodeText]) {
      const error = errorOf(() => encode(text));
      expect(error.code).toBe('tokenizer-unsupported');
      expect(error.message).toMatch(/over a text of 60 characters: it was stopped after 0.2 s/);
    }
    expect(errorOf(() => tokenizer.encodeText(`${text}<|im_end|>`)).message).toMatch(/was stopped/);
  });

  it('are known ones in models as they are, which need no clock', () => {
    const json = (name: string) => fixtureJson<JsonObject>('tokenizer', name, 'tokenizer.json');
    for (const name of NAMES) expect(hasKnownExpressions(json(name)), name).toBe(true);
    expect(hasKnownExpressions({ ...json('chatml'), decoder: { type: 'Sequence', decoders: [replace] } })).toBe(false);
  });
});

describe('chat templates', () => {
  it('may be one of several by name', () => {
    const dir = temporaryDir();
    cpSync(fixture('tokenizer', 'chatml', 'tokenizer.json'), join(dir, 'tokenizer.json'));
    const templates = [
      { name: 'tool_use', template: 'tools' },
      { name: 'default', template: '{{ messages[0].content }}{{ eos_token }}' },
    ];
    writeFileSync(
      join(dir, 'tokenizer_config.json'),
      JSON.stringify({ eos_token: '<|im_end|>', chat_template: templates }),
    );
    expect(loadTokenizer(dir).renderChat!([{ role: 'user', content: 'hi' }])).toBe('hi<|im_end|>');
  });
});

describe.skipIf(!hasShared)('the tokenizer of GPT-2 (needs ../shared)', () => {
  it('has 50,257 tokens and gives the published ids', () => {
    const tokenizer = loadTokenizer(shared('lora-gpt2-tigrinya'));
    expect(tokenizer).toMatchObject({ vocabSize: 50257, eosId: 50256, addsBos: false });
    expect(tokenizer.encode('Hello world')).toEqual([15496, 995]);
    expect(tokenizer.decode([15496, 995])).toBe('Hello world');
  });
});
