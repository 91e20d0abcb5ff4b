/**
 * What a model, with or without an adapter, is worth on examples: held-out loss, perplexity, multiple-choice accuracy. Examples are
 * made sequences of tokens here, and their scores a report; who scores the sequences is the caller's choice, so that our forward
 * pass and the engine that serves are asked the very same. Free of any tensor library.
 *
 * Multiple choice as in lm-evaluation-harness 0.4.13 (`lm_eval/api/task.py`): `acc` takes the choice of the highest summed
 * log-probability, `acc_norm` the highest per character of the choice's text, the delimiter before it not counted.
 */

import { CrayonError } from '../core/errors.js';
import { mean, standardError } from '../core/stats.js';
import { argmax, checkFinite } from '../core/vector.js';
import type { Example } from '../data/dataset.js';
import { encodeExample, expectExamples } from '../hf/encode-example.js';
import { PLAIN, type PromptForm } from '../hf/prompt-form.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import { completionsTooLong, cutFront, fitExample, refuseUnknownTokens, type TrainingExample } from './batches.js';
import { type CompletionScore, meanLoss, type SequenceScorer } from './completion-score.js';

/** The score of the completion, and those of the choices. */
export interface ExampleScore extends Omit<CompletionScore, 'likeliest'> {
  id: string;
  /** summed log-probability of each choice, and its tokens */
  choices?: number[];
  choiceTokens?: number[];
  /** index of the right choice */
  answer?: number;
  /** index of the choice that acc takes */
  predicted?: number;
  /** index of the choice that acc_norm takes */
  predictedNorm?: number;
}

export type ScoreReport = ReturnType<typeof reportScores>;

export interface SequenceOptions {
  tokenizer: Tokenizer;
  examples: readonly Example[];
  /** in which prompts are given; plain when absent */
  form?: PromptForm | undefined;
  /** cut the front of a prompt that would exceed this many tokens */
  maxLength: number;
  /** rows of the model's embedding: a token beyond them is refused */
  vocabSize: number | undefined;
}

/** Examples as sequences of tokens. */
export interface ScoredSequences {
  examples: readonly Example[];
  /** a prompt with its completion or with one of its choices */
  sequences: TrainingExample[];
  /** index of the example that each sequence is of */
  owners: number[];
  /** of each example: the sequences of its choices, and that of its completion */
  places: Array<{ choices: number[] | undefined; completion: number }>;
  /** examples whose prompt lost its front, of one choice at least */
  cutPrompts: number;
}

/**
 * @throws CrayonError `dataset-too-small` without an example, `example-too-long` where a completion or a choice alone
 *   exceeds the context
 */
export function scoredSequences(options: SequenceOptions): ScoredSequences {
  const { tokenizer, examples, maxLength, form = PLAIN, vocabSize } = options;
  if (examples.length === 0) throw new CrayonError('dataset-too-small', 'no examples to score');
  // Every completion and every choice becomes one sequence; a completion that is one of its choices is scored once
  const sequences: TrainingExample[] = [];
  const owners: number[] = [];
  const tooLong = new Map<number, string>();
  const cut = new Set<number>();
  const add = (example: Example, completion: string, owner: number) => {
    const one = { ...example, completion };
    const { whole, fitting } =
      form.kind === 'plain'
        ? cutAsLmEval(tokenizer, one, maxLength)
        : fitExample(tokenizer, one, { form, addEnd: false, maxLength });
    refuseUnknownTokens(example.id, whole.ids, vocabSize);
    if (fitting === undefined) tooLong.set(owner, `${example.id} (${whole.ids.length})`);
    else if (fitting !== whole) cut.add(owner);
    sequences.push(fitting ?? whole);
    owners.push(owner);
    return sequences.length - 1;
  };
  expectExamples(tokenizer, scoredExamples(examples), form);
  const places = examples.map((example, i) => {
    const choices = example.choices?.map((choice) => add(example, choice, i));
    const among = example.choices?.indexOf(example.completion) ?? -1;
    return { choices, completion: among >= 0 ? choices![among]! : add(example, example.completion, i) };
  });
  if (tooLong.size > 0) throw completionsTooLong([...tooLong.values()], examples.length, maxLength);
  return { examples, sequences, owners, places, cutPrompts: cut.size };
}

/** Each choice, and a completion that is none of them, as an example of its own. */
function* scoredExamples(examples: readonly Example[]): Generator<Example> {
  for (const example of examples) {
    for (const completion of new Set([...(example.choices ?? []), example.completion]))
      yield { ...example, completion };
  }
}

/**
 * A plain example cut as lm-evaluation-harness cuts it (`_loglikelihood_tokens`): its last `maxLength` tokens and the one after
 * them, which is never read; BOS goes first.
 */
function cutAsLmEval(tokenizer: Tokenizer, example: Example, maxLength: number) {
  const whole = encodeExample(tokenizer, example, PLAIN);
  return { whole, fitting: cutFront(whole, maxLength + 1, 0) };
}

/** @param score gives the log-probabilities of the sequences @throws CrayonError as `scoredSequences`, and what `score` throws */
export async function scoreThrough(score: SequenceScorer, made: ScoredSequences) {
  const started = performance.now();
  const scores = await score(made.sequences, made.owners);
  for (const [i, { logprob }] of scores.entries()) {
    const { id } = made.examples[made.owners[i]!]!;
    checkFinite(Float64Array.of(logprob), `the log-probability of example ${id}`);
  }
  const seconds = (performance.now() - started) / 1000;
  return { scores, report: reportScores(made, scores, seconds) };
}

/** @param scores of the sequences, in their order */
export function reportScores(
  { examples, sequences, places, cutPrompts }: ScoredSequences,
  scores: readonly CompletionScore[],
  seconds: number,
) {
  const completions = places.map(({ completion }) => scores[completion]!);
  const perExample = examples.map((example, i): ExampleScore => {
    const { choices } = places[i]!;
    const { logprob, tokens, isGreedy } = completions[i]!;
    const score = { id: example.id, logprob, tokens, isGreedy };
    if (choices === undefined || example.answer === undefined) return score;
    const logprobs = choices.map((at) => scores[at]!.logprob);
    const perCharacter = logprobs.map((logprob, c) => logprob / characters(example, c));
    return {
      ...score,
      choices: logprobs,
      choiceTokens: choices.map((at) => scores[at]!.tokens),
      answer: example.answer,
      predicted: argmax(logprobs),
      predictedNorm: argmax(perCharacter),
    };
  });
  const choiceScores = perExample.filter((score) => score.choices !== undefined);
  const hits = choiceScores.map((score) => (score.predicted === score.answer ? 1 : 0));
  const normHits = choiceScores.map((score) => (score.predictedNorm === score.answer ? 1 : 0));
  const loss = meanLoss(completions);
  return {
    examples: examples.length,
    /** examples whose prompt did not fit and lost its front */
    cutPrompts,
    /** completion tokens */
    tokens: completions.reduce((n, s) => n + s.tokens, 0),
    /** mean negative log-likelihood per completion token, in nats */
    loss,
    perplexity: Math.exp(loss),
    /** share answered rightly: acc for the examples with choices, the exact completion for the others */
    correct: mean(perExample.map((s) => ((s.choices ? s.predicted === s.answer : s.isGreedy) ? 1 : 0))),
    /** share of completions that greedy decoding would produce exactly */
    exact: mean(completions.map((s) => (s.isGreedy ? 1 : 0))),
    /** multiple-choice examples; the three below are null without any */
    choiceExamples: choiceScores.length,
    acc: hits.length > 0 ? mean(hits) : null,
    accStderr: hits.length > 1 ? standardError(hits) : null,
    accNorm: normHits.length > 0 ? mean(normHits) : null,
    /** tokens that went through the model, per second */
    tokensPerSecond: sequences.reduce((n, s) => n + s.ids.length, 0) / seconds,
    perExample,
  };
}

export interface ScoreDifference {
  /** of the summed log-probabilities of completions and choices, in nats */
  largest: number;
  mean: number;
  /** share of the examples with choices whose acc takes the same choice; null without any */
  sameChoice: number | null;
  /** share of all scored places where the same token is the likeliest */
  sameLikeliest: number;
}

/** How far two scorers of the same sequences are apart. */
export function compareScores(
  { examples, places }: ScoredSequences,
  one: readonly CompletionScore[],
  other: readonly CompletionScore[],
): ScoreDifference {
  const gaps = one.map(({ logprob }, i) => Math.abs(logprob - other[i]!.logprob));
  const sameAt = one.flatMap(({ likeliest }, i) => likeliest.map((id, t) => (id === other[i]!.likeliest[t] ? 1 : 0)));
  const taken = (scores: readonly CompletionScore[], choices: number[]) =>
    argmax(choices.map((at) => scores[at]!.logprob));
  const alike = examples.flatMap((_, i) => {
    const { choices } = places[i]!;
    return choices === undefined ? [] : [taken(one, choices) === taken(other, choices) ? 1 : 0];
  });
  return {
    largest: gaps.reduce((most, gap) => Math.max(most, gap), 0),
    mean: mean(gaps),
    sameChoice: alike.length === 0 ? null : mean(alike),
    sameLikeliest: mean(sameAt),
  };
}

/** Length of a choice in Unicode characters, as Python counts them. */
function characters({ choices, delimiter = 0 }: Example, c: number): number {
  return [...choices![c]!.slice(delimiter)].length;
}
