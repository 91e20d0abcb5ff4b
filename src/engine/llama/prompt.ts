/**
 * A prompt as the model's tokens. A text stands as it is, and nothing in it becomes a control token; a conversation is put
 * into the model's chat template, whose control tokens are the only ones. And the tokens of an answer as bytes.
 */

import type { LlamaModel, Token } from 'node-llama-cpp';
import { type ChatMessage, renderPlain } from '../../core/chat.js';
import { ggufNumbers, ggufString, ggufStrings, TOKEN_TYPE } from '../../gguf/format.js';
import type { GgufFile } from '../../gguf/read.js';
import { chatRenderer, type RenderChat } from '../../hf/tokenizer.js';
import type { Prompt } from '../types.js';

const SPACE_BYTE = 0x20;

export interface PromptTokens {
  readonly vocabularySize: number;
  readonly pieces: TokenPieces;
  /** whether conversations go through the plain template, after which an answer begins with a space that is no part of it */
  readonly isPlain: boolean;
  /** the prompt as the model sees it: BOS where the model wants it */
  tokenize(prompt: Prompt): number[];
  /** without BOS */
  textTokens(text: string): number[];
  /** whether a space at the start of what follows these tokens is the tokenizer's, not the answer's */
  startsText(ids: readonly number[]): boolean;
  /** whether a token ends the answer */
  isEnd(id: number): boolean;
}

/**
 * @param template source of a Jinja template, `plain`, or undefined for the one in the GGUF file (plain where it has none)
 */
export function promptTokens(model: LlamaModel, file: GgufFile, template: string | undefined): PromptTokens {
  const texts = ggufStrings(file, 'tokenizer.ggml.tokens') ?? [];
  const types = ggufNumbers(file, 'tokenizer.ggml.token_type');
  const vocabulary = ggufString(file, 'tokenizer.ggml.model') ?? 'llama';
  // llama.cpp makes some tokens control tokens that their file calls normal, such as <|eot_id|>: it is the one to ask.
  const kinds = texts.map((_, id): TokenKind => {
    const attributes = model.getTokenAttributes(id as Token);
    if (attributes.control || attributes.unknown) return 'control';
    if (attributes.userDefined) return 'user-defined';
    if (attributes.byte || types?.[id] === TOKEN_TYPE.byte) return 'byte';
    return attributes.unused ? 'unused' : 'normal';
  });
  const control = new Map(texts.flatMap((text, id) => (kinds[id] === 'control' ? [[text, id] as const] : [])));
  const special = specialText([...control.keys()]);
  const source = template ?? ggufString(file, 'tokenizer.chat_template');
  const render =
    source === undefined || source === 'plain' ? null : chatRenderer(source, specialName(model), file.path);
  const { bos, shouldPrependBosToken } = model.tokens;

  const textTokens = (text: string): number[] => model.tokenize(text, false);
  const withBos = (ids: number[]): number[] => {
    return bos === null || !shouldPrependBosToken || ids[0] === bos ? ids : [bos, ...ids];
  };
  const pieces = tokenPieces(vocabulary, texts, (id) => kinds[id] ?? 'unused');
  const first = textTokens('a')[0];
  const addsSpace = first !== undefined && pieces.bytes(first)[0] === SPACE_BYTE;

  const templateTokens = (messages: readonly ChatMessage[], render: RenderChat): number[] => {
    const breaker = unusedCharacter(messages.flatMap(({ role, content }) => [role, content]));
    const guarded = messages.map(({ role, content }) => ({
      role: special.guard(role, breaker),
      content: special.guard(content, breaker),
    }));
    const rendered = render(guarded);
    // Without a name in any message, llama.cpp itself finds the template's: it knows which of them swallow white space.
    if (!rendered.includes(breaker)) return model.tokenize(rendered, true);
    return special
      .split(rendered, breaker)
      .flatMap((part) => (part.special ? [control.get(part.text)!] : textTokens(part.text)));
  };

  return {
    vocabularySize: texts.length,
    pieces,
    isPlain: render === null,
    textTokens,
    tokenize(prompt) {
      if (prompt.kind === 'text') return withBos(textTokens(prompt.text));
      if (render === null) return withBos(textTokens(renderPlain(prompt.messages)));
      return withBos(templateTokens(prompt.messages, render));
    },
    isEnd: (id) => model.isEogToken(id as Token),
    startsText: (ids) => addsSpace && (ids.length === 0 || kinds[ids.at(-1)!] === 'control'),
  };
}

/** Texts under the names that templates use. */
function specialName(model: LlamaModel): (name: string) => string | null {
  const { bosString, eosString } = model.tokens;
  return (name) => (name === 'bos_token' ? bosString : name === 'eos_token' ? eosString : null);
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

/** SentencePiece's. */
const SPACE = '▁';
const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;
const NOTHING = new Uint8Array();
const utf8 = new TextEncoder();

/** What llama.cpp knows of a token (llama_token_attr). */
export type TokenKind = 'normal' | 'byte' | 'user-defined' | 'control' | 'unused';

export interface TokenPieces {
  /** bytes of the token's text; empty for control tokens and unused ones, as where llama.cpp detokenizes an answer */
  bytes(id: number): Uint8Array;
  /** bytes of what names the token in lists of likely tokens: control tokens by their name */
  nameBytes(id: number): Uint8Array;
}

/**
 * What each token of a vocabulary is as text, in bytes: one token may be a part of a character, which llama.cpp's own
 * detokenizer would show as U+FFFD.
 *
 * @param model `gpt2`: byte-level BPE, whose texts spell bytes as letters; anything else: SentencePiece's
 * @param texts of each token, by id
 */
export function tokenPieces(model: string, texts: readonly string[], kind: (id: number) => TokenKind): TokenPieces {
  const letters = model === 'gpt2' ? byteLetters() : null;
  const known = new Map<number, Uint8Array>();
  const piece = (id: number): Uint8Array => {
    const text = texts[id] ?? '';
    const what = kind(id);
    if (what === 'unused') return NOTHING;
    if (what === 'control' || what === 'user-defined') return utf8.encode(text);
    if (letters !== null) return Uint8Array.from([...text].flatMap((letter) => letters.get(letter) ?? encode(letter)));
    const byte = what === 'byte' ? BYTE_TOKEN.exec(text)?.[1] : undefined;
    return byte === undefined ? utf8.encode(text.replaceAll(SPACE, ' ')) : Uint8Array.of(Number.parseInt(byte, 16));
  };
  const nameBytes = (id: number): Uint8Array => {
    const bytes = known.get(id) ?? piece(id);
    known.set(id, bytes);
    return bytes;
  };
  return { nameBytes, bytes: (id) => (kind(id) === 'control' ? NOTHING : nameBytes(id)) };
}

/** Letters of no byte appear in damaged vocabularies only. */
const encode = (letter: string): number[] => [...utf8.encode(letter)];

/** GPT-2's bytes_to_unicode, turned round: printable bytes are themselves, the others letters from U+0100 on. */
function byteLetters(): Map<string, number> {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const letters = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) letters.set(String.fromCodePoint(isPrintable(byte) ? byte : next++), byte);
  return letters;
}
