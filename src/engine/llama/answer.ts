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
import { Drawing, HEADS } from './drawing.js';
import type { AnswerGrammar } from './grammar/state.js';
import { offered, ToolCallReader } from './grammar/tool-calls.js';
import { bestLogprob, logprobOf, type NextToken, spread } from './next-token.js';
import type { PromptTokens, TokenPieces } from './prompt.js';
import type { Decide, SequenceReader } from './reader.js';
import { type Chosen, steering } from './steering.js';

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

/** Listing all of a small vocabulary is cheaper than asking twice. */
const SMALL_VOCABULARY = 4096;

export async function* answer(options: AnswerOptions): AsyncGenerator<GenerateEvent, void, undefined> {
  const { reader, ids, request, prompts } = options;
  const { pieces } = prompts;
  const listed = listing(request, prompts.vocabularySize);
  const dropLeadingSpace = prompts.startsText(ids) || (prompts.isPlain && request.query.prompt.kind === 'chat');
  const text = new AnswerText(request.stop, dropLeadingSpace);
  const reading =
    offered(request.query.prompt) === null ? null : new ToolCallReader(callIds(options), prompts.callForm);
  const steered: Choosing | null = steering(options) ?? (request.temperature > 0 ? new Drawing(options, listed) : null);
  const decide = steered ?? undefined;
  const counted = request.logprobs ?? true;
  const read = await reader.prompt(ids, listed, decide, counted);
  const { cachedTokens } = read;
  yield { type: 'start', promptTokens: ids.length, cachedTokens };

  let { next } = read;
  let last = ids.at(-1)!;
  let finishReason: FinishReason | null = null;
  let completionTokens = 0;
  let ending: TokenDetail | undefined;
  while (finishReason === null) {
    reader.check(); // the caller may have taken its time over the last token
    const chosen = { id: next.best, logprob: bestLogprob(next), ...steered?.chosen, next };
    completionTokens++;
    if (prompts.isEnd(chosen.id)) {
      finishReason = 'stop';
      if (request.topLogprobs !== null)
        ending = detail(chosen.id, chosen.logprob, chosen.next, request.topLogprobs, pieces);
      break;
    }
    steered?.accept?.(chosen.id);
    const event = tokenEvent(chosen, text.push(pieces.bytes(chosen.id)), request, pieces, reading);
    last = chosen.id;
    if (text.stopped) finishReason = 'stop';
    else if (completionTokens >= request.maxTokens) finishReason = 'length';
    // Computed while the caller deals with this token: one ahead, never more. A caller that reads no further does not hear of
    // its failure; the sequence is free when it is done.
    const ahead = finishReason === null ? reader.next(last, listed, decide, counted) : null;
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

function listing({ temperature, topLogprobs, distribution }: GenerateRequest, vocabularySize: number): number | 'all' {
  if (distribution) return 'all';
  if (temperature > 0 && vocabularySize <= SMALL_VOCABULARY) return 'all';
  const head = Math.max(topLogprobs ?? 0, temperature > 0 ? HEADS[0] : 0);
  return head >= vocabularySize ? 'all' : head;
}

/** What chooses a token in its turn, and hears of it; without any, the likeliest is taken. */
type Choosing = Decide & { readonly chosen: Chosen; accept?(id: number): void };

function tokenEvent(
  { id, logprob, next }: Chosen & { next: NextToken },
  text: string,
  { topLogprobs, distribution, logprobs = true }: GenerateRequest,
  pieces: TokenPieces,
  reading: ToolCallReader | null,
): GenerateEvent {
  return {
    type: 'token',
    ...readCalls(text, reading),
    logprob: logprobs || topLogprobs !== null ? logprob : null,
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
