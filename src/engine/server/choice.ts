/**
 * What one choice of an answer says: its text, in every shape that servers give it, and why it ended. What is not understood is
 * refused, never dropped: an answer without its half looks like an answer.
 */

import { LIMITS } from '../../core/limits.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import type { FinishReason, ToolCallPiece } from '../types.js';

/** Why answers end, as they are counted: a closed list, so that no server's word becomes a metric's label. */
export const FINISHES = ['stop', 'length', 'content_filter', 'tool_calls', 'abort', 'error', 'none', 'other'] as const;
export type Finish = (typeof FINISHES)[number];

/**
 * Words in lower case that mean the same. OpenAI; TGI and Together (eos, eos_token, stop_sequence), Anthropic (end_turn, max_tokens,
 * refusal, model_context_window_exceeded), Gemini and Cohere (STOP, COMPLETE, MAX_TOKENS, SAFETY, ...), Mistral (model_length),
 * Bedrock (content_filtered, guardrail_intervened), Zhipu (sensitive, network_error), DeepSeek (insufficient_system_resource),
 * vLLM and SGLang (abort), OpenRouter (error).
 */
const WORDS: ReadonlyMap<string, Finish> = new Map(
  Object.entries({
    stop: 'stop eos eos_token end_turn stop_sequence end_of_turn complete',
    length: 'length max_tokens max_output_tokens max_length model_length model_context_window_exceeded',
    content_filter:
      'content_filter content_filtered safety recitation blocklist prohibited_content spii refusal sensitive error_toxic guardrail_intervened',
    tool_calls: 'tool_calls function_call tool_use tool_call',
    abort: 'abort aborted cancel cancelled canceled',
    error: 'error network_error insufficient_system_resource',
  }).flatMap(([finish, words]) => words.split(' ').map((word) => [word, finish as Finish])),
);

/** Null while a choice does not say; a server that has nothing to say yet may send an empty text. */
export function finishOf(reason: unknown): Finish | null {
  if (reason === null || reason === undefined || reason === '' || reason === 'null') return null;
  return (typeof reason === 'string' && WORDS.get(reason.trim().toLowerCase())) || 'other';
}

/** Of those that are a whole answer, what OpenAI calls them. */
export function finishReasonOf(finish: Finish, hasTools = false): FinishReason | null {
  if (finish === 'tool_calls') return hasTools ? finish : null;
  return finish === 'stop' || finish === 'length' || finish === 'content_filter' ? finish : null;
}

const TEXTS: ReadonlySet<unknown> = new Set([undefined, 'text', 'output_text']);
/** A model's thinking is no part of its answer. */
const THOUGHTS: ReadonlySet<unknown> = new Set([
  ...['thinking', 'redacted_thinking', 'reasoning', 'reasoning_text', 'reasoning_content'],
]);

const isEmpty = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === '' ||
  (typeof value === 'object' && Object.values(value).every(isEmpty));

/** What a choice says; `hasThought`: something of the model's thinking came, which is no answer. */
export interface Said {
  text: string;
  hasThought: boolean;
  calls: ToolCallPiece[];
}

/** @param invalid makes the error for what is not understood, from a phrase such as "sent a part of type image_url" */
export function saidBy(choice: JsonObject, invalid: (what: string) => Error, hasTools = false): Said {
  const holder = choice.delta ?? choice.message;
  if (!isJsonObject(holder)) return { text: textOf(holder ?? choice.text, invalid), hasThought: false, calls: [] };
  if ((!hasTools && !isEmpty(holder.tool_calls)) || !isEmpty(holder.function_call)) {
    throw invalid('answered with a tool call, but no tool was offered');
  }
  const calls = isEmpty(holder.tool_calls) ? [] : callsOf(holder.tool_calls, invalid);
  const content = textOf(holder.content ?? choice.text, invalid);
  const hasThought = [holder.reasoning_content, holder.reasoning].some((thought) => !isEmpty(thought));
  return {
    text: content === '' ? textOf(holder.refusal, invalid) : content,
    hasThought: hasThought || (Array.isArray(holder.content) && holder.content.some(isThought)),
    calls,
  };
}

/** Pieces of calls, or whole ones: those of a message that is not streamed have no index, and some servers' arguments are no text. */
function callsOf(list: unknown, invalid: (what: string) => Error): ToolCallPiece[] {
  if (!Array.isArray(list)) throw invalid('answered with tool calls that are no list');
  return list.map((call: unknown, at): ToolCallPiece => {
    const called = isJsonObject(call) && isJsonObject(call.function) ? call.function : null;
    if (called === null) throw invalid('answered with a tool call that is no call of a function');
    const { id, index } = call as JsonObject;
    const { name, arguments: given } = called;
    return {
      index: typeof index === 'number' && Number.isInteger(index) && index >= 0 && index < LIMITS.tools ? index : at,
      ...(typeof id === 'string' && id !== '' && { id }),
      ...(typeof name === 'string' && name !== '' && { name }),
      arguments: typeof given === 'string' ? given : given === undefined || given === null ? '' : JSON.stringify(given),
    };
  });
}

const isThought = (part: unknown): boolean => isJsonObject(part) && THOUGHTS.has(part.type);

/** A text, one part, or a list of parts. */
function textOf(content: unknown, invalid: (what: string) => Error): string {
  if (content === null || content === undefined) return '';
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return partText(content, invalid);
  return content.map((part) => (typeof part === 'string' ? part : partText(part, invalid))).join('');
}

function partText(part: unknown, invalid: (what: string) => Error): string {
  if (isJsonObject(part)) {
    if (isThought(part)) return '';
    const said = part.type === 'refusal' ? part.refusal : TEXTS.has(part.type) ? part.text : undefined;
    if (typeof said === 'string') return said;
    if (said === null) return '';
  }
  const kind = isJsonObject(part) ? `a part of type ${JSON.stringify(part.type) ?? 'undefined'}` : `a ${typeof part}`;
  throw invalid(`answered with ${kind} where text was expected`);
}
