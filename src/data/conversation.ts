/**
 * Records that are conversations, in the shapes in which data sets are published: OpenAI's messages, ShareGPT's
 * conversations, Alpaca's instructions, TRL's prompt and completion. What is in none of them is refused by name, never guessed.
 */

import type { ChatMessage } from '../core/chat.js';
import { shown } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { isJsonObject, type JsonObject } from '../files/json.js';
import { kindOf } from './example.js';
import type { DataRecord } from './template.js';

export interface Conversation {
  turns: ChatMessage[];
  /** So many turns at its beginning are given, whoever speaks: answers among them are no examples. */
  given: number;
}

/** Who speaks, by every name that data sets have for it (Axolotl's and TRL's among them). */
const ROLES: ReadonlyMap<unknown, string> = new Map([
  ...['system', 'developer'].map((name) => [name, 'system'] as const),
  ...['user', 'human'].map((name) => [name, 'user'] as const),
  ...['assistant', 'gpt', 'bot', 'chatgpt', 'model'].map((name) => [name, 'assistant'] as const),
]);

/** What a turn may say beside its text; without it, the model would be trained on something else than was meant. */
const UNSUPPORTED = ['tool_calls', 'function_call', 'audio', 'refusal', 'reasoning_content', 'thinking'];

type Shape = (record: DataRecord) => Conversation;
const SHAPES: Readonly<Record<string, Shape>> = {
  messages: ({ messages }) => ({ turns: readTurns(messages, 'messages'), given: 0 }),
  conversations: ({ conversations }) => ({ turns: readTurns(conversations, 'conversations'), given: 0 }),
  instruction: alpaca,
  prompt: promptAndCompletion,
};

/** The fields that say what kind of record it is. */
export const KNOWN_SHAPES =
  'prompt and completion, prompt with choices and answer, messages, conversations, or instruction and output';

/**
 * The record's conversation, or undefined where its prompt is a text or it has no known shape.
 *
 * Throws a plain Error where it has two shapes, or a part of one that is not understood.
 */
export function readConversation(record: DataRecord): Conversation | undefined {
  const has = (name: string): boolean => record[name] !== undefined && record[name] !== null;
  const leads = Object.keys(SHAPES).filter(has);
  const [lead, other] = leads.filter((name) => name !== 'instruction' || leads.length === 1 || has('output'));
  if (other !== undefined) throw new Error(`has both ${lead} and ${other}: leave out the one that is not meant`);
  if (lead === undefined || (lead === 'prompt' && !Array.isArray(record.prompt))) return undefined;
  refuseTools(record);
  const { turns, given } = SHAPES[lead]!(record);
  const system = systemField(record);
  if (system === null) return { turns, given };
  if (turns[0]?.role !== 'system') return { turns: [{ role: 'system', content: system }, ...turns], given: given + 1 };
  if (turns[0].content === system) return { turns, given };
  throw new Error(`has a system field and another system message in ${lead}`);
}

/** Axolotl's alpaca: an input that is not empty stands under the instruction. */
function alpaca({ instruction, input, output }: DataRecord): Conversation {
  const optional = input === undefined || input === null ? '' : text(input, 'input').trim();
  const first = text(instruction, 'instruction');
  const turns = [{ role: 'user', content: optional === '' ? first : `${first}\n\n${text(input, 'input')}` }];
  if (output !== undefined && output !== null) turns.push({ role: 'assistant', content: text(output, 'output') });
  return { turns: turns.map((turn, i) => notEmpty(turn, i === 0 ? 'instruction' : 'output')), given: 0 };
}

/** TRL's conversational prompt-completion; the prompt is given, the completion's answers are to be learnt. */
function promptAndCompletion({ prompt, completion }: DataRecord): Conversation {
  const turns = readTurns(prompt, 'prompt');
  const last = turns.at(-1)!;
  if (last.role !== 'user') throw new Error(`prompt ends with the ${last.role}'s turn, expected the user's`);
  if (completion === undefined || completion === null) return { turns, given: turns.length };
  if (!Array.isArray(completion)) {
    throw new Error(`completion is ${kindOf(completion)}, expected a list of messages as prompt is one`);
  }
  return { turns: [...turns, ...readTurns(completion, 'completion')], given: turns.length };
}

function readTurns(list: unknown, name: string): ChatMessage[] {
  if (!Array.isArray(list)) throw new Error(`${name} is ${kindOf(list)}, expected a list of messages`);
  if (list.length === 0) throw new Error(`${name} is an empty list, expected messages`);
  // Where every answer is an example, each with all turns before it, time and memory grow with the square of their number.
  if (list.length > LIMITS.turns) throw new Error(`${name} has ${list.length} turns, expected at most ${LIMITS.turns}`);
  return list.map((turn, i) => readTurn(turn, `${name}[${i}]`));
}

/** { role, content } or ShareGPT's { from, value }. */
function readTurn(turn: unknown, where: string): ChatMessage {
  if (!isJsonObject(turn)) throw new Error(`${where} is ${kindOf(turn)}, expected an object with role and content`);
  const styles = [
    ['role', 'content'],
    ['from', 'value'],
  ] as const;
  const found = styles.filter((names) => names.some((name) => turn[name] !== undefined));
  if (found.length !== 1) {
    const problem =
      found.length === 0 ? 'neither role and content nor from and value' : 'role and content beside from and value';
    throw new Error(`${where} has ${problem} (it has ${fieldNames(turn)})`);
  }
  const [speaker, saying] = found[0]!;
  const role = ROLES.get(turn[speaker]);
  if (role === undefined) {
    const value = turn[speaker];
    const found = typeof value === 'string' ? shown(value) : kindOf(value);
    throw new Error(`${where}.${speaker} is ${found}, expected ${[...ROLES.keys()].join(', ')}`);
  }
  const unsupported = UNSUPPORTED.find((name) => !isUnused(turn[name]));
  if (unsupported !== undefined) throw new Error(`${where} has ${unsupported}, which crayon does not know: only text`);
  // OpenAI's and Axolotl's ways to say that an answer is not to be learnt.
  const untrained = turn.weight === 0 ? 'weight 0' : turn.train === false ? 'train false' : undefined;
  if (untrained !== undefined) throw new Error(`${where} has ${untrained}, which crayon does not know`);
  return notEmpty({ role, content: readContent(turn[saying], `${where}.${saying}`) }, `${where}.${saying}`);
}

/** A text, or OpenAI's list of text parts: joined by newlines, as the server joins a request's. */
function readContent(content: unknown, where: string): string {
  if (!Array.isArray(content)) return text(content, where);
  const parts = content.map((part, i): string => {
    const at = `${where}[${i}]`;
    if (!isJsonObject(part)) throw new Error(`${at} is ${kindOf(part)}, expected {"type": "text", "text": ...}`);
    if (part.type === 'text') return text(part.text, `${at}.text`);
    const found = typeof part.type === 'string' ? shown(part.type) : kindOf(part.type);
    throw new Error(`${at}.type is ${found}, expected "text": crayon does not know other parts`);
  });
  return parts.join('\n');
}

function text(value: unknown, where: string): string {
  if (typeof value === 'string') return value;
  throw new Error(`${where} is ${kindOf(value)}, expected text`);
}

function notEmpty(turn: ChatMessage, where: string): ChatMessage {
  if (turn.content.trim() === '') throw new Error(`${where} is empty`);
  return turn;
}

/** A template would show them to the model, and its answers would call them. */
function refuseTools(record: DataRecord): void {
  const name = ['tools', 'functions'].find((name) => !isUnused(record[name]));
  if (name !== undefined) throw new Error(`has ${name}, which crayon does not know: only conversations in text`);
}

const isUnused = (value: unknown): boolean => {
  if (value === undefined || value === null || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
};

/** The system message that Axolotl reads from a field of its own. */
function systemField({ system }: DataRecord): string | null {
  if (system === undefined || system === null) return null;
  const content = text(system, 'system');
  return content.trim() === '' ? null : content;
}

/** A few of an object's fields, for errors. */
export function fieldNames(object: JsonObject | DataRecord): string {
  // One with a space at its end, say, is told from one without.
  const names = Object.keys(object).map((name) => (/^[\w.-]{1,40}$/.test(name) ? name : shown(name.slice(0, 40))));
  if (names.length === 0) return 'no fields';
  return names.length > 8 ? `${names.slice(0, 8).join(', ')}, and ${names.length - 8} more` : names.join(', ');
}
