/**
 * What an engine is: something that continues a prompt, token by token. The one of llama/ runs on the device, the one of
 * server/ speaks to the server LLM.
 */

import type { ChatMessage } from '../core/chat.js';
import { CrayonError } from '../core/errors.js';
import { shown } from '../core/format.js';
import type { JsonObject } from '../files/json.js';

export type { ChatMessage, ToolCall } from '../core/chat.js';

/** A function that an answer may call, as OpenAI's wire has it; `parameters` is a JSON Schema. */
export interface Tool {
  type: 'function';
  function: { name: string; description?: string; parameters?: JsonObject; strict?: boolean };
}

/** The functions that are offered; what nobody said is absent: the choice is the model's then, and calls may be several. */
export interface Tools {
  list: readonly Tool[];
  choice?: 'none' | 'auto' | 'required' | { name: string };
  parallel?: boolean;
}

/** What an answer is to be, as OpenAI's `response_format` has it; null is free text. */
export type ResponseFormat =
  | { type: 'json_object' }
  | { type: 'json_schema'; json_schema: { name: string; description?: string; schema?: JsonObject; strict?: boolean } };

/** What is to be continued: a conversation, or a text as it stands. */
export type Prompt =
  | { kind: 'chat'; messages: readonly ChatMessage[]; tools?: Tools }
  /** `ids`: the text's tokens where they are given, BOS included where it is wanted; they are the device's own */
  | { kind: 'text'; text: string; ids?: readonly number[] };

/** As which a question can be put. */
export const PROMPT_KINDS = ['chat', 'text'] as const satisfies ReadonlyArray<Prompt['kind']>;

/** A question of a data set: its turns where it is a conversation, and their text. */
export interface AskedExample {
  prompt: string;
  messages?: readonly ChatMessage[] | undefined;
}

/**
 * A question as a conversation, of one user's message where it is none, or as a text to be continued. White space at the end of a
 * text belongs to the answer, as in training; a conversation is sent as it is, and what its form makes of it is the engine's.
 */
export function promptFor({ prompt, messages }: AskedExample, form: Prompt['kind']): Prompt {
  if (form === 'text') return { kind: 'text', text: prompt.trimEnd() };
  return { kind: 'chat', messages: messages ?? [{ role: 'user', content: prompt }] };
}

/** What a query's tokens are asked of. */
export interface Tokenizing {
  /** as the model sees it, BOS included */
  tokenize(prompt: Prompt): Int32Array;
  /** The same aside from the event loop, which a chat template or a long text would stop. @throws CrayonError `interrupted` */
  tokenizeAside?(prompt: Prompt, signal: AbortSignal): Promise<Int32Array>;
}

/** What a query's embedding is asked of. */
export interface Embedding {
  /** @param messages the conversation that the text is of, where it is one */
  embed(text: string, messages?: readonly ChatMessage[]): { vector: Float32Array };
  /** The same aside from the event loop. @throws CrayonError `interrupted` */
  embedAside?(
    list: ReadonlyArray<{ text: string; messages?: readonly ChatMessage[] | undefined }>,
    signal: AbortSignal,
  ): Promise<Array<{ vector: Float32Array }>>;
}

/**
 * A prompt on its way from the server to the router to an engine. Each of them asks for its tokens, and scope and gate for its
 * embedding: both are computed when first asked for and kept, so neither is computed twice for one request, and neither at all
 * for a prompt that the device is not to read.
 */
export class Query {
  #tokens: Found<Tokenizing, Int32Array> | null = null;
  #vector: Found<Embedding, Float32Array> | null = null;

  constructor(readonly prompt: Prompt) {}

  /** What is asked, as text: the text itself, or the contents of all messages, joined by newlines. */
  get text(): string {
    const { prompt } = this;
    return prompt.kind === 'text' ? prompt.text : prompt.messages.map((message) => message.content).join('\n');
  }

  get #messages(): readonly ChatMessage[] | undefined {
    return this.prompt.kind === 'chat' ? this.prompt.messages : undefined;
  }

  /** The prompt as this engine's model sees it, BOS included; not to be changed. */
  tokens(engine: Tokenizing): Int32Array {
    if (this.#tokens?.by !== engine) this.#tokens = found(engine, engine.tokenize(this.prompt));
    return this.#tokens.value();
  }

  /**
   * Has the tokens made aside from the event loop, for a server: `tokens` has them then, or throws what making them threw.
   *
   * @throws CrayonError `interrupted` when the signal fires
   */
  async tokensAside(engine: Tokenizing, signal: AbortSignal): Promise<void> {
    if (this.#tokens?.by === engine || engine.tokenizeAside === undefined) return;
    this.#tokens = await foundAside(engine, engine.tokenizeAside(this.prompt, signal), signal);
  }

  /** The prompt's embedding (d), which scope scores and run-time blends compare; not to be changed. */
  vector(embedder: Embedding): Float32Array {
    if (this.#vector?.by !== embedder) {
      this.#vector = found(embedder, embedder.embed(this.text, this.#messages).vector);
    }
    return this.#vector.value();
  }

  /** As `tokensAside`, of `vector`. */
  async vectorAside(embedder: Embedding, signal: AbortSignal): Promise<void> {
    if (this.#vector?.by === embedder || embedder.embedAside === undefined) return;
    const made = embedder.embedAside([{ text: this.text, messages: this.#messages }], signal);
    this.#vector = await foundAside(
      embedder,
      made.then(([one]) => one!.vector),
      signal,
    );
  }
}

/** What was made of a query, or why it could not be. */
interface Found<By, T> {
  by: By;
  value(): T;
}

const found = <By, T>(by: By, value: T): Found<By, T> => ({ by, value: () => value });

async function foundAside<By, T>(by: By, making: Promise<T>, signal: AbortSignal): Promise<Found<By, T>> {
  try {
    return found(by, await making);
  } catch (error) {
    if (signal.aborted) throw error;
    return {
      by,
      value: () => {
        throw error;
      },
    };
  }
}

/** One adapter at a scale; a list of them is applied together, the empty list is the base model. */
export interface AdapterScale {
  /** stable name of the adapter's content: its digest */
  id: string;
  /** a GGUF LoRA file, named by its digest (llama.cpp caches adapters by path) */
  path: string;
  scale: number;
}

export interface GenerateRequest {
  query: Query;
  /** at least 1 */
  maxTokens: number;
  /** 0 is greedy */
  temperature: number;
  /** (0, 1]; 1 keeps every token */
  topP: number;
  seed: number | null;
  /** only the likeliest k tokens; absent or 0 for all */
  topK?: number;
  /** only tokens at least so likely as this share of the likeliest one, before temperature; absent or 0 for all */
  minP?: number;
  /** logits above 0 of the last 64 tokens, the prompt's too, are divided by it, those below multiplied; 1 does nothing */
  repeatPenalty?: number;
  /** taken off a token's logit once where the answer has it, and for each time that the answer has it */
  presencePenalty?: number;
  frequencyPenalty?: number;
  /** added to logits, by token id */
  logitBias?: ReadonlyMap<number, number>;
  /** what the answer must be: of the device every token is held to it */
  format?: ResponseFormat | null;
  /** the answer ends before the first of them that appears */
  stop: readonly string[];
  /** null: no log-probabilities wanted; n in 0..20: the chosen token's, and the n likeliest tokens' */
  topLogprobs: number | null;
  /** false: nor is `logprob` of the events, which is null then and costs nothing; default true */
  logprobs?: boolean;
  /** margin and entropy of each token's distribution are wanted: slower on llama.cpp, which lists the whole vocabulary */
  distribution?: boolean;
  /** of the above, what nobody asked for: the device needs a value, a server has its own and is not told this one */
  unasked?: ReadonlyArray<'maxTokens' | 'temperature' | 'topP' | 'topK' | 'repeatPenalty'>;
  /** the server's bound of the answer, where the device's `maxTokens` is what its context has room for */
  serverMaxTokens?: number;
  /** the device's engine only, to which none and the empty list are the base model; a router gives a query without any its own */
  adapters?: readonly AdapterScale[];
  /** ends the generation; the engine then frees what it holds for it and the iterator throws CrayonError `interrupted` */
  signal: AbortSignal;
}

/** Callers in JavaScript, or with a request of an older version. @throws CrayonError `bad-option` saying what to give */
export function refuseIncomplete({ query, signal }: GenerateRequest): void {
  const refuse = (name: string, found: unknown, kind: string, give: string): never => {
    throw new CrayonError('bad-option', `the request's ${name} is ${shown(found)}, expected ${kind}`, {
      hint: `Give ${name}: ${give} (docs/api.md).`,
    });
  };
  if (typeof query?.tokens !== 'function')
    refuse('query', query, 'a Query', "new Query({ kind: 'text', text: '...' }), or one of kind 'chat' with messages");
  if (typeof signal?.aborted !== 'boolean') refuse('signal', signal, 'an AbortSignal', 'new AbortController().signal');
}

/** What is to be scored: log-probabilities of tokens that are given. */
export interface ScoreRequest {
  /** the whole sequence, BOS included where it is wanted */
  ids: readonly number[];
  /** index of the first token to be scored, at least 1: a token is scored by what stands before it */
  from: number;
  /** the likeliest tokens to be told at each position, 0..20 */
  topLogprobs: number;
  adapters?: readonly AdapterScale[];
  /** ends the work, which then throws CrayonError `interrupted` */
  signal: AbortSignal;
  /** Token by token, as an answer is made: llama.cpp's kernels round otherwise in batches, which quantised models show. */
  asGenerated?: boolean;
}

/** One token of a sequence, under the model's own distribution after what stands before it. */
export interface TokenScore {
  id: number;
  /** natural logarithm of its probability */
  logprob: number;
  /** the likeliest token there: greedy decoding would have given this one */
  best: number;
  /** the likeliest tokens, best first, as many as were asked for */
  top: ReadonlyArray<{ id: number; logprob: number }>;
}

export interface Scores {
  /** of the tokens from `from` on */
  tokens: TokenScore[];
  /** tokens that were already in the engine's cache */
  cachedTokens: number;
}

/** The likeliest token each time, the whole answer, and nothing told beside it. */
export const GREEDY = {
  ...{ temperature: 0, topP: 1, seed: null, stop: [], topLogprobs: null },
  unasked: ['topP'],
} as const satisfies Partial<GenerateRequest>;

export interface TokenProbability {
  token: string;
  /** UTF-8 bytes of the token, which may be part of a character */
  bytes: number[];
  /** natural logarithm of the model's own probability: before temperature and top_p */
  logprob: number;
}

export interface TokenDetail extends TokenProbability {
  /** the likeliest tokens, best first */
  top: TokenProbability[];
}

export interface Usage {
  promptTokens: number;
  /** those generated: the token that ended the answer is one, as it is to vLLM and llama-server */
  completionTokens: number;
  /** prompt tokens that were already in the engine's cache; null where the engine does not say */
  cachedTokens: number | null;
  /** true: a server that does not count; these are crayon's estimates */
  estimated?: boolean;
}

/** As OpenAI has them; `content_filter` is a server's only. */
export type FinishReason = 'stop' | 'length' | 'content_filter' | 'tool_calls';

/** A piece of a call: the first of each call has its id and its function's name. */
export interface ToolCallPiece {
  /** which call of the answer */
  index: number;
  id?: string;
  name?: string;
  /** what it adds to the arguments' text */
  arguments: string;
}

export type GenerateEvent =
  /** The prompt has been read, the first token is known to come; sent once, before any token. `estimated` as in Usage. */
  | { type: 'start'; promptTokens: number; cachedTokens: number | null; estimated?: boolean }
  /**
   * One token. `text` is what can be shown now: empty while a character is incomplete or a stop text may be beginning.
   * The text of all events joined is the answer. End-of-text tokens are not sent.
   */
  | {
      type: 'token';
      text: string;
      /** natural logarithm of the chosen token's probability; null where the engine cannot say */
      logprob: number | null;
      /** probability of the best token less that of the second; with `distribution` only */
      margin?: number;
      /** entropy in nats; with `distribution` only */
      entropy?: number;
      /** with `topLogprobs` only */
      detail?: TokenDetail;
      /** of calls of functions that were offered: no part of the text */
      calls?: readonly ToolCallPiece[];
    }
  /**
   * Sent once, last. `text` is what was still held back; `ending` the token that ended the answer, which is no part of it:
   * with `topLogprobs` only, and where the engine knows it.
   */
  | {
      type: 'end';
      text: string;
      finishReason: FinishReason;
      usage: Usage;
      ending?: TokenDetail;
      calls?: readonly ToolCallPiece[];
    };

export type TokenEvent = Extract<GenerateEvent, { type: 'token' }>;

export interface Engine {
  /** what /v1/models calls it */
  readonly name: string;
  /**
   * Continues a prompt.
   *
   * @throws CrayonError `engine-busy` when the queue is full, `context-exceeded`, `interrupted` when the signal fires, and for the
   *   server LLM the codes `server-…`
   */
  generate(request: GenerateRequest): AsyncIterable<GenerateEvent>;
  close(): Promise<void>;
}

/** The tokens of the device's model. */
export interface Vocabulary {
  /** names of the tokens that begin and end texts; null where the model has none */
  bos: string | null;
  eos: string | null;
  /** what the model wants before every text: BOS, or nothing */
  start: readonly number[];
  /** source of the chat template; null for the plain form */
  chatTemplate: string | null;
  /**
   * What each of the tokens adds to the text of all: whole characters only, nothing for a control token.
   *
   * @throws CrayonError `request-invalid` for a token that the vocabulary lacks
   */
  spell(ids: readonly number[]): string[];
  /** The same for any number of tokens, while the event loop goes on. @throws as `spell`, and CrayonError `interrupted` */
  spellAside?(ids: readonly number[], signal: AbortSignal): Promise<string[]>;
  /** UTF-8 bytes of what names the token in lists of tokens: a control token's name. */
  nameOf(id: number): Uint8Array;
  /** Tokens of a text in which names of control tokens stand for these tokens, without BOS: what harnesses count with. */
  encode(text: string): Int32Array;
  /** The same aside from the event loop. @throws CrayonError `interrupted` */
  encodeAside?(text: string, signal: AbortSignal): Promise<Int32Array>;
  /** The text of tokens, control tokens by their names. @throws as `spell` */
  decode(ids: readonly number[]): string;
  decodeAside?(ids: readonly number[], signal: AbortSignal): Promise<string>;
}

/** What the router may ask of the device before it generates. */
export interface DeviceEngine extends Engine, Tokenizing {
  /** tokens of prompt and answer together */
  readonly contextTokens: number;
  /** tokens of a plain text, without BOS: the form in which build-pool embeds a prompt */
  textTokens(text: string): Int32Array;
  /** The same aside from the event loop. @throws CrayonError `interrupted` */
  textTokensAside?(text: string, signal: AbortSignal): Promise<Int32Array>;
  /**
   * Mean negative log-likelihood of the query's tokens under the model with these adapters, nats a token: the complexity
   * signal. What was read stays in the cache for the generation that follows.
   */
  promptNll(query: Query, adapters: readonly AdapterScale[], signal: AbortSignal): Promise<number>;
  /**
   * Log-probabilities of given tokens: with one pass over the sequence, less what a sequence of the engine has read and scored
   * before, so that what many sequences have in common at their beginning is computed once. Waits for its turn as a
   * generation does.
   *
   * @throws CrayonError `request-invalid` for a token that the vocabulary lacks, `context-exceeded`, `engine-busy`, `interrupted`
   */
  scoreTokens(request: ScoreRequest): Promise<Scores>;
  readonly vocabulary: Vocabulary;
  /** requests running, waiting, and the most that may wait */
  load(): { running: number; waiting: number; capacity: number; queue: number };
  /** The adapter of this file is not asked for again: the engine gives back the memory that it takes, when no request uses it. */
  forget?(path: string): void;
  /** memory that the machine can still give, in bytes; absent where the engine cannot say */
  freeBytes?(): number;
}
