/**
 * The model's own answers to prompts, greedily decoded: to one, with or without an adapter, or to many, several at a time.
 *
 * Every step reads the whole texts again, as generateGreedy does, but a step may yield more than one token: where the
 * caller has a guess of the answer, the model reads prompt and guess at once, and the tokens of the guess that greedy
 * decoding would have chosen too are taken over. That is speculative decoding with a given draft (arXiv 2211.17192, at
 * temperature 0): the answers are the same with any guess, a right one only makes them faster.
 */

import { CrayonError } from '../core/errors.js';
import { eventLoopTurn } from '../core/long-work.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import type { LoraUse, Network } from '../model/network.js';
import { padBatch } from './batches.js';
import { type EvaluateOptions, type EvaluationLora, gateOf } from './evaluate.js';

export interface AnswerRequest {
  /** token ids of the prompt, with BOS where the model wants it */
  prompt: ArrayLike<number>;
  /** what the answer may be */
  guess?: ArrayLike<number>;
}

export interface Answer {
  /** up to the first line break or EOS, without either */
  text: string;
  /** log p of each token chosen, in nats; the one that ended the answer is the last, unless it reached its limit */
  logprobs: number[];
  /** whether a line break or EOS ended it */
  ended: boolean;
}

export interface AnswerOptions extends EvaluateOptions {
  /** tokens to add at most */
  maxNewTokens: number;
}

interface Prediction {
  id: number;
  logprob: number;
}

/** An answer on its way. */
interface Draft {
  number: number;
  ids: number[];
  promptLength: number;
  guess: number[];
  /** coefficients of the adapters, none without any */
  gate: ArrayLike<number>;
  answer: Answer;
}

/** @throws CrayonError `interrupted` when the signal fires */
export async function answerPrompts(
  model: Network,
  tokenizer: Tokenizer,
  requests: ReadonlyArray<AnswerRequest>,
  { maxNewTokens, lora, batchSize = 16, onProgress, signal }: AnswerOptions,
): Promise<Answer[]> {
  const limit = model.config.maxPositionEmbeddings;
  const drafts = requests.map(
    ({ prompt, guess }, number): Draft => ({
      number,
      ids: Array.from(prompt),
      promptLength: prompt.length,
      guess: Array.from(guess ?? []).slice(0, Math.max(0, limit - prompt.length)),
      gate: gateOf(lora, number),
      answer: { text: '', logprobs: [], ended: false },
    }),
  );
  const adapters = lora && model.attach(lora);
  const isOpen = ({ ids, promptLength, answer }: Draft) =>
    !answer.ended && ids.length - promptLength < maxNewTokens && ids.length < limit;
  try {
    let open = drafts.filter(isOpen);
    while (open.length > 0) {
      open.sort((a, b) => readLength(a) - readLength(b) || a.number - b.number);
      for (let at = 0; at < open.length; at += batchSize) {
        const batch = open.slice(at, at + batchSize);
        const next = await predict(model, batch, adapters && { adapters, gates: batch.map(({ gate }) => gate) });
        for (const [m, draft] of batch.entries()) extend(draft, next[m]!, maxNewTokens, model, tokenizer);
        await eventLoopTurn();
        if (signal?.aborted) throw new CrayonError('interrupted', 'stopped while answering');
      }
      open = open.filter(isOpen);
      onProgress?.(drafts.length - open.length, drafts.length);
    }
  } finally {
    adapters?.dispose();
  }
  return drafts.map(({ answer }) => answer);
}

const readLength = ({ ids, guess }: Draft) => ids.length + guess.length;

/** The greedy next token after the text, and after the text with each longer part of its guess. */
async function predict(model: Network, drafts: readonly Draft[], lora: LoraUse | undefined): Promise<Prediction[][]> {
  // padBatch takes the last token as a target only, so one of no meaning is put there
  const padded = padBatch(
    drafts.map(({ ids, guess }) => ({ ids: Int32Array.from([...ids, ...guess, 0]), promptLength: ids.length })),
  );
  const { best: ids, largest: values } = await model.predict(padded, lora);
  const next = drafts.map((): Prediction[] => []);
  padded.owners.forEach((owner, p) => {
    next[owner]!.push({ id: ids[p]!, logprob: values[p]! });
  });
  return next;
}

/** Takes over the predictions as far as the guess was right, and one more. */
function extend(
  draft: Draft,
  next: readonly Prediction[],
  maxNewTokens: number,
  model: Network,
  tokenizer: Tokenizer,
): void {
  const { ids, promptLength, guess, answer } = draft;
  draft.guess = [];
  for (const [at, { id, logprob }] of next.entries()) {
    if (ids.length - promptLength >= maxNewTokens) return;
    answer.logprobs.push(logprob);
    if (model.config.eosTokenIds.includes(id) || tokenizer.endIds.has(id)) {
      answer.ended = true;
      return;
    }
    ids.push(id);
    const [line, rest] = tokenizer.decode(ids.slice(promptLength)).split('\n', 2);
    answer.text = line!;
    answer.ended = rest !== undefined;
    if (answer.ended || guess[at] !== id) return;
  }
}

/** The answer to one prompt, beyond a line break too. @param lora its first gate is used */
export async function answerPrompt(
  model: Network,
  tokenizer: Tokenizer,
  prompt: string,
  { maxNewTokens = 24, lora }: { maxNewTokens?: number; lora?: EvaluationLora } = {},
): Promise<string> {
  const stopIds = [...model.config.eosTokenIds, ...tokenizer.endIds];
  const adapters = lora && model.attach(lora);
  const use = adapters && { adapters, gates: [lora.gates[0]!] };
  try {
    const ids = await generateGreedy(model, tokenizer.encode(prompt), { maxNewTokens, stopIds, lora: use });
    return tokenizer.decode(ids);
  } finally {
    adapters?.dispose();
  }
}

export interface GenerateOptions {
  /** tokens to add at most */
  maxNewTokens: number;
  /** ids that end the text; not returned */
  stopIds?: readonly number[];
  /** attached adapters and the coefficients of this text */
  lora?: LoraUse | undefined;
}

/**
 * The most probable continuation of the ids, one token at a time and without a cache: every step reads the whole text again.
 * For demonstrations and tests on small models; serving is the llama.cpp engine's work.
 *
 * @returns the new ids alone
 */
export async function generateGreedy(
  model: Network,
  prompt: ArrayLike<number>,
  { maxNewTokens, stopIds = [], lora }: GenerateOptions,
): Promise<number[]> {
  const ids = Array.from(prompt);
  const context = model.config.maxPositionEmbeddings;
  while (ids.length - prompt.length < maxNewTokens && ids.length < context) {
    // Padded on the right to few different lengths: what depends on the length is kept per length.
    const T = Math.min(context, Math.ceil(ids.length / 16) * 16);
    const padded = Int32Array.from({ length: T }, (_, i) => ids[i] ?? 0);
    const last = { ids: padded, B: 1, T, rows: Int32Array.of(ids.length - 1), targets: Int32Array.of(0) };
    const id = (await model.predict(last, lora)).best[0]!;
    if (stopIds.includes(id)) break;
    ids.push(id);
  }
  return ids.slice(prompt.length);
}
