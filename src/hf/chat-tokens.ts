/**
 * A conversation as the model's tokens, the same in training and in serving: rendered by the chat template, whose control tokens
 * are the only ones; and an answer as it follows a conversation, up to the token that ends the turn.
 *
 * What tokenizes is given: llama.cpp on the device, or our own tokenizers of tokenizer.json and GGUF vocabularies.
 */

import type { ChatMessage } from '../core/chat.js';

/**
 * The text already has BOS where the template writes it.
 *
 * @throws CrayonError `example-invalid` with the template's own message where it refuses the conversation,
 *   `tokenizer-unsupported` where it cannot be rendered
 */
export type RenderChat = (messages: readonly ChatMessage[], options?: { addGenerationPrompt?: boolean }) => string;

export interface ChatVocabulary {
  render: RenderChat;
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
  encode(messages: readonly ChatMessage[]): number[];
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

/** Conversations through one vocabulary and one template. */
export function chatTokens(vocabulary: ChatVocabulary): ChatTokens {
  const { render, control, bosId, encodeSpecial, encodeText } = vocabulary;
  const special = specialText([...control.keys()]);

  const guarded = (messages: readonly ChatMessage[], breaker: string): ChatMessage[] =>
    messages.map(({ role, content, name }) => ({
      role: special.guard(role, breaker),
      content: special.guard(content, breaker),
      ...(name !== undefined && { name: special.guard(name, breaker) }),
    }));
  const withBos = (ids: number[]): number[] => (bosId === null || ids[0] === bosId ? ids : [bosId, ...ids]);
  const idsOf = (rendered: string, breaker: string): number[] => {
    // Without a name in any message, the tokenizer itself finds the template's: it knows which of them swallow white space.
    if (!rendered.includes(breaker)) return withBos(encodeSpecial(rendered));
    const parts = special.split(rendered, breaker);
    return withBos(parts.flatMap((part) => (part.special ? [control.get(part.text)!] : encodeText(part.text))));
  };

  return {
    encode: (messages) => {
      const breaker = unusedCharacter(textsOf(messages));
      return idsOf(render(guarded(messages, breaker)), breaker);
    },
    encodeAnswer: (messages, answer, { endIds, isTraining }) => {
      const conversation = [...messages, { role: 'assistant', content: answer }];
      const breaker = unusedCharacter(textsOf(conversation));
      const turns = guarded(conversation, breaker);
      const before = render(turns.slice(0, -1));
      const whole = render(turns, { addGenerationPrompt: false });
      const prompt = idsOf(before, breaker);
      const ids = idsOf(whole, breaker);

      // 1) the end of the turn: the first token that ends an answer beyond those of the prompt
      const earlier = prompt.filter((id) => endIds.has(id)).length;
      const endAt = [...ids.keys()].filter((i) => endIds.has(ids[i]!))[earlier] ?? -1;
      const end = endAt === -1 ? null : ids[endAt]!;

      // 2) the answer: what stands between, where the template kept the prompt and the answer as they are
      const kept = before + turns.at(-1)!.content;
      const names = [...control].filter(([, id]) => id === end).map(([name]) => name);
      const isWhole =
        endAt >= prompt.length &&
        prompt.every((id, i) => ids[i] === id) &&
        whole.startsWith(kept) &&
        (isTraining || names.some((name) => whole.startsWith(name, kept.length)));
      return { prompt, answer: isWhole ? ids.slice(prompt.length, endAt) : continuation(answer, encodeText), end };
    },
  };
}

const textsOf = (messages: readonly ChatMessage[]): string[] =>
  messages.flatMap(({ role, content, name = '' }) => [role, content, name]);

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
