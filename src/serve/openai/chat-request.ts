/** POST /v1/chat/completions: what may be asked (OpenAI API reference, "Create chat completion"). */

import type { ChatMessage } from '../../engine/types.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { badField } from '../http/error.js';
import { checkText, RequestFields } from './fields.js';
import { type GenerationFields, generationFields, isEmpty } from './generation-fields.js';

export interface ChatRequest extends GenerationFields {
  messages: ChatMessage[];
  /** null: as many as fit */
  maxTokens: number | null;
  /** null: none wanted; else how many alternatives for each token */
  topLogprobs: number | null;
}

const ROLES = ['system', 'developer', 'user', 'assistant'];
const UNSUPPORTED = [
  ...['tool_choice', 'functions', 'function_call', 'parallel_tool_calls', 'audio', 'prediction', 'web_search_options'],
  ...['reasoning_effort', 'verbosity'],
];

/** @throws HttpError naming the field that is wrong or not supported */
export function parseChatRequest(body: JsonObject, limits: { messages: number }): ChatRequest {
  const fields = new RequestFields(body);
  const generation = generationFields(fields);
  const messages = chatMessages(fields, limits.messages);
  const maxTokens = chatMaxTokens(fields);
  const topLogprobs = chatLogprobs(fields);
  fields.only('tools', isEmpty, 'an empty list');
  fields.only('response_format', (x) => isJsonObject(x) && x.type === 'text', '{"type": "text"}');
  fields.only('modalities', (x) => Array.isArray(x) && x.length === 1 && x[0] === 'text', '["text"]');
  fields.unsupported(...UNSUPPORTED);
  fields.end();
  return { ...generation, messages, maxTokens, topLogprobs };
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
  const top = fields.whole('top_logprobs', 0, 20);
  if (top !== undefined && top > 0 && !wanted) {
    throw badField('top_logprobs', 'top_logprobs is allowed only with logprobs: true.');
  }
  return wanted ? (top ?? 0) : null;
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
  if (!isJsonObject(value)) throw badField(where, `${where} is not an object with role and content.`);
  const fields = new RequestFields(value, where);
  const role = fields.text('role');
  if (role === undefined || !ROLES.includes(role)) throw fields.wrong('role', role, ROLES.join(', '));
  const content = contentText(fields, fields.take('content'));
  // An answer's message sent back has these, empty.
  for (const name of ['tool_calls', 'function_call', 'annotations', 'audio', 'refusal']) {
    fields.only(name, isEmpty, 'nothing in it');
  }
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
    const where = `${path}[${i}]`;
    if (!isJsonObject(part)) throw badField(where, `${where} is not a content part.`);
    const fields = new RequestFields(part, where);
    const type = fields.text('type');
    if (type !== 'text') {
      const found = JSON.stringify(type?.slice(0, 32) ?? null);
      throw badField(`${where}.type`, `${where}.type is ${found}, this server takes "text" only.`, 'unsupported_value');
    }
    const text = fields.text('text');
    if (text === undefined) throw fields.wrong('text', text, 'text');
    fields.end();
    return text;
  });
  return texts.join('\n');
}
