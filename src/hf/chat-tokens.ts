/**
 * A conversation as the model's tokens, the same in training and in serving: rendered by the chat template, whose control tokens
 * are the only ones (chat-text.ts); and an answer as it follows a conversation, up to the token that ends the turn.
 *
 * What tokenizes is given: llama.cpp on the device, or our own tokenizers of tokenizer.json and GGUF vocabularies.
 */

import type { ChatMessage } from '../core/chat.js';
import { isCrayonError } from '../core/errors.js';
import type { Answered, Laid, LaidAnswer } from './chat-text.js';

/** What renders conversations, many at a time. Each entry that fails is its own error, thrown when it is read. */
export interface ChatText {
  /** @param tools the functions that are offered, to templates that know of them */
  prompt(messages: readonly ChatMessage[], tools?: readonly object[] | null): Laid;
  answers(list: readonly Answered[]): Array<() => LaidAnswer>;
}

export interface ChatVocabulary {
  text: ChatText;
  /** names of the control tokens, with their ids */
  control: ReadonlyMap<string, number>;
  /** what every text starts with, put before what the template has not started with it; null for models without BOS */
  bosId: number | null;
  /** ids without BOS; names of control tokens become those tokens */
  encodeSpecial(text: string): number[];
  /** ids without BOS; names of control tokens are text like any other */
  encodeText(text: string): number[];
}

export interface EncodedAnswer {
  /** the conversation with its generation prompt */
  prompt: number[];
  /** what the answer adds */
  answer: number[];
  /** the token with which the template ends the answer's turn; null where that is none that ends an answer */
  end: number | null;
}

export interface ChatTokens {
  /** the conversation with its generation prompt, BOS where the model wants it */
  encode(messages: readonly ChatMessage[], tools?: readonly object[] | null): number[];
  /** Says which answers will be encoded, in about this order: they are then rendered many at a time. */
  expect(answers: Iterable<Answered>): void;
  /**
   * A conversation and an answer to it, cut between the two.
   *
   * @param options.endIds the tokens that end an answer
   * @param options.isTraining what a template writes between the answer and its end is the answer's, for the model is to write it
   */
  encodeAnswer(
    messages: readonly ChatMessage[],
    answer: string,
    options: { endIds: ReadonlySet<number>; isTraining: boolean },
  ): EncodedAnswer;
}

/** Answers that are rendered together. */
const TOGETHER = 64;

/** Conversations through one vocabulary and one template. */
export function chatTokens(vocabulary: ChatVocabulary): ChatTokens {
  const { text, control, bosId, encodeSpecial, encodeText } = vocabulary;

  const withBos = (ids: number[]): number[] => (bosId === null || ids[0] === bosId ? ids : [bosId, ...ids]);
  const idsOf = (laid: Laid): number[] => {
    if ('text' in laid) return withBos(encodeSpecial(laid.text));
    return withBos(laid.parts.flatMap((part) => (part.special ? [control.get(part.text)!] : encodeText(part.text))));
  };

  let upcoming: Iterator<Answered> = [][Symbol.iterator]();
  const rendered = new Map<string, () => LaidAnswer>();
  const laidAnswer = (wanted: Answered): LaidAnswer => {
    const key = keyOf(wanted);
    if (rendered.size === 0) renderNext(key, wanted);
    const known = rendered.get(key);
    rendered.delete(key);
    return (known ?? text.answers([wanted])[0]!)(); // one that was not expected, such as a cut one, is rendered alone
  };
  const renderNext = (key: string, wanted: Answered): void => {
    const next = new Map([[key, wanted]]);
    while (next.size < TOGETHER) {
      const { done, value } = upcoming.next();
      if (done) break;
      next.set(keyOf(value), value);
    }
    if (next.size === 1) return;
    try {
      const made = text.answers([...next.values()]);
      for (const [i, one] of [...next.keys()].entries()) rendered.set(one, made[i]!);
    } catch (error) {
      if (!isCrayonError(error)) throw error; // alone, each says which of them takes all the time or memory
    }
  };

  return {
    encode: (messages, tools) => idsOf(text.prompt(messages, tools)),
    expect: (answers) => {
      upcoming = answers[Symbol.iterator]();
      rendered.clear();
    },
    encodeAnswer: (messages, answer, { endIds, isTraining }) => {
      const { before, whole, isKept, after } = laidAnswer({ messages, answer });
      const prompt = idsOf(before);
      const ids = idsOf(whole);

      // 1) the end of the turn: the first token that ends an answer beyond those of the prompt
      const earlier = prompt.filter((id) => endIds.has(id)).length;
      const endAt = [...ids.keys()].filter((i) => endIds.has(ids[i]!))[earlier] ?? -1;
      const end = endAt === -1 ? null : ids[endAt]!;

      // 2) the answer: what stands between, where the template kept the prompt and the answer as they are
      const names = [...control].filter(([, id]) => id === end).map(([name]) => name);
      const isWhole =
        endAt >= prompt.length &&
        prompt.every((id, i) => ids[i] === id) &&
        isKept &&
        (isTraining || names.some((name) => after.startsWith(name)));
      return { prompt, answer: isWhole ? ids.slice(prompt.length, endAt) : continuation(answer, encodeText), end };
    },
  };
}

const keyOf = ({ messages, answer }: Answered): string => JSON.stringify([messages, answer]);

/** Texts after which a tokenizer starts anew, most of the time. */
const ANCHORS = ['\n', 'a', '.', '0', ' '];

/** A text as it goes on after another one: without the space that SentencePiece puts before a first word. */
function continuation(text: string, encode: (text: string) => number[]): number[] {
  const after = (anchor: string, what: string): number[] | null => {
    const start = encode(anchor);
    const whole = encode(anchor + what);
    return start.length > 0 && start.every((id, i) => whole[i] === id) ? whole.slice(start.length) : null;
  };
  const alone = encode(text);
  if (String(after('\n', 'a')) === String(encode('a'))) return alone; // no space is put anywhere
  for (const anchor of ANCHORS) {
    const found = after(anchor, text);
    if (found !== null) return found;
  }
  return alone;
}

/**
 * What llama.cpp takes for an end of the answer by its text alone (llama-vocab.cpp, `llama_vocab::impl::load`), whatever the
 * file calls it.
 */
export const END_NAMES: readonly string[] = [
  ...['<|eot_id|>', '<|im_end|>', '<|end|>', '<|return|>', '<|call|>', '<|flush|>', '<|calls|>', '<end_of_turn>'],
  ...['<|endoftext|>', '</s>', '<|eom_id|>', '<EOT>', '_<EOT>', '[EOT]', '[EOS]', '<|end_of_text|>'],
  ...['<end_of_utterance>', '<eos>', '<turn|>', '<|tool_response>', '<｜end▁of▁sentence｜>', '[e~['],
];

/** Ends of a file, where code is completed in the middle: of each list llama.cpp takes one that is there. */
export const FILE_END_NAMES: ReadonlyArray<readonly string[]> = [
  ['<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>', '[PAD]'],
  ['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>'],
  ['<|file_sep|>'],
];

/** The other control tokens of filling in the middle, each by its text. */
const MIDDLE_NAMES: readonly string[] = [
  ...['<|fim_prefix|>', '<fim-prefix>', '<fim_prefix>', '<｜fim▁begin｜>', '<PRE>', '▁<PRE>'],
  ...['<|code_prefix|>', '<|prefix|>'],
  ...['<|fim_suffix|>', '<fim-suffix>', '<fim_suffix>', '<｜fim▁hole｜>', '<SUF>', '▁<SUF>'],
  ...['<|code_suffix|>', '<|suffix|>'],
  ...['<|fim_middle|>', '<fim-middle>', '<fim_middle>', '<｜fim▁end｜>', '<MID>', '▁<MID>'],
  ...['<|code_middle|>', '<|middle|>'],
];
const CONTROL_NAMES = new Set([...END_NAMES, ...FILE_END_NAMES.flat(), ...MIDDLE_NAMES]);

/** Whether llama.cpp makes a token a control token for its text alone. */
export function isControlName(text: string): boolean {
  return CONTROL_NAMES.has(text);
}

/** Added tokens that their authors forgot to mark as special, by the converter's rule (`does_token_look_special`). */
export function looksSpecial(text: string): boolean {
  return (
    ['<pad>', '<mask>', '<2mass>', '[@BOS@]'].includes(text) ||
    /^<\|.*\|>$/su.test(text) ||
    /^<｜.*｜>$/su.test(text) ||
    /^<unused.*>$/su.test(text)
  );
}
