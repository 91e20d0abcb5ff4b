/**
 * What may be asked of POST /v1/responses, as the chat completion that it means (OpenAI API reference, "Create a model response"):
 * the part that keeps nothing between requests, with texts and functions. Limits and most fields are checked in one place,
 * src/serve/openai/request.ts.
 */

import * as z from 'zod';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { whole } from '../../files/schema.js';
import { checkedFields, each, fields, flag, kindOf, only, plainText, says, unsupported } from '../http/body.js';
import { badField } from '../http/error.js';
import { type CompletionRequest, parseChatRequest, requiredModel } from '../openai/request.js';
import type { AppSettings } from '../parts.js';

const is = (wanted: unknown) => (value: unknown) => value === wanted;
const isUnset = (value: unknown) => isJsonObject(value) && Object.values(value).every((field) => field === null);
const NOTHING_KEPT = says(
  'is not supported by this server: nothing is kept between requests, so send the whole conversation in input',
  'unsupported_parameter',
);
const kept = z
  .unknown()
  .refine(() => false, NOTHING_KEPT)
  .optional();

const INCLUDED = ['message.output_text.logprobs', 'reasoning.encrypted_content'] as const;
const LOGPROBS = INCLUDED[0];

const RESPONSE_REQUEST = fields({
  model: requiredModel,
  input: z.unknown().refine((input) => input !== undefined, 'a text, or a list of items'),
  instructions: plainText().optional(),
  max_output_tokens: whole(1).optional(),
  ...each(['temperature', 'top_p', 'top_logprobs', 'tools', 'tool_choice', 'parallel_tool_calls', 'crayon']),
  stream: flag.default(false),
  stream_options: fields({ include_obfuscation: only(is(false), 'false') }).optional(),
  text: fields({ format: z.unknown().optional(), verbosity: only(is('medium'), '"medium"') }).default({}),
  // There is no reasoning here, so there is none to include.
  include: z.array(z.enum(INCLUDED), `a list of ${INCLUDED.join(', ')}`).default([]),
  // OpenAI's own default is true; whoever says it means to come back for the answer.
  store: only(is(false), 'false: nothing is kept'),
  previous_response_id: kept,
  conversation: kept,
  background: only(is(false), 'false'),
  truncation: only(is('disabled'), '"disabled"'),
  reasoning: only(isUnset, 'nothing in it'),
  metadata: z.record(z.string(), z.unknown(), 'an object').optional(),
  ...each(['user', 'safety_identifier', 'service_tier']),
  ...each(['prompt_cache_key', 'prompt_cache_retention', 'prompt_cache_options']),
  ...each(['prompt', 'max_tool_calls', 'moderation', 'context_management'], unsupported),
});

/** What of the request stands in its response again. */
export type Echoed = JsonObject;

/** @throws HttpError naming the field that is wrong or not supported */
export function parseResponseRequest(
  body: JsonObject,
  limits: AppSettings['limits'],
): { job: CompletionRequest; echoed: Echoed } {
  const request = checkedFields(RESPONSE_REQUEST, body);
  const { model, instructions = null, max_output_tokens: most = null, text, include, metadata = {} } = request;
  const { temperature, top_p: topP, tools = [], tool_choice: choice = 'auto', crayon = null } = request;
  const { parallel_tool_calls: parallel = true, top_logprobs: top = null, stream } = request;
  const logprobs = include.includes(LOGPROBS) || (typeof top === 'number' && top > 0);
  const hasTools = !Array.isArray(tools) || tools.length > 0;
  const format = text.format ?? { type: 'text' };
  const isText = isJsonObject(format) && format.type === 'text';
  const system = instructions === null ? [] : [{ role: 'system', content: instructions }];
  // null is as good as absent
  const chat = {
    ...{ model, stream, temperature: temperature ?? null, top_p: topP ?? null, crayon, logprobs, top_logprobs: top },
    messages: [...system, ...messagesOf(request.input)],
    max_completion_tokens: most,
    ...(hasTools && { tools: chatTools(tools), tool_choice: chatChoice(choice), parallel_tool_calls: parallel }),
    ...(!isText && { response_format: chatFormat(format) }),
  };
  const job = parseChatRequest(chat, limits);
  const echoed = {
    ...{ instructions, max_output_tokens: most, temperature: job.temperature, top_p: topP ?? 1 },
    ...{ parallel_tool_calls: parallel, tool_choice: choice, tools, text: { format }, metadata },
    ...{ previous_response_id: null, store: false, background: false, truncation: 'disabled' },
    ...{ reasoning: { effort: null, summary: null }, top_logprobs: top ?? 0, service_tier: 'default' },
  };
  return { job, echoed };
}

function messagesOf(input: unknown): unknown[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }];
  if (!Array.isArray(input)) throw badField('input', `input is ${kindOf(input)}, expected a text, or a list of items.`);
  const messages: JsonObject[] = [];
  for (const [i, item] of input.entries()) {
    const at = `input[${i}]`;
    if (!isJsonObject(item)) throw badField(at, `${at} is ${kindOf(item)}, expected an object.`);
    const { type = 'message' } = item;
    if (type === 'message') messages.push({ role: item.role, content: textOf(item.content, `${at}.content`) });
    else if (type === 'function_call') {
      const last = messages.at(-1);
      const call = {
        id: item.call_id,
        type: 'function',
        function: { name: item.name, arguments: item.arguments },
      };
      // Calls of one turn are items of their own here, and of one message there.
      if (last?.role === 'assistant') last.tool_calls = [...((last.tool_calls as unknown[]) ?? []), call];
      else messages.push({ role: 'assistant', content: '', tool_calls: [call] });
    } else if (type === 'function_call_output') {
      const content = textOf(item.output, `${at}.output`);
      messages.push({ role: 'tool', tool_call_id: item.call_id, content });
    } else {
      const known = 'message, function_call and function_call_output';
      throw badField(`${at}.type`, `${at}.type is ${kindOf(type)}, this server takes ${known}.`, 'unsupported_value');
    }
  }
  return messages;
}

/** Texts in either direction, and refusals, which are texts. */
function textOf(content: unknown, at: string): unknown {
  if (!Array.isArray(content)) return content;
  return content.map((part, i) => {
    const { type, text, refusal }: JsonObject = isJsonObject(part) ? part : { type: part };
    if (type === 'input_text' || type === 'output_text' || type === 'text') return { type: 'text', text };
    if (type === 'refusal') return { type: 'text', text: refusal };
    const param = `${at}[${i}].type`;
    throw badField(param, `${param} is ${kindOf(type)}, this server takes input_text only.`, 'unsupported_value');
  });
}

/** A function's fields stand in the tool itself here, and one level down there. */
function chatTools(tools: unknown): unknown {
  if (!Array.isArray(tools)) return tools;
  return tools.map((tool, i) => {
    const { type, ...called }: JsonObject = isJsonObject(tool) ? tool : { type: tool };
    if (type === 'function') return { type, function: called };
    const param = `tools[${i}].type`;
    throw badField(param, `${param} is ${kindOf(type)}, this server takes "function" only.`, 'unsupported_value');
  });
}

function chatChoice(choice: unknown): unknown {
  return isJsonObject(choice) && choice.type === 'function'
    ? { type: 'function', function: { name: choice.name } }
    : choice;
}

function chatFormat(format: unknown): unknown {
  if (!isJsonObject(format) || format.type !== 'json_schema') return format;
  const { type, ...schema } = format;
  return { type, json_schema: schema };
}
