/** What may be asked of chat and text completions (OpenAI API reference, "Create chat completion", "Create completion"). */

import * as z from 'zod';
import { LIMITS } from '../../core/limits.js';
import type { GenerateRequest, Prompt } from '../../engine/types.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { whole } from '../../files/schema.js';
import { MODES, type Mode } from '../../routing/types.js';
import { checkedFields, each, fields, flag, number, oneOf, only, plainText, says, unsupported } from '../http/body.js';
import { badField } from '../http/error.js';
import type { AppSettings } from '../parts.js';
import { CONVERSATION, promptOf } from './conversation.js';

/** What an engine is told as it was asked for. */
type Sampling = Pick<GenerateRequest, (typeof SAMPLING)[number]>;
const SAMPLING = [
  ...(['temperature', 'topP', 'topK', 'minP', 'repeatPenalty', 'presencePenalty', 'frequencyPenalty'] as const),
  ...(['logitBias', 'seed', 'stop', 'topLogprobs', 'unasked', 'format'] as const),
] as const satisfies ReadonlyArray<keyof GenerateRequest>;

/** Of a request, what its engine is told as it is. */
export function samplingOf(job: CompletionRequest): Sampling {
  return Object.fromEntries(SAMPLING.map((name) => [name, job[name]])) as unknown as Sampling;
}

/** A completion that is asked for, of either kind. */
export interface CompletionRequest extends Sampling {
  model: string;
  /** answers to each prompt; absent for one */
  n?: number;
  /** at least one; the functions that are offered are a conversation's (`Prompt`) */
  prompts: readonly GivenPrompt[];
  /** whether the prompts are sent back before their answers */
  echo: boolean;
  stream: boolean;
  includeUsage: boolean;
  /** Null where as many as fit are wanted; 0 with `echo` only. */
  maxTokens: number | null;
  /** Null for the server's default. */
  mode: Mode | null;
}

/** Tokens are the device's own, BOS included where it is wanted. */
export type GivenPrompt = Prompt | { kind: 'tokens'; ids: readonly number[] };

type Limits = AppSettings['limits'];

/** OpenAI's own default for a text completion. */
const DEFAULT_MAX_TOKENS = 16;

const isFalse = (value: unknown) => value === false;
const isOne = (value: unknown) => value === 1;

const MODEL = 'the name of a model (GET /v1/models)';
export const requiredModel = plainText(MODEL).min(1, MODEL);

const stopText = plainText().min(1).max(LIMITS.stopCharacters);
const stops = z
  .unknown()
  .transform((value): unknown[] => (Array.isArray(value) ? value : [value]))
  .pipe(
    z.custom<string[]>((list) => {
      return Array.isArray(list) && list.every((stop) => stopText.safeParse(stop).success);
    }, `one text, or a list of texts, each of 1 to ${LIMITS.stopCharacters} characters that a tokenizer can take`),
  );

const BIAS = `an object of numbers from -100 to 100 by token id, at most ${LIMITS.logitBias}`;
const logitBias = z
  .custom<Record<string, number>>((value) => {
    if (!isJsonObject(value) || Object.keys(value).length > LIMITS.logitBias) return false;
    return Object.entries(value).every(
      ([id, bias]) => /^(0|[1-9]\d{0,8})$/.test(id) && typeof bias === 'number' && Math.abs(bias) <= 100,
    );
  }, BIAS)
  .transform((value) => new Map(Object.entries(value).map(([id, bias]) => [Number(id), bias])));

const COMMON = {
  model: requiredModel,
  stream: flag.default(false),
  stream_options: fields({
    include_usage: flag.default(false),
    include_obfuscation: only(isFalse, 'false'),
  }).optional(),
  // OpenAI's default of both is 1, for the device; a server that is not told has its own.
  temperature: number(0, 2).optional(),
  top_p: number(0, 1).optional(),
  seed: whole(Number.MIN_SAFE_INTEGER).nullable().default(null),
  stop: stops.default([]),
  crayon: fields({ mode: oneOf(MODES).optional() }).optional(),
  // Sent by many clients, without meaning here.
  ...each(['user', 'metadata', 'safety_identifier', 'prompt_cache_key', 'service_tier']),
  n: whole(1).default(1),
  presence_penalty: number(-2, 2).default(0),
  frequency_penalty: number(-2, 2).default(0),
  logit_bias: logitBias.optional(),
  // llama.cpp's own
  top_k: whole(0).optional(),
  min_p: number(0, 1).optional(),
  repeat_penalty: number(0.01, 10).optional(),
  store: only(isFalse, 'false'),
};

const CHAT_REQUEST = fields({
  ...COMMON,
  ...CONVERSATION,
  max_tokens: whole(1).optional(),
  max_completion_tokens: whole(1).optional(),
  logprobs: flag.default(false),
  top_logprobs: whole(0, LIMITS.topLogprobs).default(0),
  modalities: only((x) => Array.isArray(x) && x.length === 1 && x[0] === 'text', '["text"]'),
  ...each(['functions', 'function_call', 'audio', 'prediction'], unsupported),
  ...each(['web_search_options', 'reasoning_effort', 'verbosity'], unsupported),
});

const PROMPTS = 'a text, a list of texts, the token ids of one prompt, or a list of such lists';
const isIds = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length > 0 && value.every((id) => Number.isSafeInteger(id) && id >= 0);
const isText = (value: unknown): value is string => typeof value === 'string';

/** Null for anything else. */
function promptList(value: unknown): GivenPrompt[] | null {
  const list: unknown[] = Array.isArray(value) && !isIds(value) ? value : [value];
  if (list.length === 0) return null;
  if (list.every(isIds)) return list.map((ids) => ({ kind: 'tokens', ids }));
  return list.every(isText) ? list.map((text) => ({ kind: 'text', text })) : null;
}

const promptText = plainText(); // made once: a request may have thousands
const prompts = z
  .unknown()
  .transform(promptList)
  .pipe(z.custom<GivenPrompt[]>((list) => list !== null, PROMPTS))
  .refine(
    (list) => list.every((one) => one.kind !== 'text' || promptText.safeParse(one.text).success),
    says('has a NUL character, or half a surrogate pair, which is no character'),
  );

const TEXT_REQUEST = fields({
  ...COMMON,
  prompt: prompts,
  max_tokens: whole(0).default(DEFAULT_MAX_TOKENS),
  logprobs: whole(0, LIMITS.topLogprobs).nullable().default(null),
  echo: flag.default(false),
  best_of: only(isOne, '1'),
  suffix: only((x) => x === '', 'an empty text'),
});

/** @throws HttpError naming the field that is wrong or not supported */
export function parseChatRequest(body: JsonObject, limits: Limits): CompletionRequest {
  const { messages: sent } = body;
  if (Array.isArray(sent) && sent.length > limits.messages) {
    throw badField('messages', `messages has ${sent.length} messages, this server takes ${limits.messages} at most.`);
  }
  const request = checkedFields(CHAT_REQUEST, body);
  const { max_tokens: old, max_completion_tokens: current, logprobs, top_logprobs: top } = request;
  if (old !== undefined && current !== undefined && old !== current) {
    throw badField('max_tokens', `max_tokens is ${old} and max_completion_tokens is ${current}: give one of them.`);
  }
  if (top > 0 && !logprobs) throw badField('top_logprobs', 'top_logprobs is allowed only with logprobs: true.');
  const prompt = promptOf(request);
  const maxTokens = current ?? old ?? null;
  const format = request.response_format ?? null;
  return {
    ...common(request, limits),
    format,
    prompts: [prompt],
    echo: false,
    maxTokens,
    topLogprobs: logprobs ? top : null,
  };
}

/** @throws HttpError naming the field that is wrong or not supported */
export function parseTextRequest(body: JsonObject, limits: Limits): CompletionRequest {
  const request = checkedFields(TEXT_REQUEST, body);
  const { prompt: prompts, echo, max_tokens: maxTokens, logprobs: topLogprobs } = request;
  if (prompts.length > limits.prompts) {
    throw badField('prompt', `prompt has ${prompts.length} prompts, this server takes ${limits.prompts} at most.`);
  }
  if (maxTokens === 0 && !echo) throw badField('max_tokens', 'max_tokens is 0, which is allowed only with echo: true.');
  if (echo && request.n > 1)
    throw badField('n', 'n is not supported by this server with echo.', 'unsupported_parameter');
  if (request.stream && (echo || prompts.length > 1)) {
    const problem = 'stream is not supported by this server with echo, or with several prompts.';
    throw badField('stream', problem, 'unsupported_parameter');
  }
  return { ...common(request, limits), prompts, echo, maxTokens, topLogprobs };
}

function common(request: z.output<z.ZodObject<typeof COMMON>>, limits: Limits) {
  const { model, stream, stream_options: options, temperature, top_p: topP, seed, stop, crayon } = request;
  if (options !== undefined && !stream) {
    throw badField('stream_options', 'stream_options is allowed only with stream: true.');
  }
  if (request.n > LIMITS.answers) {
    throw badField('n', `n is ${request.n}, this server gives ${LIMITS.answers} answers at most.`);
  }
  if (stop.length > limits.stops) {
    throw badField('stop', `stop has ${stop.length} texts, this server takes ${limits.stops} at most.`);
  }
  return {
    model,
    stream,
    includeUsage: options?.include_usage ?? false,
    temperature: temperature ?? 1,
    // OpenAI takes 0; the likeliest token is what is left then.
    topP: (topP ?? 1) || Number.MIN_VALUE,
    unasked: [
      ...(typeof temperature === 'number' ? [] : (['temperature'] as const)),
      ...(typeof topP === 'number' ? [] : (['topP'] as const)),
    ],
    seed,
    stop,
    n: request.n,
    topK: request.top_k,
    minP: request.min_p,
    repeatPenalty: request.repeat_penalty,
    presencePenalty: request.presence_penalty,
    frequencyPenalty: request.frequency_penalty,
    logitBias: request.logit_bias?.size ? request.logit_bias : undefined,
    mode: crayon?.mode ?? null,
  };
}

const MODE_HEADER = 'x-crayon-mode';
const HEADERS = fields({ [MODE_HEADER]: oneOf(MODES).optional() });

/** The mode that the header names, or null. */
export function modeOfHeader({ headers }: Request): Mode | null {
  return checkedFields(HEADERS, { [MODE_HEADER]: headers.get(MODE_HEADER)?.toLowerCase() })[MODE_HEADER] ?? null;
}
