/** Numbers that are not finite end in an error of the llama.cpp engine, never in text, and leave nothing behind. */

import type { LlamaContext, LlamaModel } from 'node-llama-cpp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adapterSet, ContextPool } from '../../../src/engine/llama/contexts.js';
import { type LlamaCppEngine, openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import { LoraUsers } from '../../../src/engine/llama/loras.js';
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

describe('a context in which a computation diverged', () => {
  /** Contexts of which the first one's sequences give NaN once they are told to. */
  function contexts() {
    const disposed: number[] = [];
    let made = 0;
    let diverges = false;
    const create = async (): Promise<LlamaContext> => {
      const number = made++;
      const sequence = () => ({
        contextTokens: [],
        nextTokenIndex: 0,
        clearHistory: async () => {},
        controlledEvaluate: async (input: unknown[]) =>
          input.map(() => ({ next: { token: 5, totalLogitWeight: diverges && number === 0 ? Number.NaN : 2 } })),
        evaluateWithoutGeneratingNewTokens: async () => {},
      });
      const context = { getSequence: sequence, dispose: async () => void disposed.push(number) };
      return context as unknown as LlamaContext;
    };
    return {
      create,
      disposed,
      diverge: () => {
        diverges = true;
      },
    };
  }

  it('is left by its requests and used for no other', async () => {
    const { create, disposed, diverge } = contexts();
    const loras = new LoraUsers({} as LlamaModel);
    const pool = new ContextPool({ loras, create, sequences: 2, maxContexts: 2, vocabularySize: 4096 });
    const lease = () => pool.lease(adapterSet([]), [1, 2], signal, () => {});
    const first = await lease();
    const second = await lease();
    await first.prompt([1, 2], 0);
    diverge();
    await expect(first.prompt([1, 2], 0)).rejects.toEqual(diverged);
    first.cancel();
    expect(disposed).toEqual([]); // the second has it
    const third = await lease();
    expect((await third.prompt([1, 2], 0)).next.total).toBe(2); // in a new one
    second.cancel();
    third.cancel();
    await expect.poll(() => disposed).toEqual([0]);
    expect(pool.size).toBe(1);
  });
});
