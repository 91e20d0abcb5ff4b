/**
 * What a record of a plain file, or an example sent to the server, means by its field names: one place decides what is tolerated.
 *
 * | a record has | is |
 * |---|---|
 * | `prompt`, `completion` | a text and its continuation |
 * | `messages`, or `conversations` | OpenAI's or ShareGPT's conversation, which ends with the answer |
 * | `instruction`, `input`, `output` | Alpaca's: one user's message and the answer |
 * | `prompt` and `completion` as lists of messages | TRL's: a conversation in two parts |
 * | a prompt or conversation without its answer, `choices`, `answer` | a multiple choice |
 *
 * Other fields are of no account.
 */

import { type ChatMessage, renderPlain } from '../core/chat.js';
import { type Conversation, fieldNames, KNOWN_SHAPES, readConversation } from './conversation.js';
import { asChoices, asIndex, kindOf, type RawExample } from './example.js';
import type { DataRecord } from './template.js';

/** Which answers of a conversation are examples. */
export const TURNS = ['last', 'all'] as const;
export type Turns = (typeof TURNS)[number];

/**
 * A record's examples: one, or with `turns: 'all'` one for each answer of its conversation, the last one last.
 *
 * Each answer has a sequence of its own, rather than one sequence with the other turns masked: many templates show earlier
 * turns otherwise than the last one (they drop its reasoning, or put the system message into the last user's turn), so that one
 * sequence would train on prompts that serving never gives. The price is that common beginnings are read once for each answer.
 *
 * Throws a plain Error that says what was found and what was expected.
 */
export function recordExamples(record: DataRecord, turns: Turns = 'last'): RawExample[] {
  const conversation = readConversation(record);
  if (conversation === undefined) return [plainExample(record)];
  if (!isAbsent(record.choices) || !isAbsent(record.answer)) return [choiceOf(conversation, record)];
  if (!Array.isArray(record.prompt) && !isAbsent(record.completion)) {
    throw new Error('has a conversation and a completion: expected the answer as its last message');
  }
  const { turns: all, given } = conversation;
  refuseAnswerFirst(all);
  const last = all.at(-1)!;
  if (last.role !== 'assistant' || all.length <= given) {
    if (!isAbsent(record.instruction)) {
      throw new Error(`output is missing: found ${fieldNames(record)}; expected ${KNOWN_SHAPES}`);
    }
    if (all.length <= given) throw new Error('completion is missing, expected the answer');
    throw new Error(`the conversation ends with the ${last.role}'s turn, expected the assistant's`);
  }
  const answers = all.flatMap(({ role }, i) => (role === 'assistant' && i >= given ? [i] : []));
  return (turns === 'all' ? answers : answers.slice(-1)).map((i) => {
    const messages = all.slice(0, i);
    return { prompt: renderPlain(messages), completion: all[i]!.content, messages };
  });
}

/** The prompt alone of a record that may, but need not, have an answer: what embedding an example takes. */
export function recordPrompt(record: DataRecord): Pick<RawExample, 'prompt' | 'messages'> {
  const conversation = readConversation(record);
  if (conversation === undefined) {
    const { prompt } = record;
    if (typeof prompt === 'string') return { prompt };
    throw unknownShape(record);
  }
  const { turns } = conversation;
  refuseAnswerFirst(turns);
  const messages = turns.at(-1)!.role === 'assistant' ? turns.slice(0, -1) : turns;
  return { prompt: renderPlain(messages), messages };
}

/** { prompt, completion }, or { prompt, choices, answer } with or without completion. */
function plainExample(record: DataRecord): RawExample {
  const { prompt, completion, choices, answer } = record;
  if (prompt === undefined && typeof record.text === 'string') {
    throw new Error('has "text" but no "prompt" and "completion": say where the prompt ends, or describe it in YAML');
  }
  if (prompt === undefined || prompt === null) throw unknownShape(record);
  if (typeof prompt !== 'string') throw new Error(`prompt is ${kindOf(prompt)}, expected text or a list of messages`);
  if (choices === undefined && answer === undefined) {
    if (typeof completion !== 'string') throw new Error(`completion is ${kindOf(completion)}, expected text`);
    return { prompt, completion };
  }
  return { prompt, ...rightChoice(choices, answer, completion) };
}

function choiceOf({ turns }: Conversation, { choices, answer, completion }: DataRecord): RawExample {
  refuseAnswerFirst(turns);
  const last = turns.at(-1)!;
  const messages = last.role === 'assistant' ? turns.slice(0, -1) : turns;
  if (messages.at(-1)!.role !== 'user') {
    throw new Error(`choices answer a user's turn, but before them stands the ${messages.at(-1)!.role}'s`);
  }
  const said = last.role === 'assistant' ? last.content : (completion ?? undefined);
  return { prompt: renderPlain(messages), ...rightChoice(choices, answer, said), messages };
}

/** @param said the answer, where the record has it a second time */
function rightChoice(choices: unknown, answer: unknown, said: unknown) {
  const texts = asChoices(choices);
  const index = asIndex(answer, texts);
  if (said !== undefined && said !== texts[index]) {
    throw new Error(`completion ${JSON.stringify(said)} is not choice ${index}, ${JSON.stringify(texts[index])}`);
  }
  return { completion: texts[index]!, choices: texts, answer: index };
}

function refuseAnswerFirst(turns: readonly ChatMessage[]): void {
  const first = turns.find(({ role }) => role !== 'system');
  if (first?.role === 'user') return;
  const found = first === undefined ? 'is only a system message' : "begins with the assistant's turn";
  throw new Error(`the conversation ${found}, expected the user's first`);
}

function unknownShape(record: DataRecord): Error {
  const prompt = kindOf(record.prompt);
  return new Error(`prompt is ${prompt}: found ${fieldNames(record)}; expected ${KNOWN_SHAPES}`);
}

const isAbsent = (value: unknown): boolean => value === undefined || value === null;
