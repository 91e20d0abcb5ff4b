import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { answerPrompts, generateGreedy } from '../../src/train/answer.js';
import { sequences, toyModel } from './toy.js';

const toy = toyModel();
const prompts = sequences(3).map(({ ids }) => [1, ...ids]);
const maxNewTokens = 4;

/** Greedy decoding, one prompt and one token at a time. */
async function plain(prompt: number[]): Promise<{ text: string; ids: number[] }> {
  const ids = await generateGreedy(toy.model, prompt, { maxNewTokens, stopIds: toy.model.config.eosTokenIds });
  return { text: toy.tokenizer.decode(ids).split('\n')[0]!, ids: Array.from(ids) };
}

describe('answerPrompts', () => {
  it.each([1, 2])('%i at a time: the answers of plain greedy decoding', async (batchSize) => {
    const requests = prompts.map((prompt) => ({ prompt }));
    const answers = await answerPrompts(toy.model, toy.tokenizer, requests, { maxNewTokens, batchSize });
    for (const [i, prompt] of prompts.entries()) expect(answers[i]!.text).toBe((await plain(prompt)).text);
    for (const { logprobs, ended } of answers) {
      expect(logprobs.every((x) => x < 0)).toBe(true);
      if (!ended) expect(logprobs).toHaveLength(maxNewTokens);
    }
  });

  it('are the same with a guess that is right, half right or wrong', async () => {
    const [prompt] = prompts as [number[]];
    const { ids } = await plain(prompt);
    const without = await answerPrompts(toy.model, toy.tokenizer, [{ prompt }], { maxNewTokens });
    const guesses = [ids, [...ids.slice(0, 2), 5], [5], []];
    for (const guess of guesses) {
      const [answer] = await answerPrompts(toy.model, toy.tokenizer, [{ prompt, guess }], { maxNewTokens });
      expect({ ...answer, logprobs: [] }).toEqual({ ...without[0], logprobs: [] });
      answer!.logprobs.forEach((x, i) => {
        expect(x).toBeCloseTo(without[0]!.logprobs[i]!, 4);
      });
    }
  });

  it('end at the model’s context', async () => {
    const limit = toy.model.config.maxPositionEmbeddings;
    const prompt = Array.from({ length: limit - 2 }, (_, i) => 10 + (i % 40));
    const [answer] = await answerPrompts(toy.model, toy.tokenizer, [{ prompt, guess: [1, 2, 3, 4] }], { maxNewTokens });
    expect(answer!.logprobs.length).toBeLessThanOrEqual(2);
  });

  it('stop when they are asked to, and leave no tensor behind', async () => {
    const before = tf.memory().numTensors;
    const stop = new AbortController();
    stop.abort();
    const answers = answerPrompts(toy.model, toy.tokenizer, [{ prompt: [1, 10] }], {
      maxNewTokens,
      signal: stop.signal,
    });
    await expect(answers).rejects.toMatchObject({ code: 'interrupted' });
    expect(tf.memory().numTensors).toBe(before);
  });
});
