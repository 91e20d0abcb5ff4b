/** What a chat template does, in the process that bounded-chat.ts has it run in. */

import type { ChatMessage } from '../core/chat.js';
import { type CrayonError, isCrayonError } from '../core/errors.js';
import { chatRenderer } from './chat-template.js';
import { type Answered, chatText } from './chat-text.js';

export interface ChatSetup {
  source: string;
  /** texts of `bos_token` and the like, by name */
  special: ReadonlyArray<readonly [name: string, text: string]>;
  /** texts of all control tokens */
  names: readonly string[];
  /** names the template in errors */
  where: string;
}

/** One of a list: a conversation that the template refuses spoils no other one. */
export type Made<T> = { value: T } | { failure: Pick<CrayonError, 'code' | 'message' | 'hint'> };

export function open({ source, special, names, where }: ChatSetup) {
  const texts = new Map(special);
  const render = chatRenderer(source, (name) => texts.get(name) ?? null, where);
  const text = chatText(render, names);
  return {
    render: ([messages, addGenerationPrompt]: [ChatMessage[], boolean]) => render(messages, { addGenerationPrompt }),
    prompt: ([messages, tools]: [ChatMessage[], object[] | null]) => text.prompt(messages, tools),
    answers: (list: Answered[]) => list.map((one) => made(() => text.answer(one))),
  };
}

function made<T>(make: () => T): Made<T> {
  try {
    return { value: make() };
  } catch (error) {
    if (!isCrayonError(error)) throw error;
    const { code, message, hint } = error;
    return { failure: { code, message, hint } };
  }
}
