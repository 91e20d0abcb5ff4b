/** What a chat request says: its messages, the functions that it offers, and the form that it wants its answer in. */

import * as z from 'zod';
import { LIMITS } from '../../core/limits.js';
import type { ChatMessage, Prompt, ResponseFormat, Tool, ToolCall, Tools } from '../../engine/types.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { whole } from '../../files/schema.js';
import { each, fields, flag, kindOf, oneOf, only, plainText, says, textOrList, withoutNulls } from '../http/body.js';
import { badField } from '../http/error.js';

const MISSING = 'missing_required_parameter';
const isEmpty = (value: unknown) => typeof value === 'object' && value !== null && Object.keys(value).length === 0;

const functionName = plainText().regex(/^[\w.-]{1,64}$/, '1 to 64 letters, digits, underscores, dashes or points');
/** A JSON Schema: what an engine makes of it is the engine's to say. */
const jsonSchema = z.custom<JsonObject>(isJsonObject, 'a JSON Schema, an object');

const FORMAT = 'an object with type text, json_object or json_schema';
const format = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ type: z.literal('text') }),
    z.strictObject({ type: z.literal('json_object') }),
    z.strictObject({
      type: z.literal('json_schema'),
      json_schema: fields({
        name: functionName,
        description: plainText().optional(),
        schema: jsonSchema.optional(),
        strict: flag.optional(),
      }),
    }),
  ],
  FORMAT,
);
/** Free text is what there is without it. */
const responseFormat = z.preprocess(withoutNulls, format).transform((one): ResponseFormat | null => {
  return one.type === 'text' ? null : (one as ResponseFormat);
});

const otherType = ({ input }: { input?: unknown }) => `is ${kindOf(input)}, this server takes "text" only`;
const part = fields(
  {
    type: z.unknown().refine((type) => type === 'text', says(otherType, 'unsupported_value')),
    text: plainText(),
  },
  'a content part',
);
const PARTS = 'text, or a list of parts of type text';
/** A text, or parts of type text, joined by newlines as llama-server and vLLM do. */
const content = textOrList(
  plainText(PARTS),
  z
    .array(part)
    .min(1, PARTS)
    .transform((parts) => parts.map(({ text }) => text).join('\n')),
);

const call = fields(
  {
    id: plainText().min(1).max(LIMITS.messageId),
    type: z.literal('function', '"function"'),
    function: fields({ name: functionName, arguments: plainText() }),
    index: whole(0).optional(), // of a stream's piece: clients send it back
  },
  'a call of a function',
).transform(({ index: _, ...rest }): ToolCall => rest);

const message = fields(
  {
    role: oneOf(['system', 'developer', 'user', 'assistant', 'tool']),
    content: content.optional(),
    // lm-evaluation-harness says it of every message.
    type: only((x) => x === 'text', '"text"'),
    // An answer's message sent back has these, empty.
    ...each(['function_call', 'annotations', 'audio', 'refusal'], only(isEmpty, 'nothing in it')),
    tool_calls: z
      .array(call, 'a list of calls of functions')
      .max(LIMITS.tools, `at most ${LIMITS.tools} calls`)
      .optional(),
    tool_call_id: plainText().min(1).max(LIMITS.messageId).optional(),
    // OpenAI's own form of it; agents that talk with each other send it always.
    name: plainText()
      .regex(/^[^\s<|\\/>]{1,64}$/, '1 to 64 characters, none of them white space or one of < | \\ / >')
      .optional(),
  },
  'an object with role and content',
)
  .superRefine(({ role, content, tool_calls: calls = [], tool_call_id: id }, context) => {
    const wrong = (field: string, message: string, code: string): void => {
      context.addIssue({ code: 'custom', path: [field], message, params: { code } });
    };
    if (content === undefined && calls.length === 0) wrong('content', `is missing, expected ${PARTS}`, MISSING);
    if (role === 'tool' && id === undefined)
      wrong('tool_call_id', 'is missing, expected the id of the call that this is the result of', MISSING);
    if (role !== 'tool' && id !== undefined) wrong('tool_call_id', 'is allowed only with role tool', 'invalid_value');
    if (role !== 'assistant' && calls.length > 0)
      wrong('tool_calls', 'is allowed only with role assistant', 'invalid_value');
  })
  // "developer" is the newer name of "system"; chat templates know the older one.
  .transform(
    ({ role, content = '', name, tool_calls: toolCalls = [], tool_call_id: toolCallId }): ChatMessage => ({
      role: role === 'developer' ? 'system' : role,
      content,
      ...(name !== undefined && { name }),
      ...(toolCalls.length > 0 && { toolCalls }),
      ...(toolCallId !== undefined && { toolCallId }),
    }),
  );

const MESSAGES = 'a list of messages';

const TOOLS = 'a list of functions';
const tool = fields(
  {
    type: z.literal('function', '"function"'),
    function: fields({
      name: functionName,
      description: plainText().optional(),
      parameters: jsonSchema.optional(),
      strict: flag.optional(),
    }),
  },
  'an object with type function',
);
const CHOICE = 'none, auto, required, or an object that names a function';
const toolChoice = z.union(
  [
    z.enum(['none', 'auto', 'required']),
    z.strictObject({ type: z.literal('function'), function: z.strictObject({ name: functionName }) }),
  ],
  CHOICE,
);

/** Of a chat request: what is said, which functions may be called, and what the answer is to be. */
export const CONVERSATION = {
  messages: z.array(message, MESSAGES).min(1, MESSAGES),
  tools: z.array(tool, TOOLS).max(LIMITS.tools, `at most ${LIMITS.tools} functions`).default([]),
  tool_choice: toolChoice.optional(),
  parallel_tool_calls: flag.optional(),
  response_format: responseFormat.optional(),
};

type Asked = z.output<z.ZodObject<typeof CONVERSATION>>;

/** @throws HttpError naming the field */
export function promptOf({ messages, tools, tool_choice: choice, parallel_tool_calls: parallel }: Asked): Prompt {
  if (tools.length === 0) {
    for (const [param, value] of Object.entries({ tool_choice: choice, parallel_tool_calls: parallel })) {
      const isIdle = value === undefined || (param === 'tool_choice' && (value === 'none' || value === 'auto'));
      if (!isIdle) throw badField(param, `${param} is allowed only with tools.`);
    }
    return { kind: 'chat', messages };
  }
  const list = tools as Tool[];
  const names = list.map((one) => one.function.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw badField('tools', `tools has the function ${twice} twice.`);
  const wanted = typeof choice === 'object' ? choice.function.name : null;
  if (wanted !== null && !names.includes(wanted)) {
    throw badField('tool_choice', `tool_choice names ${wanted}, which is none of the functions in tools.`);
  }
  const asked: Tools = {
    list,
    ...(choice !== undefined && { choice: wanted === null ? (choice as 'none') : { name: wanted } }),
    ...(parallel !== undefined && { parallel }),
  };
  return { kind: 'chat', messages, tools: asked };
}
