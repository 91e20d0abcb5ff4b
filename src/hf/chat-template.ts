/**
 * Conversations as the text that a model was trained to see: its chat template, as transformers renders it through Python's
 * jinja2 (`chat_template_utils.py`). Whatever a template does, it does: bounded-chat.ts sets it bounds.
 */

import type { ChatMessage } from '../core/chat.js';
import { CrayonError, messageOf, reasonOf } from '../core/errors.js';
import { compileTemplate, type Template } from '../core/jinja/template.js';
import { type Callable, fromJson, str } from '../core/jinja/values.js';
import type { RenderChat } from './chat-text.js';

/** The special tokens that a chat template may write; those that a model does not have are undefined in it. */
export const SPECIAL_NAMES = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
];

/** What a template's `raise_exception` throws. */
class Refusal extends Error {}

/**
 * A renderer of conversations from a template's source.
 *
 * A template that writes the day's date (`strftime_now`) writes today's, as transformers does.
 *
 * @param specialToken the text of `bos_token` and the like
 * @param where names the template in errors
 */
export function chatRenderer(
  source: string,
  specialToken: (name: string) => string | null,
  where: string,
  now: () => Date = () => new Date(),
): RenderChat {
  let template: Template | undefined; // compiled when first used: most runs never render a chat
  const raise: Callable = ([message]) => {
    throw new Refusal(str(message));
  };
  const today: Callable = ([format]) => strftime(now(), str(format));
  return (messages, { addGenerationPrompt = true, tools = null } = {}) => {
    try {
      template ??= compileTemplate(source, 'chat');
      const variables = new Map<string, unknown>([
        ['messages', fromJson(messages.map(asTemplatesKnow))],
        ['tools', tools === null ? null : fromJson(tools)],
        ['documents', null],
        ['add_generation_prompt', addGenerationPrompt],
        ['raise_exception', raise],
        ['strftime_now', today],
      ]);
      for (const name of SPECIAL_NAMES) {
        const text = specialToken(name);
        if (text !== null) variables.set(name, text);
      }
      return template.render((name) => variables.get(name));
    } catch (error) {
      if (error instanceof Refusal) {
        throw new CrayonError('example-invalid', `the chat template refuses this conversation: ${messageOf(error)}`, {
          hint: "It is the model's own rule: bring the messages into the order and the roles that it knows.",
          cause: error,
        });
      }
      throw new CrayonError(
        'tokenizer-unsupported',
        `${where}: the chat template cannot be rendered (${reasonOf(error)})`,
        {
          cause: error,
        },
      );
    }
  };
}

/** A message with transformers' names; a call's arguments as an object, where their text is one. */
function asTemplatesKnow({ toolCalls, toolCallId, ...message }: ChatMessage): object {
  return {
    ...message,
    ...(toolCallId !== undefined && { tool_call_id: toolCallId }),
    ...(toolCalls !== undefined && {
      tool_calls: toolCalls.map(({ function: called, ...call }) => {
        return { ...call, function: { ...called, arguments: objectOf(called.arguments) ?? called.arguments } };
      }),
    }),
  };
}

function objectOf(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November'],
  'December',
];

const padded = (value: number, digits = 2): string => String(value).padStart(digits, '0');
const hour12 = (date: Date): number => date.getHours() % 12 || 12;

/** Codes of Python's strftime, in the C locale and in local time. */
const DATE_CODES: Readonly<Record<string, (date: Date) => string>> = {
  Y: (date) => String(date.getFullYear()),
  y: (date) => padded(date.getFullYear() % 100),
  m: (date) => padded(date.getMonth() + 1),
  d: (date) => padded(date.getDate()),
  e: (date) => String(date.getDate()).padStart(2, ' '),
  '-d': (date) => String(date.getDate()),
  '-m': (date) => String(date.getMonth() + 1),
  B: (date) => MONTHS[date.getMonth()]!,
  b: (date) => MONTHS[date.getMonth()]!.slice(0, 3),
  A: (date) => DAYS[date.getDay()]!,
  a: (date) => DAYS[date.getDay()]!.slice(0, 3),
  H: (date) => padded(date.getHours()),
  I: (date) => padded(hour12(date)),
  '-I': (date) => String(hour12(date)),
  M: (date) => padded(date.getMinutes()),
  S: (date) => padded(date.getSeconds()),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  '%': () => '%',
};

/** A date in a format of Python's strftime. Throws a plain Error for a code that is not known. */
function strftime(date: Date, format: string): string {
  return format.replace(/%(-?.?)/gs, (whole, code: string) => {
    const write = Object.hasOwn(DATE_CODES, code) ? DATE_CODES[code] : undefined;
    if (write === undefined) throw new Error(`strftime_now with ${whole}`);
    return write(date);
  });
}
