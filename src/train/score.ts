/**
 * What a model, with or without an adapter, is worth on examples: held-out loss, perplexity, multiple-choice accuracy.
 *
 * Multiple choice as in lm-evaluation-harness 0.4.13 (`lm_eval/api/task.py`): `acc` takes the choice of the highest summed
 * log-probability, `acc_norm` the highest per character of the choice's text, the delimiter before it not counted.
 */

import { CrayonError } from '../core/errors.js';
import { mean, standardError } from '../core/stats.js';
import { argmax } from '../core/vector.js';
import type { Example } from '../data/dataset.js';
import { PLAIN, type PromptForm } from '../hf/prompt-form.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import type { LlamaModel } from '../model/llama.js';
import { completionsTooLong, fitExample, refuseUnknownTokens, type TrainingExample } from './batches.js';
import { type CompletionScore, type EvaluateOptions, meanLoss, scoreCompletions } from './evaluate.js';

/** The score of the completion, and those of the choices. */
export interface ExampleScore extends CompletionScore {
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

export type ScoreReport = Awaited<ReturnType<typeof scoreExamples>>;

export interface ScoreOptions extends EvaluateOptions {
  model: LlamaModel;
  tokenizer: Tokenizer;
  examples: readonly Example[];
  /** in which prompts are given; plain when absent */
  form?: PromptForm | undefined;
  /** cut the front of a prompt that would exceed this many tokens */
  maxLength: number;
}

/**
 * @throws CrayonError `dataset-too-small` without an example, `example-too-long` where a completion or a choice alone
 *   exceeds the context
 */
export async function scoreExamples(options: ScoreOptions) {
  const { model, tokenizer, examples, maxLength, form = PLAIN, lora } = options;
  if (examples.length === 0) throw new CrayonError('dataset-too-small', 'no examples to score');
  // 1) every completion and every choice becomes one sequence; a completion that is one of its choices is scored once
  const sequences: TrainingExample[] = [];
  const owners: number[] = [];
  const tooLong = new Map<number, string>();
  const add = (example: Example, completion: string, owner: number) => {
    const { whole, fitting } = fitExample(tokenizer, { ...example, completion }, { form, addEnd: false, maxLength });
    refuseUnknownTokens(example.id, whole.ids, model.config.vocabSize);
    if (fitting === undefined) tooLong.set(owner, `${example.id} (${whole.ids.length})`);
    sequences.push(fitting ?? whole);
    owners.push(owner);
    return sequences.length - 1;
  };
  const places = examples.map((example, i) => {
    const choices = example.choices?.map((choice) => add(example, choice, i));
    const among = example.choices?.indexOf(example.completion) ?? -1;
    return { choices, completion: among >= 0 ? choices![among]! : add(example, example.completion, i) };
  });
  if (tooLong.size > 0) throw completionsTooLong([...tooLong.values()], examples.length, maxLength);

  // 2) score
  const started = performance.now();
  const perSequence = lora && lora.gates.length > 1 ? { ...lora, gates: owners.map((i) => lora.gates[i]!) } : lora;
  const scores = await scoreCompletions(model, sequences, { ...options, lora: perSequence });
  const seconds = (performance.now() - started) / 1000;

  // 3) report
  const completions = places.map(({ completion }) => scores[completion]!);
  const perExample = examples.map((example, i): ExampleScore => {
    const { choices } = places[i]!;
    const score = { id: example.id, ...completions[i]! };
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

/** Length of a choice in Unicode characters, as Python counts them. */
function characters({ choices, delimiter = 0 }: Example, c: number): number {
  return [...choices![c]!.slice(delimiter)].length;
}
