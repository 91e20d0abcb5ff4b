import { describe, expect, it } from 'vitest';
import { encodeExample } from '../../src/hf/encode-example.js';
import { PLAIN } from '../../src/hf/prompt-form.js';
import { loadTokenizer, type Tokenizer } from '../../src/hf/tokenizer.js';
import { errorOf } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';

const byteLevel = loadTokenizer(fixture('tokenizer', 'byte-level')); // adds BOS
const chatml = loadTokenizer(fixture('tokenizer', 'chatml')); // has no BOS

const example = (prompt: string, completion: string) => ({ id: 'a:0', prompt, completion });

/** Text of the two parts. */
function parts(tokenizer: Tokenizer, prompt: string, completion: string, options?: { addEnd: boolean }) {
  const { ids, promptLength } = encodeExample(tokenizer, example(prompt, completion), PLAIN, options);
  const decode = (part: Int32Array) => tokenizer.decode(part, { keepSpecial: true });
  return [decode(ids.slice(0, promptLength)), decode(ids.slice(promptLength))];
}

describe('encodeExample', () => {
  it('cuts between prompt and completion, with BOS before and EOS after when asked for', () => {
    expect(parts(byteLevel, 'what is it?', ' hello')).toEqual(['<s>what is it?', ' hello']);
    expect(parts(byteLevel, 'what is it?', ' hello', { addEnd: true })).toEqual(['<s>what is it?', ' hello</s>']);
    expect(parts(chatml, 'what is it?', ' hello', { addEnd: true })).toEqual(['what is it?', ' hello<|im_end|>']);
  });

  it('moves white space at the end of the prompt to the completion', () => {
    expect(parts(byteLevel, 'what is it? ', 'hello')).toEqual(['<s>what is it?', ' hello']);
    expect(parts(byteLevel, 'what is it?\n\n', 'hello')).toEqual(['<s>what is it?', '\n\nhello']);
  });

  it('gives the ids of the whole text, as a model would meet it', () => {
    const { ids, promptLength } = encodeExample(byteLevel, example('the wor', 'ld'));
    expect([...ids]).toEqual(byteLevel.encode('the world'));
    expect(promptLength).toBe(byteLevel.encode('the wor').length);
  });

  it('lets an empty prompt start from a special token, as lm-evaluation-harness does', () => {
    expect(parts(byteLevel, '', ' a')).toEqual(['<s>', ' a']);
    expect(parts(chatml, ' ', 'a')).toEqual(['<|im_end|>', ' a']);
  });

  it('refuses a completion that adds no token', () => {
    const error = errorOf(() => encodeExample(byteLevel, example('a', '')));
    expect(error.code).toBe('example-invalid');
    expect(error.message).toContain('a:0');
  });
});
