/** A model's answers to a user's test examples, with their scores and the signals that a router would see. */

import type { Example } from '../data/dataset.js';
import type { BaseModel } from '../hf/base-model.js';
import { encodeCut, encodeExample, expectExamples } from '../hf/encode-example.js';
import { PLAIN, type PromptForm } from '../hf/prompt-form.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import type { Network } from '../model/network.js';
import { type Answer, type AnswerRequest, answerPrompts } from '../train/answer.js';
import type { EvaluationLora } from '../train/evaluate.js';
import type { ExampleScore } from '../train/score.js';
import { scoreExamples } from '../train/score-forward.js';
import type { AnswerRecord, ScoringMethod } from './types.js';
import { promptHash } from './users.js';

export interface LoadedModel {
  source: BaseModel;
  model: Network;
  tokenizer: Tokenizer;
  /** in which it is given its prompts; plain when absent */
  form?: PromptForm | undefined;
}

/** A model as one way of customising has left it. */
export interface Answerer extends LoadedModel {
  /** the adapters for these prompts; absent for none. Called with every group that is answered together. */
  loraFor?: ((examples: Example[]) => Promise<EvaluationLora> | EvaluationLora) | undefined;
  /** The examples with what stands before their prompts. Called as `loraFor` is. */
  withContext?: ((examples: Example[]) => Promise<Example[]> | Example[]) | undefined;
}

export interface AnswerSettings {
  method: ScoringMethod;
  batchSize: number;
  maxTokens: number;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface Answered {
  records: AnswerRecord[];
  /** of the right completions, nats a token */
  loss: number;
  /** examples whose prompt did not fit and lost its front */
  cutPrompts: number;
}

/** Answers all examples, in batches; an answer's latency is its share of the whole time. */
export async function answerExamples(
  answerer: Answerer,
  examples: readonly Example[],
  settings: AnswerSettings,
): Promise<Answered> {
  const { source, model, tokenizer, form, loraFor, withContext } = answerer;
  const { method, batchSize, onProgress, signal } = settings;
  const started = performance.now();
  const lora = await loraFor?.([...examples]);
  const asked = (await withContext?.([...examples])) ?? [...examples];
  const maxLength = source.config.maxPositionEmbeddings;
  const how = { model, tokenizer, form, maxLength, lora, batchSize, signal };
  const isGenerated = method === 'generation';
  const report = await scoreExamples({ ...how, examples: asked, onProgress: isGenerated ? undefined : onProgress });
  const { answers, cut } = isGenerated ? await generateAnswers(answerer, asked, lora, settings) : { cut: 0 };
  const latencyMs = (performance.now() - started) / examples.length;
  const records = examples.map((example, i): AnswerRecord => {
    const score = report.perExample[i]!;
    return {
      id: example.id,
      promptHash: promptHash(example.prompt),
      ...(answers === undefined ? chosen(example, score) : generated(example, answers[i]!)),
      loss: -score.logprob / score.tokens,
      source: 'on_device',
      reason: 'mode',
      latencyMs,
    };
  });
  return { records, loss: report.loss, cutPrompts: Math.max(report.cutPrompts, cut) };
}

/** Milliseconds of each of these examples when it is answered alone, after one that is not counted. */
export async function timeAnswers(
  answerer: Answerer,
  examples: readonly Example[],
  settings: AnswerSettings,
): Promise<number[]> {
  const times: number[] = [];
  const alone = { ...settings, onProgress: undefined };
  for (const example of examples.slice(0, 1).concat(examples)) {
    const started = performance.now();
    // choices are all read, and a generated answer is decoded without a guess, as it would be in use
    if (settings.method === 'generation') {
      const lora = await answerer.loraFor?.([example]);
      const asked = (await answerer.withContext?.([example])) ?? [example];
      await generateAnswers(answerer, asked, lora, alone, false);
    } else await answerExamples(answerer, [example], alone);
    times.push(performance.now() - started);
  }
  return times.slice(1);
}

async function generateAnswers(
  { source, model, tokenizer, form = PLAIN }: LoadedModel,
  examples: readonly Example[],
  lora: EvaluationLora | undefined,
  { maxTokens, batchSize, onProgress, signal }: AnswerSettings,
  guessing = true,
): Promise<{ answers?: Answer[]; cut: number }> {
  // An answer needs room in the context; the prompt's front gives way.
  const room = source.config.maxPositionEmbeddings - maxTokens;
  expectExamples(tokenizer, examples, form);
  let cutPrompts = 0;
  const requests = examples.map((example): AnswerRequest => {
    const options = { addEnd: tokenizer.eosId !== null };
    const whole = encodeExample(tokenizer, example, form, options);
    const { ids, promptLength } = whole;
    if (form.kind === 'chat') {
      const fits = promptLength <= room;
      const maxLength = room + ids.length - promptLength;
      const cut = fits ? whole : (encodeCut(tokenizer, example, form, { ...options, maxLength }) ?? whole);
      if (cut !== whole) cutPrompts++;
      const prompt = cut.ids.subarray(0, cut.promptLength);
      return { prompt, guess: guessing ? cut.ids.subarray(cut.promptLength) : undefined };
    }
    // The last tokens, without BOS, as lm-evaluation-harness generates (`generate_until` of its hf models) and score cuts.
    const prompt = ids.subarray(Math.max(0, promptLength - Math.max(room, 1)), promptLength);
    if (prompt.length < promptLength) cutPrompts++;
    return { prompt, guess: guessing ? ids.subarray(promptLength) : undefined };
  });
  const how = { maxNewTokens: maxTokens, lora, batchSize, onProgress, signal };
  return { answers: await answerPrompts(model, tokenizer, requests, how), cut: cutPrompts };
}

/** The choice of the highest log-probability; its confidence is that, per token. */
function chosen({ choices }: Example, score: ExampleScore) {
  const { predicted, predictedNorm, answer } = score;
  const at = predicted!;
  return {
    answer: choices![at]!.trim(),
    correct: at === answer ? (1 as const) : (0 as const),
    correctNorm: predictedNorm === answer ? (1 as const) : (0 as const),
    confidence: score.choices![at]! / score.choiceTokens![at]!,
  };
}

/** Exact match of the whole line, white space around it aside; the confidence is the mean over the answer's tokens. */
function generated({ completion }: Example, { text, logprobs, ended }: Answer) {
  // the token that ended the answer is none of it, except where there is no other
  const ofAnswer = ended && logprobs.length > 1 ? logprobs.slice(0, -1) : logprobs;
  return {
    answer: text.trim(),
    correct: ended && text.trim() === completion.trim() ? (1 as const) : (0 as const),
    confidence: ofAnswer.reduce((sum, x) => sum + x, 0) / ofAnswer.length,
  };
}
