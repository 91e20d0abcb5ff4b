/**
 * A conversation as a model's text: rendered by the chat template, and cut where control tokens stand that are the template's own.
 * All of it depends on a model's file, so it runs where it can be ended (chat-jobs.ts); what tokenizes comes after (chat-tokens.ts).
 */

import type { ChatMessage } from '../core/chat.js';

/**
 * The text already has BOS where the template writes it.
 *
 * @throws CrayonError `example-invalid` with the template's own message where it refuses the conversation,
 *   `tokenizer-unsupported` where it cannot be rendered
 */
export type RenderChat = (messages: readonly ChatMessage[], options?: RenderOptions) => string;

export interface RenderOptions {
  addGenerationPrompt?: boolean;
  /** the functions that are offered, as OpenAI's wire has them */
  tools?: readonly object[] | null;
}

/** A rendered conversation: one text where the tokenizer itself is to find the template's control tokens, else cut at them. */
export type Laid = { text: string } | { parts: TextPart[] };

/** A conversation, and the answer that follows it. */
export interface Answered {
  messages: readonly ChatMessage[];
  answer: string;
}

export interface LaidAnswer {
  /** the conversation with its generation prompt */
  before: Laid;
  /** with the answer as its last turn */
  whole: Laid;
  /** whether the template kept prompt and answer as they are */
  isKept: boolean;
  /** where it did: how what follows the answer begins, as much of it as a control token's name may have */
  after: string;
}

/** @param names texts of all control tokens */
export function chatText(render: RenderChat, names: readonly string[]) {
  const special = specialText(names);
  const longest = Math.max(0, ...names.map((name) => name.length));

  /** Every text of it, keys too. */
  const guardedWhole = <T>(value: T, breaker: string): T => {
    if (typeof value === 'string') return special.guard(value, breaker) as T;
    if (Array.isArray(value)) return value.map((one) => guardedWhole(one, breaker)) as T;
    if (typeof value !== 'object' || value === null) return value;
    const pairs = Object.entries(value).map(([key, one]) => [special.guard(key, breaker), guardedWhole(one, breaker)]);
    return Object.fromEntries(pairs) as T;
  };
  const guarded = (messages: readonly ChatMessage[], breaker: string): ChatMessage[] =>
    messages.map(
      (message) =>
        Object.fromEntries(
          Object.entries(message).map(([key, value]) => [key, guardedWhole(value, breaker)]),
        ) as unknown as ChatMessage,
    );
  // Without a name in any message, the tokenizer itself finds the template's: it knows which of them swallow white space.
  const laid = (rendered: string, breaker: string): Laid =>
    rendered.includes(breaker) ? { parts: special.split(rendered, breaker) } : { text: rendered };

  return {
    prompt: (messages: readonly ChatMessage[], tools: readonly object[] | null = null): Laid => {
      const breaker = unusedCharacter([...textsOf(messages), ...(tools === null ? [] : [JSON.stringify(tools)])]);
      return laid(render(guarded(messages, breaker), { tools: guardedWhole(tools, breaker) }), breaker);
    },
    answer: ({ messages, answer }: Answered): LaidAnswer => {
      const conversation = [...messages, { role: 'assistant', content: answer }];
      const breaker = unusedCharacter(textsOf(conversation));
      const turns = guarded(conversation, breaker);
      const before = render(turns.slice(0, -1));
      const whole = render(turns, { addGenerationPrompt: false });
      const kept = before + turns.at(-1)!.content;
      return {
        before: laid(before, breaker),
        whole: laid(whole, breaker),
        isKept: whole.startsWith(kept),
        after: whole.slice(kept.length, kept.length + longest),
      };
    },
  };
}

const textsOf = (messages: readonly ChatMessage[]): string[] =>
  messages.flatMap(({ role, content, name = '', toolCalls = [] }) => [
    role,
    content,
    name,
    ...toolCalls.map((call) => JSON.stringify(call)),
  ]);

export interface TextPart {
  special: boolean;
  text: string;
}

const FIRST_PRIVATE = 0xe000;
const LAST_PRIVATE = 0xf8ff;

/** A character that occurs in none of the texts. */
export function unusedCharacter(texts: readonly string[]): string {
  for (let code = FIRST_PRIVATE; code < LAST_PRIVATE; code++) {
    const character = String.fromCharCode(code);
    if (!texts.some((text) => text.includes(character))) return character;
  }
  return String.fromCharCode(LAST_PRIVATE);
}

/**
 * Keeps names of control tokens that a user wrote, such as `<|im_end|>`, from becoming those tokens, while a chat template's
 * own do.
 *
 * The template must see the whole conversation, so its output is one text in which the two can no longer be told apart.
 * Therefore each such name in a message is broken before rendering, by a character of the private use area that occurs
 * nowhere else. Names that are whole afterwards are the template's. The character is taken out again before tokenising, and
 * everything between the whole names is tokenised as plain text.
 *
 * @param names texts of all control tokens
 */
export function specialText(names: readonly string[]) {
  const all = [...new Set(names)].filter((name) => name !== '').sort((a, b) => b.length - a.length);
  // A name of one character cannot be broken; it is never taken for the template's.
  const whole = all.filter((name) => [...name].length > 1);
  const begins = new RegExp(`(?=${alternatives(all)})[\\s\\S]`, 'gu');
  const cuts = new RegExp(`(${alternatives(whole)})`, 'u');
  const beginnings = new Set(whole.flatMap((name) => Array.from(name, (_, i) => name.slice(0, i)).slice(1)));
  const longest = Math.max(0, ...all.map((name) => name.length));

  const endsInBeginning = (text: string): boolean => {
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      if (beginnings.has(text.slice(-length))) return true;
    }
    return false;
  };

  return {
    /** Breaks names of control tokens in a user's text, and beginnings of names at its end. */
    guard: (text: string, breaker: string): string => {
      if (all.length === 0) return text;
      const broken = text.replace(begins, (character) => character + breaker);
      return endsInBeginning(broken) ? broken + breaker : broken;
    },
    /** Cuts a rendered conversation at whole names; the breaker is taken out of the rest. */
    split: (rendered: string, breaker: string): TextPart[] => {
      const pieces = whole.length === 0 ? [rendered] : rendered.split(cuts);
      const parts = pieces.map((text, i) => {
        return i % 2 === 1 ? { special: true, text } : { special: false, text: text.replaceAll(breaker, '') };
      });
      return parts.filter(({ text }) => text !== '');
    },
  };
}

function alternatives(names: readonly string[]): string {
  return names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|');
}
