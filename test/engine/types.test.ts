import { describe, expect, it } from 'vitest';
import { type Prompt, Query } from '../../src/engine/types.js';

const conversation: Prompt = {
  kind: 'chat',
  messages: [
    { role: 'system', content: 'be brief' },
    { role: 'user', content: 'why?' },
  ],
};

/** An engine that says n, and an embedder likewise, both counting. */
function counting(n: number) {
  const asked: unknown[] = [];
  return {
    asked,
    tokenize: (prompt: Prompt) => {
      asked.push(prompt);
      return Int32Array.of(n);
    },
    embed: (text: string) => {
      asked.push(text);
      return { vector: Float32Array.of(n) };
    },
  };
}

describe('Query', () => {
  it('joins the contents of a conversation, and leaves a text as it is', () => {
    expect(new Query(conversation).text).toBe('be brief\nwhy?');
    expect(new Query({ kind: 'text', text: ' a ' }).text).toBe(' a ');
  });

  it('asks for tokens and for the embedding once, and not before they are wanted', () => {
    const query = new Query(conversation);
    const one = counting(1);
    expect(one.asked).toEqual([]);
    expect([query.tokens(one), query.tokens(one)]).toEqual([Int32Array.of(1), Int32Array.of(1)]);
    expect(one.asked).toEqual([conversation]);
    expect([query.vector(one), query.vector(one)]).toEqual([Float32Array.of(1), Float32Array.of(1)]);
    expect(one.asked).toEqual([conversation, 'be brief\nwhy?']);
  });

  it('never gives one engine the tokens of another', () => {
    const query = new Query(conversation);
    const [one, two] = [counting(1), counting(2)];
    expect([one, two, one].map((by) => query.tokens(by)[0])).toEqual([1, 2, 1]);
    expect([one, two, one].map((by) => query.vector(by)[0])).toEqual([1, 2, 1]);
  });

  it('fails anew where the engine fails', () => {
    const query = new Query(conversation);
    const broken = {
      tokenize: () => {
        throw new Error('no');
      },
    };
    for (let i = 0; i < 2; i++) expect(() => query.tokens(broken)).toThrow('no');
  });
});
