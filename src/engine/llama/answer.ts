/** One generation pass: token by token from the distributions that a sequence gives, to the events of an answer. */

import { randomInt } from 'node:crypto';
import { eventLoopTurn } from '../../core/long-work.js';
import { createRandom, type Random } from '../../core/random.js';
import { AnswerText } from '../answer-text.js';
import type {
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  TokenDetail,
  TokenProbability,
  ToolCallPiece,
} from '../types.js';
import type { AnswerGrammar } from './grammar/state.js';
import { offered, ToolCallReader } from './grammar/tool-calls.js';
import { bestLogprob, drawToken, logprobOf, type NextToken, spread } from './next-token.js';
import type { PromptTokens, TokenPieces } from './prompt.js';
import type { Listed, SequenceReader } from './reader.js';
import { steering } from './steering.js';

export interface AnswerOptions {
  reader: SequenceReader;
  /** the prompt's tokens */
  ids: readonly number[];
  request: GenerateRequest;
  random: Random;
  prompts: PromptTokens;
  /** what the answer must be; null: free text */
  grammar: AnswerGrammar | null;
}

/**
 * Of the distribution's head, enough for most draws of a model that knows its language; those outside cost a second reading of
 * the last token. Listing all of a small vocabulary is cheaper than that, and so it is where every second draw falls outside.
 */
const SAMPLED_FROM = 1024;
const SMALL_VOCABULARY = 4096;
const TRIED_TOKENS = 8;

export async function* answer(options: AnswerOptions): AsyncGenerator<GenerateEvent, void, undefined> {
  const { reader, ids, request, prompts } = options;
  const { pieces } = prompts;
  let listed = listing(request, prompts.vocabularySize);
  const dropLeadingSpace = prompts.startsText(ids) || (prompts.isPlain && request.query.prompt.kind === 'chat');
  const text = new AnswerText(request.stop, dropLeadingSpace);
  const reading =
    offered(request.query.prompt) === null ? null : new ToolCallReader(callIds(options), prompts.callForm);
  const steered = steering(options);
  const decide = steered ?? undefined;
  const read = await reader.prompt(ids, listed, decide);
  const { cachedTokens } = read;
  yield { type: 'start', promptTokens: ids.length, cachedTokens };

  let { next } = read;
  let last = ids.at(-1)!;
  let finishReason: FinishReason | null = null;
  let completionTokens = 0;
  let missed = 0;
  let ending: TokenDetail | undefined;
  while (finishReason === null) {
    reader.check(); // the caller may have taken its time over the last token
    const chosen = steered === null ? await choose(next, last, options) : { ...steered.chosen, next };
    if (chosen.next !== next && ++missed * 2 > completionTokens && completionTokens >= TRIED_TOKENS) listed = 'all';
    completionTokens++;
    if (prompts.isEnd(chosen.id)) {
      finishReason = 'stop';
      if (request.topLogprobs !== null)
        ending = detail(chosen.id, chosen.logprob, chosen.next, request.topLogprobs, pieces);
      break;
    }
    steered?.accept(chosen.id);
    const event = tokenEvent(chosen, text.push(pieces.bytes(chosen.id)), request, pieces, reading);
    last = chosen.id;
    if (text.stopped) finishReason = 'stop';
    else if (completionTokens >= request.maxTokens) finishReason = 'length';
    // Computed while the caller deals with this token: one ahead, never more. A caller that reads no further does not hear of
    // its failure; the sequence is free when it is done.
    const ahead = finishReason === null ? reader.next(last, listed, decide) : null;
    ahead?.catch(() => {});
    if (ahead !== null) {
      // node-llama-cpp hands a batch over in its next turn of the event loop: it must come before what the reader does, or
      // the two take turns instead of working side by side (HTTP: 90 instead of 75 % of the engine's own tokens a second).
      await eventLoopTurn();
      await eventLoopTurn();
    }
    yield event;
    if (ahead !== null) next = await ahead;
  }
  const usage = { promptTokens: ids.length, completionTokens, cachedTokens };
  const rest = readCalls(text.end(), reading);
  const isCalling = finishReason === 'stop' && reading !== null && reading.count > 0;
  yield {
    type: 'end',
    ...{ ...rest, text: rest.text + (reading?.end() ?? '') },
    finishReason: isCalling ? 'tool_calls' : finishReason,
    usage,
    ...(ending === undefined ? {} : { ending }),
  };
}

/** What is text of an answer, and what calls functions. */
function readCalls(text: string, reading: ToolCallReader | null): { text: string; calls?: ToolCallPiece[] } {
  if (reading === null) return { text };
  const { calls, ...read } = reading.push(text);
  return calls.length === 0 ? read : { ...read, calls };
}

/** Ids of calls, as OpenAI's look: the same for the same seed and prompt, another one in each turn of a conversation. */
function callIds({ request, ids }: AnswerOptions): () => string {
  const random = createRandom(request.seed ?? randomInt(2 ** 32), `tool-calls-${ids.length}`);
  return () => `call_${Array.from({ length: 24 }, () => random.int(36).toString(36)).join('')}`;
}

/** What each of the tokens adds to the text of all, without the space that the tokenizer puts before a text; whole characters. */
export function* spell(
  ids: readonly number[],
  prompts: PromptTokens,
  bytesOf: (id: number) => Uint8Array,
): Generator<string, void, void> {
  const first = ids.findIndex((id) => bytesOf(id).length > 0);
  const text = new AnswerText([], first >= 0 && prompts.startsText(ids.slice(0, first)));
  for (const [i, id] of ids.entries()) yield text.push(bytesOf(id)) + (i === ids.length - 1 ? text.end() : '');
}

function listing({ temperature, topLogprobs, distribution }: GenerateRequest, vocabularySize: number): Listed {
  if (distribution) return 'all';
  if (temperature > 0 && vocabularySize <= SMALL_VOCABULARY) return 'all';
  const head = Math.max(topLogprobs ?? 0, temperature > 0 ? SAMPLED_FROM : 0);
  return head >= vocabularySize ? 'all' : head;
}

interface Chosen {
  id: number;
  logprob: number;
  next: NextToken;
}

async function choose(next: NextToken, last: number, { request, random, reader }: AnswerOptions): Promise<Chosen> {
  const { temperature, topP } = request;
  if (temperature === 0) return { id: next.best, logprob: bestLogprob(next), next };
  const uniform = random.uniform();
  const drawn = drawToken(next, { temperature, topP }, uniform);
  if (drawn !== null) return { id: next.ids[drawn]!, logprob: logprobOf(next, drawn), next };
  const whole = await reader.again(last);
  const index = drawToken(whole, { temperature, topP }, uniform)!;
  return { id: whole.ids[index]!, logprob: logprobOf(whole, index), next: whole };
}

function tokenEvent(
  { id, logprob, next }: Chosen,
  text: string,
  { topLogprobs, distribution }: GenerateRequest,
  pieces: TokenPieces,
  reading: ToolCallReader | null,
): GenerateEvent {
  return {
    type: 'token',
    ...readCalls(text, reading),
    logprob,
    ...(distribution ? spread(next) : {}),
    ...(topLogprobs === null ? {} : { detail: detail(id, logprob, next, topLogprobs, pieces) }),
  };
}

function detail(id: number, logprob: number, next: NextToken, n: number, pieces: TokenPieces): TokenDetail {
  const named = (token: number, value: number): TokenProbability => {
    const bytes = pieces.nameBytes(token);
    return { token: new TextDecoder().decode(bytes), bytes: [...bytes], logprob: value };
  };
  const top = next.ids.slice(0, n).map((token, i) => named(token, logprobOf(next, i)));
  return { ...named(id, logprob), top };
}
