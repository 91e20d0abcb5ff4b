/** Adapters in the llama.cpp engine: one context for all sets, answers as if each request were alone. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LlamaCppEngine, openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import type { AdapterScale } from '../../../src/engine/types.js';
import { edgeGguf, request, wholeAnswer } from '../../helpers/edge-gguf.js';

const PROMPTS = [
  'Request: If you can. Do I need an umbrella tonight, says Daisy. Intent:',
  'Once upon a time there was a man who',
  'Route for Bell at the bank:',
];

const gguf = edgeGguf();
let engine: LlamaCppEngine;

beforeAll(async () => {
  engine = await openEngine();
});
afterAll(() => engine.close());

const openEngine = (): Promise<LlamaCppEngine> =>
  openLlamaCppEngine({ model: gguf.model, name: 'edge', threads: 1, gpu: false, sequences: 6 });

const ask = (prompt: string, adapters: AdapterScale[]) =>
  wholeAnswer(engine, request(prompt, { adapters, maxTokens: 12 }));

describe('adapters', () => {
  it('change the answer, by their scale', async () => {
    const answers = await Promise.all([0, 0.3, 1].map((scale) => ask(PROMPTS[0]!, [gguf.adapter(0, scale)])));
    const logprobs = answers.map(({ tokens }) => tokens[0]!.logprob!);
    expect(new Set(logprobs.map((x) => x.toFixed(2))).size).toBe(3);
    // Scale zero is the base model.
    expect(logprobs[0]).toBeCloseTo((await ask(PROMPTS[0]!, [])).tokens[0]!.logprob!, 3);
  });

  it('answer six parallel requests, each with its own, as each alone', async () => {
    const sets: AdapterScale[][] = [
      [],
      [gguf.adapter(0)],
      [gguf.adapter(1)],
      [gguf.adapter(2), gguf.adapter(3, 0.5)],
      [gguf.adapter(4, 0.25)],
      [gguf.adapter(5)],
    ];
    for (const prompt of PROMPTS) {
      const together = await Promise.all(sets.map((adapters) => ask(prompt, adapters)));
      for (const [i, adapters] of sets.entries()) {
        const alone = await ask(prompt, adapters);
        expect(together[i]!.text, `set ${i}`).toBe(alone.text);
        for (const [t, { logprob }] of alone.tokens.entries()) {
          expect(together[i]!.tokens[t]!.logprob).toBeCloseTo(logprob!, 2);
        }
      }
      expect(new Set(together.map(({ tokens }) => tokens[0]?.logprob?.toFixed(3))).size).toBe(6);
    }
    expect(engine.adapterFiles()).toBe(6);
  });

  it('answer six parallel requests with the same one in common batches, as each alone', async () => {
    const prompts = [...PROMPTS, ...PROMPTS.map((prompt) => `${prompt} the`)];
    const together = await Promise.all(prompts.map((prompt) => ask(prompt, [gguf.adapter(1)])));
    for (const [i, prompt] of prompts.entries()) {
      expect(together[i]!.text).toBe((await ask(prompt, [gguf.adapter(1)])).text);
    }
  });

  it('never use what was read under other adapters', async () => {
    const fresh = await openEngine();
    try {
      const asked = request(PROMPTS[0]!, { adapters: [gguf.adapter(3)], maxTokens: 12 });
      const uncached = await wholeAnswer(fresh, asked);
      expect(uncached.usage.cachedTokens).toBe(0);
      await wholeAnswer(fresh, request(PROMPTS[0]!, { adapters: [gguf.adapter(2)] }));
      const other = await wholeAnswer(fresh, request(PROMPTS[0]!, { adapters: [gguf.adapter(3, 0.5)] }));
      expect(other.usage.cachedTokens).toBe(0);
      const cached = await wholeAnswer(fresh, asked);
      expect(cached.usage.cachedTokens).toBe(cached.usage.promptTokens - 1);
      expect(cached.text).toBe(uncached.text);
    } finally {
      await fresh.close();
    }
  });

  it('are more than there are sequences: none is taken from a running request', async () => {
    const small = await openLlamaCppEngine({ model: gguf.model, name: 'edge', threads: 1, gpu: false, sequences: 2 });
    const use = (n: number) => wholeAnswer(small, request(PROMPTS[1]!, { adapters: [gguf.adapter(n)], maxTokens: 4 }));
    try {
      const many = await Promise.all([0, 1, 2, 3, 4, 5, 0].map(use));
      for (const [n, { text }] of many.slice(0, 6).entries()) expect((await use(n)).text).toBe(text);
      expect(many[6]!.text).toBe(many[0]!.text);
      expect((await use(5)).usage.cachedTokens).toBeGreaterThan(0);
      expect((await use(0)).usage.cachedTokens).toBe(0);
    } finally {
      await small.close();
    }
  });

  it('keep two conversations in two sequences', async () => {
    const own = await openLlamaCppEngine({ model: gguf.model, name: 'edge', threads: 1, gpu: false, sequences: 2 });
    const use = async (prompt: string) => (await wholeAnswer(own, request(prompt, { maxTokens: 1 }))).usage;
    try {
      await use(PROMPTS[0]!);
      await use(PROMPTS[1]!);
      for (const prompt of [PROMPTS[0]!, PROMPTS[1]!]) {
        const { cachedTokens, promptTokens } = await use(`${prompt} the`);
        expect(cachedTokens).toBeGreaterThanOrEqual(promptTokens - 2);
      }
    } finally {
      await own.close();
    }
  });
});
