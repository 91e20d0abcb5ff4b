/** Examples as sequences, their scores as a report, and two scorers of the same sequences side by side. */

import { describe, expect, it } from 'vitest';
import type { Example } from '../../src/data/dataset.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { type CompletionScore, meanLoss } from '../../src/train/completion-score.js';
import { compareScores, scoredSequences, scoreThrough } from '../../src/train/score.js';
import { EDGE } from '../helpers/edge-gguf.js';

const tokenizer = loadTokenizer(EDGE);
const example = (id: string, completion: string, choices?: string[]): Example => ({
  ...{ id, prompt: 'Once upon a', completion, task: 'tale', dataset: 'tales' },
  ...(choices === undefined ? {} : { choices, answer: choices.indexOf(completion) }),
});
const examples = [example('a', ' time', [' time', ' hill']), example('b', ' wood and more')];
const made = scoredSequences({ tokenizer, examples, maxLength: 64, vocabSize: undefined });
const score = (logprob: number, ...likeliest: number[]): CompletionScore => {
  return { logprob, tokens: likeliest.length, isGreedy: logprob > -1, likeliest };
};

describe('sequences', () => {
  it('are the choices and the other completions, each with its example', () => {
    expect(made.owners).toEqual([0, 0, 1]);
    expect(made.places).toEqual([
      { choices: [0, 1], completion: 0 },
      { choices: undefined, completion: 2 },
    ]);
    const texts = made.sequences.map(({ ids, promptLength }) => tokenizer.decode([...ids.subarray(promptLength)]));
    expect(texts.map((text) => text.trim())).toEqual(['time', 'hill', 'wood and more']);
  });

  it('say how many examples lost the front of their prompts', async () => {
    expect(made.cutPrompts).toBe(0);
    const long = { ...examples[0]!, prompt: 'Once upon a time there was a hill. '.repeat(20) };
    const cut = scoredSequences({ tokenizer, examples: [long, examples[1]!], maxLength: 32, vocabSize: undefined });
    expect(cut.cutPrompts).toBe(1); // of two choices
    // lm-evaluation-harness: (context + continuation)[-(max_length + 1):]
    const whole = tokenizer.encode(`${long.prompt.trimEnd()} time`.replace('. time', '.  time'));
    expect([...cut.sequences[0]!.ids]).toEqual(whole.slice(-33));
    const { report } = await scoreThrough(async ({ length }) => Array.from({ length }, () => score(-1, 1)), cut);
    expect(report.cutPrompts).toBe(1);
  });

  it('are scored by whoever is asked, and reported', async () => {
    const asked: unknown[] = [];
    const { report } = await scoreThrough(async (sequences, owners) => {
      asked.push(sequences, owners);
      return [score(-2, 1), score(-1.5, 1), score(-0.5, 1, 2, 3)];
    }, made);
    expect(asked).toEqual([made.sequences, made.owners]);
    expect(report).toMatchObject({ examples: 2, tokens: 4, loss: 2.5 / 4, exact: 0.5, acc: 0, choiceExamples: 1 });
    expect(report.perExample[0]).toEqual({
      ...{ id: 'a', logprob: -2, tokens: 1, isGreedy: false },
      ...{ choices: [-2, -1.5], choiceTokens: [1, 1], answer: 0, predicted: 1, predictedNorm: 1 },
    });
  });
});

it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('a score of %d is no score', async (bad) => {
  const scores = [score(-2, 1), score(bad, 1), score(-0.5, 1, 2, 3)];
  await expect(scoreThrough(async () => scores, made)).rejects.toMatchObject({
    code: 'numbers-diverged',
    message: expect.stringContaining('example a'),
  });
  expect(() => meanLoss(scores)).toThrow(expect.objectContaining({ code: 'numbers-diverged' }));
});

describe('two scorers', () => {
  it('are compared by every sequence, by the choice that each takes and by the likeliest tokens', () => {
    const one = [score(-2, 1), score(-1.5, 1), score(-0.5, 1, 2, 3)];
    const other = [score(-1, 1), score(-1.5, 1), score(-0.6, 1, 9, 3)];
    const { largest, mean, sameChoice, sameLikeliest } = compareScores(made, one, other);
    expect([largest, sameChoice, sameLikeliest]).toEqual([1, 0, 0.8]);
    expect(mean).toBeCloseTo(1.1 / 3, 12);
    expect(compareScores(made, one, one)).toEqual({ largest: 0, mean: 0, sameChoice: 1, sameLikeliest: 1 });
  });

  it('of examples without choices agree on no choice', () => {
    const plain = scoredSequences({ tokenizer, examples: [examples[1]!], maxLength: 64, vocabSize: undefined });
    const scores = [score(-1, 1, 2)];
    expect(compareScores(plain, scores, scores).sameChoice).toBeNull();
  });
});
