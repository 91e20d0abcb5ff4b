/**
 * What may be asked through Ollama's API, as the request of OpenAI's that it means (github.com/ollama/ollama: docs/api.md,
 * api/types.go, version 0.33): limits and fields are then checked in one place, src/serve/openai/request.ts.
 *
 * How Ollama loads a model (num_ctx, num_gpu and the like) is settled here by the configuration. Such options come with every
 * request of some clients, and are taken without effect; so is `keep_alive`: the model stays loaded.
 */

import * as z from 'zod';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { whole } from '../../files/schema.js';
import { checkedFields, each, fields, flag, only, plainText } from '../http/body.js';
import { badField } from '../http/error.js';
import { type CompletionRequest, parseChatRequest, parseTextRequest, requiredModel } from '../openai/request.js';
import type { AppSettings, ServeParts } from '../parts.js';

type Limits = AppSettings['limits'];

const is = (wanted: unknown) => (value: unknown) => value === wanted;
const isEmpty = (value: unknown) => value === '' || (Array.isArray(value) && value.length === 0);
const isOff = (value: unknown) => value === false || value === '';

/** Given on under the same names, and checked there. */
const PASSED = ['temperature', 'top_p', 'min_p', 'repeat_penalty', 'presence_penalty', 'frequency_penalty'] as const;

const OPTIONS = fields({
  ...each(PASSED),
  top_k: whole(-1).optional(),
  // 0 and below: as many as fit
  num_predict: whole(Number.MIN_SAFE_INTEGER).optional(),
  // -1: another one each time
  seed: whole(Number.MIN_SAFE_INTEGER).optional(),
  stop: z.unknown().optional(),
  typical_p: only(is(1), '1'),
  tfs_z: only(is(1), '1'),
  mirostat: only(is(0), '0'),
  ...each(['mirostat_tau', 'mirostat_eta', 'penalize_newline', 'repeat_last_n']),
  ...each(['num_ctx', 'num_batch', 'num_gpu', 'main_gpu', 'num_thread', 'num_keep', 'draft_num_predict']),
  ...each(['use_mmap', 'use_mlock', 'numa', 'low_vram', 'f16_kv', 'logits_all', 'vocab_only']),
  // older ones, which some clients have still
  ...each(['num_gqa', 'embedding_only', 'rope_frequency_base', 'rope_frequency_scale']),
});

const ABOUT_LOADING = each(['keep_alive', 'truncate', 'shift']);

const COMMON = {
  model: requiredModel,
  stream: flag.default(true),
  options: OPTIONS.optional(),
  format: z.unknown().optional(),
  think: only(isOff, 'false'),
  logprobs: flag.default(false),
  top_logprobs: z.unknown().optional(),
  crayon: z.unknown().optional(),
  ...ABOUT_LOADING,
};

const CHAT_REQUEST = fields({
  ...COMMON,
  messages: z.unknown().optional(),
  tools: z.unknown().optional(),
});

const GENERATE_REQUEST = fields({
  ...COMMON,
  prompt: plainText().default(''),
  system: plainText().default(''),
  raw: flag.default(false),
  template: only(isEmpty, 'an empty text, and the whole prompt with raw: true'),
  suffix: only(isEmpty, 'an empty text'),
  context: only(isEmpty, 'an empty list, and the conversation to /api/chat'),
  images: only(isEmpty, 'an empty list'),
});

const EMBED_REQUEST = {
  model: requiredModel,
  options: OPTIONS.optional(),
  ...ABOUT_LOADING,
};
export const EMBED = fields({ ...EMBED_REQUEST, input: z.unknown().optional(), dimensions: z.unknown().optional() });
export const EMBEDDING = fields({ ...EMBED_REQUEST, prompt: plainText().default('') });
export const SHOW = fields({
  model: plainText().default(''),
  name: plainText().default(''),
  ...each(['verbose', 'system', 'template', 'options']),
});

/** What a request wants of a model: an answer, or, without a prompt, only that it is loaded. */
export type OllamaRequest = { model: string; isChat: boolean } & ({ job: CompletionRequest } | { job: null });

/** @throws HttpError naming the field that is wrong or not supported */
export function parseChat(body: JsonObject, limits: Limits, parts: ServeParts): OllamaRequest {
  const request = checkedFields(CHAT_REQUEST, body);
  const { messages = [], tools } = request;
  const about = { model: request.model, isChat: true };
  if (isEmpty(messages)) return { ...about, job: null };
  const openai = { ...common(request, parts), messages: openAiMessages(messages), tools: tools ?? null };
  return { ...about, job: withDefaults(parseChatRequest(openai, limits), request) };
}

/** @throws HttpError naming the field that is wrong or not supported */
export function parseGenerate(body: JsonObject, limits: Limits, parts: ServeParts): OllamaRequest {
  const request = checkedFields(GENERATE_REQUEST, body);
  const { prompt, system, raw, logprobs, top_logprobs: top } = request;
  const about = { model: request.model, isChat: false };
  if (prompt === '') return { ...about, job: null };
  const shared = common(request, parts);
  if (!raw) {
    const messages = [
      ...(system === '' ? [] : [{ role: 'system', content: system }]),
      { role: 'user', content: prompt },
    ];
    return { ...about, job: withDefaults(parseChatRequest({ ...shared, messages }, limits), request) };
  }
  if (system !== '') throw badField('system', 'system is not allowed with raw: true: the prompt is the whole of it.');
  const { top_logprobs: _, ...text } = shared;
  const parsed = parseTextRequest({ ...text, prompt, logprobs: logprobs ? (top ?? 0) : null }, limits);
  // Without a number OpenAI's API ends a text after 16 tokens; Ollama's goes on.
  const job = { ...parsed, maxTokens: shared.max_tokens === null ? null : parsed.maxTokens };
  return { ...about, job: withDefaults(job, request) };
}

/** `edge:latest` is `edge`: Ollama's names have a tag, and clients add that one where a name has none. */
export function servedName(name: string, { base, server }: Pick<ServeParts, 'base' | 'server'>): string {
  return name === base || name === server?.name ? name : name.replace(/:latest$/, '');
}

type Common = z.output<z.ZodObject<typeof COMMON>>;

function common(request: Common, parts: ServeParts): JsonObject {
  const { model, stream, options = {}, format, logprobs, top_logprobs: top, crayon } = request;
  const { num_predict: most = -1, seed = -1, top_k: k, stop } = options;
  const passed = PASSED.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]] as const]));
  // null is as good as absent
  return {
    ...Object.fromEntries(passed),
    model: servedName(model, parts),
    stream,
    crayon: crayon ?? null,
    logprobs,
    top_logprobs: top ?? null,
    max_tokens: most > 0 ? most : null,
    seed: seed === -1 ? null : seed,
    top_k: k === undefined || k <= 0 ? null : k,
    stop: stop === undefined || isEmpty(stop) ? null : stop,
    response_format: responseFormat(format),
  };
}

/** `json`, or a JSON schema. */
function responseFormat(format: unknown): JsonObject | null {
  if (format === undefined || format === '') return null;
  if (format === 'json') return { type: 'json_object' };
  if (isJsonObject(format)) return { type: 'json_schema', json_schema: { name: 'format', schema: format } };
  throw badField('format', 'format is not "json", and not a JSON schema.');
}

/** Ollama's own (`DefaultOptions` of api/types.go), for the device; a server LLM that is not told has its own. */
const DEFAULTS = { temperature: 0.8, topP: 0.9, topK: 40, repeatPenalty: 1.1 } as const;

function withDefaults(job: CompletionRequest, { options = {} }: Common): CompletionRequest {
  const given = { ...options } as Record<string, unknown>;
  const names = { temperature: 'temperature', topP: 'top_p', topK: 'top_k', repeatPenalty: 'repeat_penalty' } as const;
  const unasked = (Object.keys(DEFAULTS) as Array<keyof typeof DEFAULTS>).filter(
    (name) => (given[names[name]] ?? null) === null,
  );
  const defaults = Object.fromEntries(unasked.map((name) => [name, DEFAULTS[name]]));
  return { ...job, ...defaults, unasked: [...new Set([...(job.unasked ?? []), ...unasked])] };
}

/** Ollama's messages as OpenAI's: arguments are text there, and a call and its result have an id in common. */
function openAiMessages(messages: unknown): unknown {
  if (!Array.isArray(messages)) return messages;
  const open: Array<{ id: unknown; name: unknown }> = [];
  let count = 0;
  const asCall = (call: unknown) => {
    if (!isJsonObject(call) || !isJsonObject(call.function)) return call;
    const { id = `call_${count++}`, function: called } = call;
    const { name, arguments: args = {} } = called;
    open.push({ id, name });
    return {
      id,
      type: 'function',
      function: { name, arguments: typeof args === 'string' ? args : JSON.stringify(args) },
    };
  };
  const answered = (id: unknown, name: unknown) => {
    const index = open.findIndex((call) =>
      id === undefined ? name === undefined || call.name === name : call.id === id,
    );
    return index < 0 ? id : open.splice(index, 1)[0]!.id;
  };
  return messages.map((message) => {
    if (!isJsonObject(message)) return message;
    const { role, images, thinking, tool_calls: calls, tool_name: name, tool_call_id: id, ...rest } = message;
    const lower = typeof role === 'string' ? role.toLowerCase() : role;
    return {
      ...rest,
      role: lower,
      content: rest.content ?? '',
      images: isEmpty(images) ? null : (images ?? null),
      thinking: isEmpty(thinking) ? null : (thinking ?? null),
      tool_calls: Array.isArray(calls) && calls.length > 0 ? calls.map(asCall) : null,
      tool_call_id: lower === 'tool' ? answered(id ?? undefined, name ?? undefined) : null,
    };
  });
}
