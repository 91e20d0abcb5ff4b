/** What may be asked of chat and text completions (OpenAI API reference, "Create chat completion", "Create completion"). */

import type { ChatMessage, Prompt } from '../../engine/types.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { MODES, type Mode } from '../../routing/types.js';
import { badField } from '../http/error.js';
import { checkText, RequestFields } from './fields.js';

/** A completion that is asked for, of either kind. */
export interface CompletionRequest {
  model: string;
  prompt: Prompt;
  stream: boolean;
  includeUsage: boolean;
  temperature: number;
  topP: number;
  seed: number | null;
  stop: string[];
  /** Null where as many as fit are wanted. */
  maxTokens: number | null;
  /** Null where no log-probabilities are wanted; else how many alternatives for each token. */
  topLogprobs: number | null;
  /** Null for the server's default. */
  mode: Mode | null;
}

const MAX_STOPS = 4;
const MAX_STOP_LENGTH = 1024;
const MAX_LOGPROBS = 20;
/** OpenAI's own default for a text completion. */
const DEFAULT_MAX_TOKENS = 16;
const ROLES = ['system', 'developer', 'user', 'assistant'];

/** Sent by many clients, without meaning here. */
const HARMLESS = ['user', 'metadata', 'safety_identifier', 'prompt_cache_key', 'service_tier'];
const UNSUPPORTED = [
  ...['tool_choice', 'functions', 'function_call', 'parallel_tool_calls', 'audio', 'prediction', 'web_search_options'],
  ...['reasoning_effort', 'verbosity'],
];
/** An answer's message sent back has these, empty. */
const EMPTY_IN_MESSAGES = ['tool_calls', 'function_call', 'annotations', 'audio', 'refusal'];

/** @throws HttpError naming the field that is wrong or not supported */
export function parseChatRequest(body: JsonObject, limits: { messages: number }): CompletionRequest {
  const fields = new RequestFields(body);
  const common = commonFields(fields);
  const messages = chatMessages(fields, limits.messages);
  const maxTokens = chatMaxTokens(fields);
  const topLogprobs = chatLogprobs(fields);
  fields.only('tools', isEmpty, 'an empty list');
  fields.only('response_format', (x) => isJsonObject(x) && x.type === 'text', '{"type": "text"}');
  fields.only('modalities', (x) => Array.isArray(x) && x.length === 1 && x[0] === 'text', '["text"]');
  fields.unsupported(...UNSUPPORTED);
  fields.end();
  return { ...common, prompt: { kind: 'chat', messages }, maxTokens, topLogprobs };
}

/** @throws HttpError naming the field that is wrong or not supported */
export function parseTextRequest(body: JsonObject): CompletionRequest {
  const fields = new RequestFields(body);
  const common = commonFields(fields);
  const text = singlePrompt(fields);
  const maxTokens = fields.whole('max_tokens', 1) ?? DEFAULT_MAX_TOKENS;
  const topLogprobs = fields.whole('logprobs', 0, MAX_LOGPROBS) ?? null;
  fields.only('echo', (x) => x === false, 'false');
  fields.only('best_of', (x) => x === 1, '1');
  fields.only('suffix', (x) => x === '', 'an empty text');
  fields.end();
  return { ...common, prompt: { kind: 'text', text }, maxTokens, topLogprobs };
}

export function requiredModel(fields: RequestFields): string {
  const model = fields.text('model');
  if (model === undefined || model === '') throw fields.wrong('model', model, 'the name of a model (GET /v1/models)');
  return model;
}

/** A mode by name, as the header x-crayon-mode has it too. */
export function checkMode(value: string, param: string): Mode {
  const mode = MODES.find((known) => known === value);
  if (mode !== undefined) return mode;
  throw badField(param, `${param} is ${JSON.stringify(value.slice(0, 32))}, expected ${MODES.join(', ')}.`);
}

function commonFields(fields: RequestFields): Omit<CompletionRequest, 'prompt' | 'maxTokens' | 'topLogprobs'> {
  const model = requiredModel(fields);
  const stream = fields.flag('stream') ?? false;
  const common = {
    model,
    stream,
    includeUsage: includesUsage(fields, stream),
    temperature: fields.number('temperature', 0, 2) ?? 1,
    // OpenAI takes 0; the likeliest token is what is left then.
    topP: (fields.number('top_p', 0, 1) ?? 1) || Number.MIN_VALUE,
    seed: fields.whole('seed', Number.MIN_SAFE_INTEGER) ?? null,
    stop: stops(fields),
    mode: modeOf(fields),
  };
  fields.harmless(...HARMLESS);
  fields.only('n', (n) => n === 1, '1');
  fields.only('presence_penalty', (x) => x === 0, '0');
  fields.only('frequency_penalty', (x) => x === 0, '0');
  fields.only('logit_bias', isEmpty, 'an empty object');
  fields.only('store', (x) => x === false, 'false');
  return common;
}

const isEmpty = (value: unknown) => typeof value === 'object' && value !== null && Object.keys(value).length === 0;

function includesUsage(fields: RequestFields, stream: boolean): boolean {
  const options = fields.object('stream_options');
  if (options === undefined) return false;
  if (!stream) throw badField('stream_options', 'stream_options is allowed only with stream: true.');
  const includeUsage = options.flag('include_usage') ?? false;
  options.only('include_obfuscation', (x) => x === false, 'false');
  options.end();
  return includeUsage;
}

function stops(fields: RequestFields): string[] {
  const value = fields.take('stop');
  if (value === undefined) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  const expected = `one text, or a list of up to ${MAX_STOPS}`;
  if (list.length > MAX_STOPS) throw fields.wrong('stop', value, expected);
  return list.map((stop) => {
    if (typeof stop !== 'string' || stop === '' || stop.length > MAX_STOP_LENGTH) {
      throw fields.wrong('stop', stop, `${expected}, each of 1 to ${MAX_STOP_LENGTH} characters`);
    }
    return checkText(stop, 'stop');
  });
}

function modeOf(fields: RequestFields): Mode | null {
  const crayon = fields.object('crayon');
  if (crayon === undefined) return null;
  const mode = crayon.text('mode');
  crayon.end();
  return mode === undefined ? null : checkMode(mode, 'crayon.mode');
}

function singlePrompt(fields: RequestFields): string {
  const value = fields.take('prompt');
  const prompt = Array.isArray(value) && value.length === 1 ? value[0] : value;
  if (typeof prompt === 'string') return checkText(prompt, 'prompt');
  if (!Array.isArray(value)) throw fields.wrong('prompt', value, 'a text');
  const message = 'prompt is a list: this server takes one text at a time, and no token ids.';
  throw badField('prompt', message, 'unsupported_value');
}

function chatMaxTokens(fields: RequestFields): number | null {
  const old = fields.whole('max_tokens', 1);
  const current = fields.whole('max_completion_tokens', 1);
  if (old !== undefined && current !== undefined && old !== current) {
    throw badField('max_tokens', `max_tokens is ${old} and max_completion_tokens is ${current}: give one of them.`);
  }
  return current ?? old ?? null;
}

function chatLogprobs(fields: RequestFields): number | null {
  const wanted = fields.flag('logprobs') ?? false;
  const top = fields.whole('top_logprobs', 0, MAX_LOGPROBS) ?? 0;
  if (top > 0 && !wanted) throw badField('top_logprobs', 'top_logprobs is allowed only with logprobs: true.');
  return wanted ? top : null;
}

function chatMessages(fields: RequestFields, limit: number): ChatMessage[] {
  const value = fields.take('messages');
  if (!Array.isArray(value) || value.length === 0) throw fields.wrong('messages', value, 'a list of messages');
  if (value.length > limit) {
    throw badField('messages', `messages has ${value.length} messages, this server takes ${limit} at most.`);
  }
  return value.map((message, i) => chatMessage(message, `messages[${i}]`));
}

function chatMessage(value: unknown, where: string): ChatMessage {
  const fields = RequestFields.of(value, where, 'an object with role and content');
  const role = fields.text('role');
  if (role === undefined || !ROLES.includes(role)) throw fields.wrong('role', role, ROLES.join(', '));
  const content = contentText(fields, fields.take('content'));
  for (const name of EMPTY_IN_MESSAGES) fields.only(name, isEmpty, 'nothing in it');
  fields.unsupported('name', 'tool_call_id');
  fields.end();
  // "developer" is the newer name of "system"; chat templates know the older one.
  return { role: role === 'developer' ? 'system' : role, content };
}

/** A text, or parts of type text, joined by newlines as llama-server and vLLM do. */
function contentText(message: RequestFields, content: unknown): string {
  const path = message.path('content');
  if (typeof content === 'string') return checkText(content, path);
  if (!Array.isArray(content) || content.length === 0) {
    throw message.wrong('content', content, 'text, or a list of parts of type text');
  }
  const texts = content.map((part, i) => {
    const fields = RequestFields.of(part, `${path}[${i}]`, 'a content part');
    const type = fields.text('type');
    if (type !== 'text') {
      const where = fields.path('type');
      const found = JSON.stringify(type?.slice(0, 32) ?? null);
      throw badField(where, `${where} is ${found}, this server takes "text" only.`, 'unsupported_value');
    }
    const text = fields.text('text');
    if (text === undefined) throw fields.wrong('text', text, 'text');
    fields.end();
    return text;
  });
  return texts.join('\n');
}
