/**
 * Token ids of a training or scoring example, cut between prompt and completion: plain as lm-evaluation-harness does
 * (`lm_eval/api/model.py`, `_encode_pair`), or a conversation through the chat template, token for token as it is served.
 */

import type { ChatMessage } from '../core/chat.js';
import { CrayonError, isCrayonError } from '../core/errors.js';
import { strip } from '../core/jinja/values.js';
import { PLAIN, type PromptForm, withSystem } from './prompt-form.js';
import type { Tokenizer } from './tokenizer.js';

export interface EncodedExample {
  ids: Int32Array;
  /** Tokens of the prompt, BOS included; the completion's tokens are the rest. At least 1. */
  promptLength: number;
}

/** What of an example is encoded. */
export interface EncodableExample {
  id: string;
  prompt: string;
  completion: string;
  /** the turns before the completion, where the record had messages */
  messages?: readonly ChatMessage[] | undefined;
  /** length of the target delimiter with which the completion begins */
  delimiter?: number | undefined;
}

export interface EncodeOptions {
  /** end with the token that ends the answer, as training wants: in form chat the one that the template puts there */
  addEnd?: boolean;
}

/**
 * Encodes an example.
 *
 * Plain: prompt and completion are encoded together, because a tokenizer may join characters across the border; the prompt's
 * share is what the prompt alone gives. White space at the prompt's end belongs to the completion.
 *
 * Chat: the prompt is the rendered conversation with its generation prompt, and all of it; the completion is what the answer
 * adds to it.
 *
 * @throws CrayonError `example-invalid` when the completion has no token of its own, `tokenizer-unsupported` where the chat
 *   template refuses the conversation
 */
export function encodeExample(
  tokenizer: Tokenizer,
  example: EncodableExample,
  form: PromptForm = PLAIN,
  options: EncodeOptions = {},
): EncodedExample {
  return form.kind === 'plain'
    ? encodePlain(tokenizer, example, options)
    : encodeConversation(tokenizer, example.id, conversationOf(example, form), answerOf(example), options);
}

function encodePlain(tokenizer: Tokenizer, example: EncodableExample, { addEnd = false }: EncodeOptions) {
  const prompt = tokenizer.encode(strip(example.prompt, null, 'right'));
  const ids = tokenizer.encode(example.prompt + plainCompletion(example));
  if (prompt.length === 0) {
    // Without BOS an empty prompt leaves nothing to predict the first token from; lm-eval puts a special token there.
    const start = tokenizer.bosId ?? tokenizer.eosId;
    if (start === null) throw new CrayonError('example-invalid', `${example.id}: the prompt has no tokens`);
    prompt.push(start);
    ids.unshift(start);
  }
  if (ids.length <= prompt.length) throw noToken(example);
  if (addEnd) ids.push(endOf(tokenizer, null));
  return { ids: Int32Array.from(ids), promptLength: prompt.length };
}

/** The completion as it follows a plain prompt: an answer to messages is set off by a space, which serving drops. */
function plainCompletion({ completion, messages }: EncodableExample): string {
  return messages === undefined || /^\s/.test(completion) ? completion : ` ${completion}`;
}

/** The turns that the model is to answer: those of the record, or its prompt as one user's message. */
export function conversationOf(
  { prompt, messages }: Pick<EncodableExample, 'prompt' | 'messages'>,
  form: PromptForm,
): readonly ChatMessage[] {
  const turns = messages ?? [{ role: 'user', content: prompt }];
  return form.kind === 'chat' ? withSystem(turns, form.system) : turns;
}

/** The completion as an assistant's turn: without the delimiter that sets it off from a plain prompt. */
function answerOf({ completion, messages, delimiter }: EncodableExample): string {
  if (messages !== undefined) return completion;
  return completion.slice(delimiter ?? (completion.startsWith(' ') ? 1 : 0));
}

/**
 * An example as a conversation, which more turns can be put before: the choices lose their delimiter as the completion does.
 *
 * @returns the same example, with `messages`
 */
export function asConversation<T extends EncodableExample & { choices?: string[] }>(
  example: T,
): T & { messages: readonly ChatMessage[] } {
  const answer = (completion: string) => answerOf({ ...example, completion });
  const { choices, completion } = example;
  return {
    ...example,
    messages: conversationOf(example, PLAIN),
    completion: answer(completion),
    ...(choices === undefined ? {} : { choices: choices.map(answer) }),
    delimiter: undefined,
  };
}

function encodeConversation(
  tokenizer: Tokenizer,
  id: string,
  messages: readonly ChatMessage[],
  completion: string,
  { addEnd = false }: EncodeOptions,
): EncodedExample {
  const { chat, endIds } = tokenizer;
  if (chat === null) {
    throw new CrayonError('tokenizer-unsupported', `${id}: form chat is asked for, but there is no chat template`);
  }
  const { prompt, answer, end } = naming(id, () =>
    chat.encodeAnswer(messages, completion, { endIds, isTraining: addEnd }),
  );
  if (answer.length === 0) throw noToken({ id, completion });
  const ids = Int32Array.from([...prompt, ...answer, ...(addEnd ? [endOf(tokenizer, end)] : [])]);
  return { ids, promptLength: prompt.length };
}

/** Says which examples will be encoded, in about this order: in form chat they are then rendered many at a time. */
export function expectExamples(tokenizer: Tokenizer, examples: Iterable<EncodableExample>, form: PromptForm): void {
  if (form.kind === 'plain' || tokenizer.chat === null) return;
  function* answers() {
    for (const example of examples) yield { messages: conversationOf(example, form), answer: answerOf(example) };
  }
  tokenizer.chat.expect(answers());
}

/** A template that refuses says for which example. */
function naming<T>(id: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!isCrayonError(error)) throw error;
    throw new CrayonError(error.code, `${id}: ${error.message}`, {
      hint:
        error.code === 'example-invalid'
          ? 'The template may know no such role or order of roles: check the messages, or use --prompt-form plain.'
          : error.hint,
      cause: error,
    });
  }
}

function endOf({ eosId }: Tokenizer, end: number | null): number {
  if (end !== null) return end;
  if (eosId !== null) return eosId;
  throw new CrayonError('tokenizer-unsupported', 'EOS wanted, but there is no eos_token');
}

function noToken({ id, completion }: Pick<EncodableExample, 'id' | 'completion'>): CrayonError {
  return new CrayonError(
    'example-invalid',
    `${id}: completion ${JSON.stringify(completion)} adds no token to the prompt`,
  );
}

/**
 * An example in form chat with the front of the first user's message cut until it fits: the frame that the template puts around
 * the turns stays whole.
 *
 * @returns undefined where what is left of the message would be nothing
 */
export function encodeCut(
  tokenizer: Tokenizer,
  example: EncodableExample,
  form: PromptForm,
  { maxLength, ...options }: EncodeOptions & { maxLength: number },
): EncodedExample | undefined {
  const messages = conversationOf(example, form);
  const first = messages.findIndex(({ role }) => role === 'user');
  const characters = [...(messages[first]?.content ?? '')];
  const without = (count: number): EncodedExample => {
    const cut = { role: 'user', content: characters.slice(count).join('') };
    const turns = messages.map((message, i) => (i === first ? cut : message));
    return encodeConversation(tokenizer, example.id, turns, answerOf(example), options);
  };
  // A bisection: `most` characters less fit, `least` less do not.
  let least = 0;
  let most = characters.length - 1;
  let best = most > 0 ? without(most) : undefined;
  if (best === undefined || best.ids.length > maxLength) return undefined;
  while (most - least > 1) {
    const middle = (least + most) >> 1;
    const found = without(middle);
    if (found.ids.length <= maxLength) [most, best] = [middle, found];
    else least = middle;
  }
  return best;
}
