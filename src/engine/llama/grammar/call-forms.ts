/**
 * The forms in which models write calls of functions, a row each: known by the chat template, which writes past calls in it. A form more
 * is a row more.
 */

import type { ChatMessage } from '../../../core/chat.js';

export interface CallForm {
  /** whether a chat template writes it */
  isOf(template: string): boolean;
  /** what calls begin with; its first character is no other one of it */
  begin: string;
  /** tokens of these names are text, whatever a vocabulary calls them */
  marks: readonly string[];
  /** up to the arguments, of a function's name as JSON */
  open(name: string): string;
  /** after the arguments, in GBNF */
  close: string;
  /** one call, or several where the form has room for them, in GBNF */
  list(call: string, parallel: boolean): string;
  /** a call up to its arguments, with the name */
  head: RegExp;
  /** after the arguments; `,` in its group where another call follows without `begin` */
  tail: RegExp;
  /** a conversation as the template takes it */
  told(messages: readonly ChatMessage[]): readonly ChatMessage[];
}

/** Of Hermes and Qwen, and what is explained to models that know none. */
export const HERMES: CallForm = {
  isOf: (template) => template.includes('<tool_call>') && !template.includes('<function='),
  begin: '<tool_call>',
  marks: ['<tool_call>', '</tool_call>'],
  open: (name) => `\n{"name": ${name}, "arguments": `,
  close: '"}\\n</tool_call>"',
  list: (call, parallel) => (parallel ? `${call} ("\\n<tool_call>" ${call})*` : call),
  head: /^\s*\{\s*"name":\s*("(?:[^"\\]|\\.)*"),\s*"arguments":\s*(?=\S)/,
  tail: /^[\s\S]*?<\/tool_call>()/,
  told: (messages) => messages,
};

/** Of Llama 3.1 and later, whose template takes one call a message and no more. */
const LLAMA3: CallForm = {
  isOf: (template) =>
    template.includes('<|start_header_id|>ipython<|end_header_id|>') && template.includes('"parameters": '),
  begin: '{"name": ',
  marks: [],
  open: (name) => `${name}, "parameters": `,
  close: '"}"',
  list: (call) => call,
  head: /^\s*("(?:[^"\\]|\\.)*"),\s*"parameters":\s*(?=\S)/,
  tail: /^\s*\}()/,
  told: (messages) =>
    messages.flatMap((message) =>
      (message.toolCalls?.length ?? 0) < 2
        ? [message]
        : message.toolCalls!.map((call, i) => ({
            ...message,
            content: i === 0 ? message.content : '',
            toolCalls: [call],
          })),
    ),
};

/** Of Mistral's models from v3 on, until arguments got a mark of their own; ids have nine letters or digits. */
const MISTRAL: CallForm = {
  isOf: (template) => template.includes('[TOOL_CALLS]') && !/\[ARGS\]|\[CALL_ID\]/.test(template),
  begin: '[TOOL_CALLS]',
  marks: ['[TOOL_CALLS]'],
  open: (name) => `{"name": ${name}, "arguments": `,
  close: '(", \\"id\\": \\"" [a-zA-Z0-9]{9} "\\"")? "}"',
  list: (call, parallel) => `" "? "[" ${call}${parallel ? ` (", " ${call})*` : ''} "]"`,
  head: /^\s*\[?\s*\{\s*"name":\s*("(?:[^"\\]|\\.)*"),\s*"arguments":\s*(?=\S)/,
  tail: /^(?:\s*,\s*"id":\s*"[^"]*")?\s*\}\s*(?:\]|(,))/,
  told: (messages) =>
    messages.map(({ toolCalls, toolCallId, ...message }) => ({
      ...message,
      ...(toolCalls && { toolCalls: toolCalls.map((call) => ({ ...call, id: nineOf(call.id) })) }),
      ...(toolCallId !== undefined && { toolCallId: nineOf(toolCallId) }),
    })),
};

const nineOf = (id: string): string =>
  id
    .replace(/[^a-zA-Z0-9]/g, '')
    .slice(-9)
    .padStart(9, '0');

const FORMS: readonly CallForm[] = [HERMES, LLAMA3, MISTRAL];

/** The form of a chat template that offers functions; null where it knows none. */
export function callForm(template: string | null): CallForm | null {
  if (template === null || !/\btools\b/.test(template)) return null;
  return FORMS.find((form) => form.isOf(template)) ?? null;
}
