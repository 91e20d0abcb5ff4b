/** A model's chat template, bounded in time and memory: rendered in a process of its own, waited for or not. */

import { Bounded } from '../bounded/bounded.js';
import type { ChatMessage } from '../core/chat.js';
import { CrayonError } from '../core/errors.js';
import type { ChatSetup, Made } from './chat-jobs.js';
import { SPECIAL_NAMES } from './chat-template.js';
import type { Laid, LaidAnswer, RenderChat } from './chat-text.js';
import type { ChatText } from './chat-tokens.js';

export interface BoundedChat extends ChatText {
  render: RenderChat;
  /** a conversation with its generation prompt, while the event loop goes on */
  promptAside(messages: readonly ChatMessage[], signal: AbortSignal, tools?: readonly object[] | null): Promise<Laid>;
}

/**
 * @param source of the template
 * @param specialToken the text of `bos_token` and the like
 * @param names texts of all control tokens
 * @param where names the model in errors
 */
export function boundedChat(
  source: string,
  specialToken: (name: string) => string | null,
  names: Iterable<string>,
  where: string,
): BoundedChat {
  const special = SPECIAL_NAMES.flatMap((name) => {
    const text = specialToken(name);
    return text === null ? [] : [[name, text] as const];
  });
  const code = new Bounded({
    beside: import.meta.url,
    jobs: 'chat-jobs',
    setup: { source, special, names: [...names], where } satisfies ChatSetup,
    what: `${where}: the chat template`,
    code: 'tokenizer-unsupported',
    hint: 'It comes with the model: use --prompt-form plain, or put a chat_template.jinja that you trust beside the model.',
  });
  // Structured cloning takes no object with a prototype of another kind.
  const plain = (messages: readonly ChatMessage[]) => messages.map((message) => ({ ...message }));
  return {
    render: (messages, { addGenerationPrompt = true } = {}) =>
      code.runSync<string>('render', [plain(messages), addGenerationPrompt]),
    prompt: (messages, tools = null) => code.runSync<Laid>('prompt', [plain(messages), tools]),
    promptAside: (messages, signal, tools = null) => code.run<Laid>('prompt', [plain(messages), tools], { signal }),
    answers: (list) => code.runSync<Array<Made<LaidAnswer>>>('answers', list).map((made) => () => read(made)),
  };
}

function read<T>(made: Made<T>): T {
  if ('value' in made) return made.value;
  const { code, message, hint } = made.failure;
  throw new CrayonError(code, message, hint === undefined ? {} : { hint });
}
