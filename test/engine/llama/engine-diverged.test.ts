/** Numbers that are not finite end in an error of the llama.cpp engine, never in text, and leave nothing behind. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LlamaCppEngine, openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import { Query } from '../../../src/engine/types.js';
import { edgeGguf, request, wholeAnswer } from '../../helpers/edge-gguf.js';

const gguf = edgeGguf();
const PROMPT = 'Bank: boot. Team:';
const diverged = expect.objectContaining({ code: 'numbers-diverged' });
const { signal } = new AbortController();
let engine: LlamaCppEngine;

beforeAll(async () => {
  engine = await openLlamaCppEngine({ model: gguf.model, name: 'edge', threads: 1, gpu: false });
});
afterAll(() => engine.close());

// 1e6 leaves the half precision of the cache, 1e20 float32's range when it is squared, 1e39 float32's range.
describe.each([1e6, 1e20, -1e30, 1e39])('an adapter at scale %d', (scale) => {
  const adapters = [gguf.adapter(0, scale)];

  it.each([
    { temperature: 0, topLogprobs: null },
    { temperature: 0, topLogprobs: null, logprobs: false },
    { temperature: 0, topLogprobs: 3 },
    { temperature: 1, topLogprobs: null, distribution: true },
  ])('answers nothing: $temperature, $topLogprobs', async (over) => {
    await expect(wholeAnswer(engine, request(PROMPT, { adapters, ...over }))).rejects.toEqual(diverged);
  });

  it('scores nothing', async () => {
    const ids = [1, 300, 200, 100];
    for (const asGenerated of [false, true]) {
      await expect(engine.scoreTokens({ ids, from: 1, topLogprobs: 2, adapters, signal, asGenerated })).rejects.toEqual(
        diverged,
      );
    }
    const query = new Query({ kind: 'text', text: PROMPT });
    await expect(engine.promptNll(query, adapters, signal)).rejects.toEqual(diverged);
  });

  it('does not disturb others, nor itself at a sane scale', async () => {
    const before = await wholeAnswer(engine, request(PROMPT));
    await expect(wholeAnswer(engine, request(PROMPT, { adapters }))).rejects.toEqual(diverged);
    expect((await wholeAnswer(engine, request(PROMPT))).text).toBe(before.text);
    const { tokens } = await wholeAnswer(engine, request(PROMPT, { adapters: [gguf.adapter(0)], topLogprobs: 2 }));
    for (const { logprob, detail } of tokens) {
      expect(logprob).toBeLessThanOrEqual(0);
      expect(detail!.top.every((one) => Number.isFinite(one.logprob))).toBe(true);
    }
  });
});

describe('sequences that hold what is not a number', () => {
  it('are used for no other, until a new context takes the place of theirs', async () => {
    const two = await openLlamaCppEngine({ model: gguf.model, name: 'edge', threads: 1, gpu: false, sequences: 2 });
    try {
      const ask = (over: object = {}) => wholeAnswer(two, request(PROMPT, over));
      const before = await ask();
      for (let round = 0; round < 3; round++) {
        const wild = () => ask({ adapters: [gguf.adapter(0, 1e39)] });
        const [first, second, third, sane] = await Promise.allSettled([wild(), wild(), wild(), ask()]);
        for (const one of [first, second, third]) expect(one).toMatchObject({ status: 'rejected', reason: diverged });
        expect(sane).toMatchObject({ status: 'fulfilled', value: { text: before.text } });
      }
    } finally {
      await two.close();
    }
  });
});
