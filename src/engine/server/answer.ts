/**
 * The bytes of an answer as events of a stream, and its documents, streamed chunks or one whole completion, as engine events.
 *
 * Servers differ, and all of this is met in the wild: chunks that hold only a role, empty `choices`, usage in every chunk, in
 * a chunk of its own or never, log-probabilities of several tokens in one chunk, an `error` object after a good start, reasons
 * for the end that are none, answers without a word. What is no whole answer is an error.
 */

import { createParser } from 'eventsource-parser';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { AnswerText } from '../answer-text.js';
import type {
  FinishReason,
  GenerateRequest,
  Query,
  TokenDetail,
  TokenEvent,
  TokenProbability,
  Usage,
} from '../types.js';
import { type Finish, finishOf, finishReasonOf, saidBy } from './choice.js';
import type { ServerContext } from './options.js';

/** Some servers write their counts as texts. */
function count(value: unknown): number | null {
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : null;
}

/** The message of an error document in OpenAI's shape or one of its relatives, or null where it is none. */
export function errorMessage(document: unknown): string | null {
  if (Array.isArray(document)) return document.length === 0 ? null : errorMessage(document[0]); // Gemini's
  if (!isJsonObject(document)) return null;
  const { error, message, detail } = document;
  if (typeof error === 'string' && error !== '') return error;
  if (error === true || (typeof error === 'number' && error !== 0)) return String(error);
  if (isJsonObject(error)) return typeof error.message === 'string' ? error.message : JSON.stringify(error);
  if (document.object === 'error' && typeof message === 'string') return message; // vLLM's older shape
  if (detail !== undefined && document.choices === undefined) {
    return typeof detail === 'string' ? detail : JSON.stringify(detail); // FastAPI's
  }
  return typeof message === 'string' && document.choices === undefined ? message : null;
}

/** About how many tokens a prompt has: four bytes each, and a few for what a chat template puts around a message. */
export function estimatePromptTokens({ prompt, text }: Query): number {
  const around = prompt.kind === 'chat' ? 4 * prompt.messages.length : 1;
  const tools = prompt.kind === 'chat' && prompt.tools !== undefined ? JSON.stringify(prompt.tools.list) : '';
  return Math.ceil(Buffer.byteLength(text + tools) / 4) + around;
}

/** Reads one answer, document by document. */
export class AnswerReader {
  /** token events so far */
  tokens = 0;
  /** null until the server says why it ended */
  finishReason: FinishReason | null = null;
  /** null while the server has not counted */
  usage: Usage | null = null;
  #sawChoice = false;
  #hasText = false;
  #hasThought = false;
  /** the first half of a character whose second half the next piece has */
  #half = '';
  readonly #server: ServerContext;
  readonly #request: GenerateRequest;
  /** Servers pass over a `stop` that they do not know, or know by another name. */
  readonly #shown: AnswerText;

  constructor(server: ServerContext, request: GenerateRequest) {
    this.#server = server;
    this.#request = request;
    this.#shown = new AnswerText(request.stop, false);
  }

  /** Whether calls are an answer: where functions were offered. */
  get #hasTools(): boolean {
    const { prompt } = this.#request.query;
    return prompt.kind === 'chat' && (prompt.tools?.list.length ?? 0) > 0;
  }

  /** The server's count; crayon's estimate until it has counted. */
  counted(): Usage {
    if (this.usage !== null) return this.usage;
    const promptTokens = estimatePromptTokens(this.#request.query);
    return { promptTokens, completionTokens: this.tokens, cachedTokens: null, estimated: true };
  }

  /**
   * @returns the token events of one document, which may be none
   * @throws CrayonError `server-failed` for an error document, and for an end that is none; `server-invalid`
   */
  read(document: unknown): TokenEvent[] {
    this.#refuseError(document);
    if (!isJsonObject(document) || !Array.isArray(document.choices ?? [])) {
      throw this.#invalid('sent something that is no completion');
    }
    this.#readUsage(document.usage);
    const choices = ((document.choices ?? []) as unknown[]).filter(isJsonObject);
    const choice = choices.find(({ index }) => Number(index ?? 0) === 0);
    if (choice === undefined) return [];
    this.#sawChoice = true;
    this.#refuseError({ choices, error: choice.error });
    const events = this.#tokenEvents(choice);
    this.tokens += events.length;
    // What is generated is bounded by max_tokens, where it was sent; a piece of text may be smaller than a token, but not so much.
    const { maxTokens, unasked = [] } = this.#request;
    if (this.tokens > 16 * maxTokens + 256 && !unasked.includes('maxTokens')) {
      throw this.#invalid(`sent ${this.tokens} pieces of text for max_tokens ${maxTokens}`);
    }
    this.#readFinish(choice.finish_reason);
    return this.#request.stop.length === 0 ? events : this.#upToStop(events);
  }

  /** What follows a stop text is read for its count alone. */
  #upToStop(events: readonly TokenEvent[]): TokenEvent[] {
    return events.flatMap((event) => (this.#shown.stopped ? [] : [{ ...event, text: this.#shown.take(event.text) }]));
  }

  /**
   * After the last document.
   *
   * @returns what was still held back
   * @throws CrayonError `server-invalid` where no document held a choice, or none said why the answer ends; `server-refused` for an
   *   answer without a word
   */
  end(): string {
    if (!this.#sawChoice) throw this.#invalid('sent an answer without any choice');
    if (this.finishReason === null) {
      this.#count('none');
      throw this.#invalid('ended its answer without a finish_reason');
    }
    if (this.#half !== '') throw this.#invalid('ended its answer within a character');
    if (this.#shown.stopped) this.finishReason = 'stop';
    this.#count(this.finishReason);
    return this.#shown.end();
  }

  /**
   * An answer without a word is no answer, but where a text of `stop` may have come first.
   *
   * @throws CrayonError `server-refused`, with `isEmpty` in its details
   */
  refuseEmpty(): void {
    if (this.#hasText) return;
    const { finishReason } = this;
    if (finishReason === 'stop' && this.#request.stop.length > 0 && !this.#hasThought) return;
    const why =
      finishReason === 'content_filter'
        ? 'its content filter left nothing of the answer'
        : this.#hasThought
          ? `gave its reasoning and no answer (finish_reason ${finishReason})`
          : `gave an empty answer (finish_reason ${finishReason})`;
    throw this.#server.failure('server-refused', why, { isEmpty: true });
  }

  #invalid(what: string): Error {
    return this.#server.failure('server-invalid', this.#server.quote(what));
  }

  #count(finish: Finish): void {
    this.#server.settings.onEvent({ type: 'finish', finish });
  }

  #refuseError(document: unknown): void {
    const message = errorMessage(document);
    if (message === null) return;
    throw this.#server.failure('server-failed', `failed: ${this.#server.quote(message)}`);
  }

  #readUsage(usage: unknown): void {
    if (!isJsonObject(usage)) return;
    const promptTokens = count(usage.prompt_tokens);
    const completionTokens = count(usage.completion_tokens);
    if (promptTokens === null || completionTokens === null) return;
    const details = isJsonObject(usage.prompt_tokens_details) ? usage.prompt_tokens_details : {};
    this.usage = { promptTokens, completionTokens, cachedTokens: count(details.cached_tokens) };
  }

  /** A reason that is not known is no success: whoever reads half an answer must not take it for a whole one. */
  #readFinish(said: unknown): void {
    const finish = finishOf(said);
    if (finish === null) return;
    this.finishReason = finishReasonOf(finish, this.#hasTools);
    if (this.finishReason !== null) return;
    this.#count(finish);
    if (finish === 'tool_calls') throw this.#invalid('answered with a tool call, but no tool was offered');
    const word = this.#server.quote(JSON.stringify(said).slice(0, 80));
    throw this.#server.failure('server-failed', `gave its answer up with finish_reason ${word}`);
  }

  #tokenEvents(choice: JsonObject): TokenEvent[] {
    const said = saidBy(choice, (what) => this.#invalid(what), this.#hasTools);
    const calls = said.calls.length === 0 ? {} : { calls: said.calls };
    this.#hasText ||= said.calls.length > 0;
    this.#hasThought ||= said.hasThought;
    const text = this.#wholeCharacters(said.text);
    this.#hasText ||= text !== '';
    const read = readLogprobs(choice.logprobs);
    if (this.#request.topLogprobs === null || read.length === 0) {
      return text === '' && said.calls.length === 0 ? [] : [{ type: 'token', text, logprob: null, ...calls }];
    }
    const bad = read
      .flatMap(({ detail }) => (detail === undefined ? [] : [detail, ...detail.top]))
      .find(isAboveCertain);
    if (bad !== undefined) {
      throw this.#invalid(`sent the log-probability ${bad.logprob}, expected 0 or less`);
    }
    // A server holds text back (half a character, a stop text that may begin) while it already lists the tokens; only where the
    // two agree does each token carry its own text.
    const agree = read.map((r) => r.token).join('') === text;
    return read.map(({ token, logprob, detail }, i) => ({
      type: 'token',
      text: agree ? token : i === read.length - 1 ? text : '',
      logprob,
      ...(detail === undefined ? {} : { detail: { ...detail, top: detail.top.slice(0, this.#request.topLogprobs!) } }),
      ...(i === read.length - 1 ? calls : {}),
    }));
  }

  /** A pair of surrogates may come in two pieces; half of one is no character. */
  #wholeCharacters(piece: string): string {
    const text = this.#half + piece;
    const cut = /[\uD800-\uDBFF]$/.test(text) ? text.length - 1 : text.length;
    this.#half = text.slice(cut);
    const whole = text.slice(0, cut);
    if (/\p{Surrogate}/u.test(whole)) throw this.#invalid('sent half a character');
    return whole;
  }
}

/** OpenAI has two forms of log-probabilities: chat's, and the older one of completions. */
interface ReadToken {
  token: string;
  /** null where the server names the token without a probability */
  logprob: number | null;
  /** absent without a log-probability */
  detail?: TokenDetail;
}

const finite = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

/** Log-probabilities of certain tokens come out above 0 by rounding; what is beyond that is none, and would be taken for confidence. */
const ROUNDING = 1e-3;
const isAboveCertain = ({ logprob }: TokenProbability): boolean => logprob > 0;

const bytesOf = (token: string): number[] => [...new TextEncoder().encode(token)];

function probability(token: unknown, logprob: unknown, bytes?: unknown): TokenProbability | null {
  if (typeof token !== 'string' || !finite(logprob)) return null;
  const given = Array.isArray(bytes) && bytes.every((b) => Number.isInteger(b) && b >= 0 && b <= 255);
  const rounded = logprob > 0 && logprob <= ROUNDING ? 0 : logprob;
  return { token, bytes: given ? (bytes as number[]) : bytesOf(token), logprob: rounded };
}

const known = (list: ReadonlyArray<TokenProbability | null>): TokenProbability[] => list.filter((p) => p !== null);

/**
 * The tokens of one chunk or document.
 *
 * @returns empty where there are none, or where they are in no form that is known
 */
export function readLogprobs(logprobs: unknown): ReadToken[] {
  if (!isJsonObject(logprobs)) return [];
  if (Array.isArray(logprobs.content)) return readChatForm(logprobs.content);
  if (Array.isArray(logprobs.tokens)) return readCompletionForm(logprobs as { tokens: unknown[] });
  return [];
}

/** `content: [{token, logprob, bytes, top_logprobs: [{token, logprob, bytes}]}]` */
function readChatForm(content: readonly unknown[]): ReadToken[] {
  return content.filter(isJsonObject).flatMap((entry): ReadToken[] => {
    if (typeof entry.token !== 'string') return [];
    const chosen = probability(entry.token, entry.logprob, entry.bytes);
    if (chosen === null) return [{ token: entry.token, logprob: null }];
    const listed = Array.isArray(entry.top_logprobs) ? entry.top_logprobs.filter(isJsonObject) : [];
    const top = known(listed.map((t) => probability(t.token, t.logprob, t.bytes)));
    return [{ token: chosen.token, logprob: chosen.logprob, detail: { ...chosen, top } }];
  });
}

/** `tokens: [..], token_logprobs: [..], top_logprobs: [{token: logprob}]` */
function readCompletionForm(logprobs: {
  tokens: unknown[];
  token_logprobs?: unknown;
  top_logprobs?: unknown;
}): ReadToken[] {
  const values = Array.isArray(logprobs.token_logprobs) ? logprobs.token_logprobs : [];
  const tops = Array.isArray(logprobs.top_logprobs) ? logprobs.top_logprobs : [];
  return logprobs.tokens.flatMap((token, i): ReadToken[] => {
    if (typeof token !== 'string') return [];
    const chosen = probability(token, values[i]);
    if (chosen === null) return [{ token, logprob: null }];
    const listed = isJsonObject(tops[i]) ? Object.entries(tops[i]) : [];
    const top = known(listed.map(([word, logprob]) => probability(word, logprob)));
    top.sort((a, b) => b.logprob - a.logprob);
    return [{ token, logprob: chosen.logprob, detail: { ...chosen, top } }];
  });
}

/** Bytes to text, piece by piece; without any, the end. What is not UTF-8 is refused, not replaced: it would be another answer. */
export function utf8Decoder(failure: ServerContext['failure']): (bytes?: Uint8Array) => string {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  return (bytes) => {
    try {
      return decoder.decode(bytes, { stream: bytes !== undefined });
    } catch {
      throw failure('server-invalid', 'sent bytes that are not UTF-8');
    }
  };
}

/** Fed with the body as it comes, within bounds; characters and lines may be cut anywhere. */
export function eventStream({ failure, settings }: ServerContext) {
  const { maxEventBytes } = settings;
  const decode = utf8Decoder(failure);
  let events: string[] = [];
  let isTooLong = false;
  const parser = createParser({
    maxBufferSize: maxEventBytes, // of an event or an unfinished line
    onEvent: ({ data }) => events.push(data),
    // Fields and comments that are not known are no reason to give up an answer; a line without end is.
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded') isTooLong = true;
    },
  });
  const parse = (text: string): string[] => {
    if (text !== '') parser.feed(text);
    const complete = events;
    events = [];
    if (isTooLong || complete.some((data) => data.length > maxEventBytes)) {
      throw failure('server-invalid', `sent an event of more than ${maxEventBytes} bytes`);
    }
    return complete;
  };
  return {
    /**
     * @returns the data of the events that are complete now
     * @throws CrayonError `server-invalid` for an event beyond the bound
     */
    feed: (bytes: Uint8Array): string[] => parse(decode(bytes)),
    /** At the end of the body: the event that only lacks its empty line, as some servers leave it. */
    end: (): string[] => parse(`${decode()}\n\n`),
  };
}
