import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { initialParameters } from '../../src/model/lora-layout.js';
import type { TrainingExample } from '../../src/train/batches.js';
import { type CompletionScore, meanLoss } from '../../src/train/completion-score.js';
import { scoreCompletions } from '../../src/train/evaluate.js';
import { layoutOf, sequences, toyModel } from './toy.js';

const toy = toyModel();
const examples = sequences(7);

/** One sequence alone, its log-probabilities from the logits by their definition in float64. */
function byHand({ ids, promptLength }: TrainingExample): CompletionScore {
  const V = toy.model.config.vocabSize;
  const logits = tf.tidy(() => {
    const hidden = toy.model.forward(tf.tensor2d(ids, [1, ids.length], 'int32'));
    return toy.model.logits(hidden as tf.Tensor2D).dataSync();
  });
  let logprob = 0;
  const likeliest: number[] = [];
  for (let t = promptLength; t < ids.length; t++) {
    const row = Array.from(logits.subarray((t - 1) * V, t * V));
    const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
    logprob += row[ids[t]!]! - Math.log(total);
    likeliest.push(row.indexOf(Math.max(...row)));
  }
  const isGreedy = likeliest.every((id, i) => id === ids[promptLength + i]);
  return { logprob, tokens: ids.length - promptLength, isGreedy, likeliest };
}

describe('scoreCompletions', () => {
  it('gives the log-probabilities that the logits of each sequence alone give', async () => {
    const scores = await scoreCompletions(toy.model, examples, { batchSize: 3 });
    for (const [i, example] of examples.entries()) {
      const expected = byHand(example);
      expect(scores[i]!.logprob).toBeCloseTo(expected.logprob, 3);
      const { tokens, isGreedy, likeliest } = expected;
      expect(scores[i]).toMatchObject({ tokens, isGreedy, likeliest });
    }
    const tokens = examples.reduce((sum, { ids }) => sum + ids.length - 2, 0);
    expect(meanLoss(scores)).toBeCloseTo(-scores.reduce((sum, s) => sum + s.logprob, 0) / tokens, 12);
  });

  it('tells what greedy decoding would have produced', async () => {
    const prompt = [1, 20, 21];
    const V = toy.model.config.vocabSize;
    const choices = Array.from({ length: V }, (_, id) => ({ ids: Int32Array.of(...prompt, id), promptLength: 3 }));
    const scores = await scoreCompletions(toy.model, choices); // read once: they differ in their last token alone
    const best = scores.map((s) => s.logprob).indexOf(Math.max(...scores.map((s) => s.logprob)));
    expect(scores.flatMap(({ isGreedy }, id) => (isGreedy ? [id] : []))).toEqual([best]);
    expect(scores.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0)).toBeCloseTo(1, 4);
  });

  it('sends every example through its own mixture', async () => {
    const layout = layoutOf(toy, 2);
    const parameters = initialParameters(layout, 1);
    for (const [i, { bOffset, out }] of layout.modules.entries()) {
      parameters.fill(0.05 * (i + 1), bOffset, bOffset + out * 4);
    }
    const lora = { layout, parameters, loraAlpha: 4 };
    const gates = examples.map((_, i) => (i % 2 === 0 ? [1, 0] : [0, 0]));
    const [base, mixed] = [
      await scoreCompletions(toy.model, examples),
      await scoreCompletions(toy.model, examples, { lora: { ...lora, gates } }),
    ];
    const alone = await scoreCompletions(toy.model, examples, { lora: { ...lora, gates: [[1, 0]] } });
    for (const i of examples.keys()) {
      expect(mixed[i]!.logprob).toBeCloseTo((i % 2 === 0 ? alone : base)[i]!.logprob, 4);
    }
    expect(Math.abs(alone[0]!.logprob - base[0]!.logprob)).toBeGreaterThan(1e-3);
  });

  it('stops between two batches, and leaves no tensor behind', async () => {
    const before = tf.memory().numTensors;
    const stop = new AbortController();
    const seen: number[] = [];
    const onProgress = (done: number) => {
      seen.push(done);
      stop.abort();
    };
    const scored = scoreCompletions(toy.model, examples, { batchSize: 3, signal: stop.signal, onProgress });
    await expect(scored).rejects.toMatchObject({ code: 'interrupted' });
    expect(seen).toEqual([3]);
    expect(tf.memory().numTensors).toBe(before);
  });
});
