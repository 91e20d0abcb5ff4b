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
import { shown } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
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
  let characters = 0;
  return (turns === 'all' ? answers : answers.slice(-1)).map((i, n) => {
    const messages = all.slice(0, i);
    const prompt = renderPlain(messages);
    characters += prompt.length;
    if (n > 0 && characters > LIMITS.conversationCharacters) {
      throw new Error(
        `the prompts of its ${answers.length} answers are more than ${LIMITS.conversationCharacters} characters`,
      );
    }
    return { prompt, completion: all[i]!.content, messages };
  });
}

/** The prompt alone of a record that may, but need not, have an answer: what embedding an example takes. */
export function recordPrompt(record: DataRecord): Pick<RawExample, 'prompt' | 'messages'> {
  const conversation = readConversation(record);
  const hasAnswer = ![record.completion, record.choices, record.answer].every(isAbsent);
  if (hasAnswer && !Array.isArray(record.prompt)) {
    const { prompt, messages } = recordExamples(record)[0]!;
    return messages === undefined ? { prompt } : { prompt, messages };
  }
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
  if (isAbsent(prompt)) throw unknownShape(record);
  if (typeof prompt !== 'string') throw new Error(`prompt is ${kindOf(prompt)}, expected text or a list of messages`);
  if (isAbsent(choices) && isAbsent(answer)) {
    if (isAbsent(completion)) throw unknownShape(record);
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
  refuseTwoReadings(answer, texts);
  const text = typeof answer === 'string' ? texts.indexOf(answer) : -1;
  const index = text === -1 ? asIndex(answer, texts) : text;
  if (!isAbsent(said) && said !== texts[index]) {
    throw new Error(`completion ${shown(said)} is not choice ${index}, ${shown(texts[index])}`);
  }
  return { completion: texts[index]!, choices: texts, answer: index };
}

/** A number may be one of the choices, or the place of another one. */
function refuseTwoReadings(answer: unknown, choices: readonly string[]): void {
  const text = String(answer);
  const first = choices.indexOf(text);
  if (first === -1) return;
  if (choices.includes(text, first + 1))
    throw new Error(`answer ${shown(answer)} is two of the choices: leave one out`);
  if (!/^\d+$/.test(text) || Number(text) === first || Number(text) >= choices.length) return;
  const readings = `choice ${first} and the index of choice ${text}, ${shown(choices[Number(text)])}`;
  throw new Error(`answer ${shown(answer)} is the text of ${readings}: expected one reading, such as choices in words`);
}

function refuseAnswerFirst(turns: readonly ChatMessage[]): void {
  const first = turns.find(({ role }) => role !== 'system');
  if (first?.role === 'user') return;
  const found = first === undefined ? 'is only a system message' : "begins with the assistant's turn";
  throw new Error(`the conversation ${found}, expected the user's first`);
}

/** Of a record whose question or answer is not where it is looked for. */
function unknownShape(record: DataRecord): Error {
  const has = (...names: string[]) => names.every((name) => !isAbsent(record[name]));
  const [, kind] = OTHER_SHAPES.find(([names]) => has(...names)) ?? [];
  const missing = isAbsent(record.prompt) ? 'prompt' : 'completion';
  const advice = kind === undefined ? '' : `; these are ${kind}`;
  const found = `${missing} is ${kindOf(record[missing])}: found ${fieldNames(record)}`;
  return new Error(`${found}; expected ${KNOWN_SHAPES}${advice}`);
}

/** Shapes of published data sets that are not read, by their fields, and what to do with them. */
const OTHER_SHAPES: ReadonlyArray<[fields: string[], advice: string]> = [
  [
    ['chosen', 'rejected'],
    'preferences, of which only one answer can be learnt: call chosen completion, and leave rejected out',
  ],
  [['question', 'answer'], 'questions and answers: call them prompt and completion, or describe the file in YAML'],
  [['question', 'answers'], 'questions with several answers: describe the file in YAML'],
  [['instruction', 'response'], 'instructions and responses: call response output'],
  [['input', 'output'], 'inputs and outputs: call them prompt and completion'],
  [['text'], 'a text alone: say where the prompt ends, or describe the file in YAML'],
];

const isAbsent = (value: unknown): boolean => value === undefined || value === null;
