/**
 * An engine that answers from a list: for tests of what stands above engines (routing, serving, benchmarks), exact and
 * without a model. Every request is recorded, so that a test can show that nothing reached this side.
 */

import assert from 'node:assert';
import { CrayonError, type ErrorCode } from '../../src/core/errors.js';
import { interrupted, throwIfAborted, untilAborted } from '../../src/engine/clock.js';
import { createSlots } from '../../src/engine/slots.js';
import {
  type AdapterScale,
  type DeviceEngine,
  type FinishReason,
  type GenerateEvent,
  type GenerateRequest,
  type Prompt,
  Query,
  type ScoreRequest,
  type TokenScore,
} from '../../src/engine/types.js';
import { type ScriptedToken, toTokenEvents } from './scripted-tokens.js';

export type { ScriptedToken } from './scripted-tokens.js';

/** Where in an answer something happens: before the start event, or when this many tokens have been sent. */
type ScriptedPoint = 'open' | number;

export interface ScriptedAnswer {
  /** a text is cut into words, each with the white space before it; logprob of every token is then ln 0.5 */
  tokens: string | ReadonlyArray<string | ScriptedToken>;
  /** by default what `tokenize` counts */
  promptTokens?: number;
  cachedTokens?: number | null;
  /** why it ends, where all of it is said; default `stop` */
  finish?: FinishReason;
  /** called before each token, awaited: lets a test hold an answer without any clock */
  beforeToken?: (index: number) => void | Promise<void>;
  /** throws here */
  fail?: { at: ScriptedPoint; error: ErrorCode | Error };
  /** says nothing more from here on, until the signal fires */
  hangAt?: ScriptedPoint;
}

/** One request as the engine has seen it. */
interface ScriptedRecord {
  request: GenerateRequest;
  /** all contents joined, as a query gives them */
  text: string;
  /** `returned`: the reader stopped reading before the end */
  outcome: 'waiting' | 'running' | 'done' | 'failed' | 'aborted' | 'returned';
  /** token events sent so far */
  tokensSent: number;
}

type ScriptedAnswers =
  | string
  | ReadonlyArray<string | ScriptedAnswer>
  | ((request: GenerateRequest, index: number) => string | ScriptedAnswer);

export interface ScriptedOptions {
  name?: string;
  /** the i-th request gets the i-th answer, all later ones the last; a text answers every request; or a function */
  answers: ScriptedAnswers;
  /** default 2048 */
  contextTokens?: number;
  /** nats a token, or what computes it, or the failure of the measurement; default 1 */
  promptNll?: number | Error | ((prompt: Prompt, adapters: readonly AdapterScale[]) => number | Promise<number>);
  /** the score of a given token by its word; by default every token has the probability one half and is the likeliest */
  score?: (word: string, index: number) => Omit<TokenScore, 'id'>;
  /** how many run at a time (default 4) and wait (default 16); one more is refused with `engine-busy` */
  capacity?: number;
  queue?: number;
}

export interface ScriptedEngine extends DeviceEngine {
  /** every generation asked for, in order */
  readonly requests: ScriptedRecord[];
  /** every prompt whose complexity was asked for */
  readonly nllRequests: Prompt[];
  /** every sequence whose tokens' log-probabilities were asked for */
  readonly scoreRequests: ScoreRequest[];
  /** every prompt or text that was tokenised */
  readonly tokenized: string[];
}

/** BOS, then one token a word: a number made from its letters, so that equal words are equal tokens. */
const BOS = 1;
const wordToken = (word: string): number =>
  3 + (([...word].reduce((hash, c) => (Math.imul(hash, 31) + c.codePointAt(0)!) | 0, 7) >>> 0) % 60_000);
const words = (text: string): string[] => text.match(/\S+/g) ?? [];

const asError = (error: ErrorCode | Error): Error =>
  typeof error === 'string' ? new CrayonError(error, `scripted failure: ${error}`) : error;

/**
 * @example
 * const device = createScriptedEngine({ answers: ['Paris', { tokens: 'no idea', fail: { at: 1, error: 'out-of-memory' } }] });
 */
export function createScriptedEngine(options: ScriptedOptions): ScriptedEngine {
  const { name = 'scripted', contextTokens = 2048, promptNll = 1 } = options;
  const slots = createSlots(name, options.capacity ?? 4, options.queue ?? 16);
  const requests: ScriptedRecord[] = [];
  const nllRequests: Prompt[] = [];
  const tokenized: string[] = [];
  const scoreRequests: ScoreRequest[] = [];
  const known = new Map<number, string>();
  let closed = false;

  const answerTo = (request: GenerateRequest, index: number): ScriptedAnswer => {
    const { answers } = options;
    const answer =
      typeof answers === 'function'
        ? answers(request, index)
        : typeof answers === 'string'
          ? answers
          : answers[Math.min(index, answers.length - 1)];
    assert(answer !== undefined, `${name}: no answer is scripted for request ${index}`);
    return typeof answer === 'string' ? { tokens: answer } : answer;
  };

  const countTokens = (prompt: Prompt): Int32Array => {
    if (prompt.kind === 'text' && prompt.ids !== undefined) return Int32Array.from(prompt.ids);
    const found = words(new Query(prompt).text);
    for (const [i, word] of found.entries()) known.set(wordToken(word), i === 0 ? word : ` ${word}`);
    return Int32Array.from([BOS, ...found.map(wordToken)]);
  };
  const wordOf = (id: number): string => (id === BOS ? '<s>' : (known.get(id) ?? ` ${id}`));

  async function* play(answer: ScriptedAnswer, record: ScriptedRecord): AsyncGenerator<GenerateEvent> {
    const { request } = record;
    const { signal } = request;
    const reach = async (point: ScriptedPoint): Promise<void> => {
      throwIfAborted(signal);
      if (answer.fail?.at === point) throw asError(answer.fail.error);
      if (answer.hangAt === point) await untilAborted(new Promise<never>(() => {}), signal);
    };
    const { events, cut } = toTokenEvents(answer.tokens, request);
    const promptTokens = answer.promptTokens ?? countTokens(request.query.prompt).length;
    const cachedTokens = answer.cachedTokens ?? null;

    await reach('open');
    yield { type: 'start', promptTokens, cachedTokens };
    for (const event of events) {
      const held = answer.beforeToken?.(record.tokensSent);
      if (held !== undefined) await untilAborted(held, signal);
      await reach(record.tokensSent);
      record.tokensSent++;
      yield event;
    }
    await reach(record.tokensSent);
    const finishReason = cut ?? answer.finish ?? 'stop';
    const usage = { promptTokens, completionTokens: record.tokensSent, cachedTokens };
    yield { type: 'end', text: '', finishReason, usage };
  }

  async function* generate(request: GenerateRequest): AsyncGenerator<GenerateEvent> {
    assert(!closed, `${name}: closed`);
    const record: ScriptedRecord = { request, text: request.query.text, outcome: 'waiting', tokensSent: 0 };
    const answer = answerTo(request, requests.push(record) - 1);
    let outcome: ScriptedRecord['outcome'] = 'returned';
    let giveBack = (): void => {};
    try {
      giveBack = await slots.take(request.signal);
      record.outcome = 'running';
      yield* play(answer, record);
      outcome = 'done';
    } catch (error) {
      outcome = request.signal.aborted ? 'aborted' : 'failed';
      throw request.signal.aborted ? interrupted() : error;
    } finally {
      record.outcome = outcome;
      giveBack();
    }
  }

  return {
    name,
    contextTokens,
    requests,
    nllRequests,
    scoreRequests,
    tokenized,
    generate,
    vocabulary: {
      bos: '<s>',
      eos: '</s>',
      start: [BOS],
      chatTemplate: null,
      spell: (ids) => ids.map((id) => (id === BOS ? '' : wordOf(id))),
      nameOf: (id) => new TextEncoder().encode(wordOf(id)),
      encode: (text) => Int32Array.from(words(text).map((word) => (word === '<s>' ? BOS : wordToken(word)))),
      decode: (ids) => ids.map(wordOf).join(''),
    },
    scoreTokens: async (request) => {
      const giveBack = await slots.take(request.signal);
      scoreRequests.push(request);
      const { score = (_, i) => ({ logprob: Math.log(0.5), best: request.ids[i]!, top: [] }) } = options;
      const tokens = request.ids.slice(request.from).map((id, i) => ({ id, ...score(wordOf(id), request.from + i) }));
      giveBack();
      return { tokens, cachedTokens: 0 };
    },
    tokenize: (prompt) => {
      tokenized.push(new Query(prompt).text);
      return countTokens(prompt);
    },
    textTokens: (text) => {
      tokenized.push(text);
      return Int32Array.from(words(text).map(wordToken));
    },
    promptNll: async ({ prompt }, adapters, signal) => {
      throwIfAborted(signal);
      nllRequests.push(prompt);
      if (promptNll instanceof Error) throw promptNll;
      return typeof promptNll === 'number'
        ? promptNll
        : untilAborted((async () => promptNll(prompt, adapters))(), signal);
    },
    load: () => slots.load(),
    close: async () => {
      closed = true;
    },
  };
}
