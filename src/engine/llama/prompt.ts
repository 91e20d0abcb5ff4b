/**
 * A prompt as the model's tokens. A text stands as it is, and nothing in it becomes a control token; a conversation is put
 * into the model's chat template, whose control tokens are the only ones. And the tokens of an answer as bytes.
 */

import type { LlamaModel, Token } from 'node-llama-cpp';
import { Bounded } from '../../bounded/bounded.js';
import { renderPlain } from '../../core/chat.js';
import { LIMITS } from '../../core/limits.js';
import { breather } from '../../core/long-work.js';
import { ggufNumbers, ggufString, ggufStrings, TOKEN_TYPE } from '../../gguf/format.js';
import type { GgufFile } from '../../gguf/read.js';
import { type SpecialToken, specialTokenIds } from '../../gguf/vocabulary/special-tokens.js';
import { boundedChat } from '../../hf/bounded-chat.js';
import type { Laid } from '../../hf/chat-text.js';
import { chatTokens } from '../../hf/chat-tokens.js';
import { withSystem } from '../../hf/prompt-form.js';
import type { Prompt, Vocabulary } from '../types.js';
import { type CallForm, callForm, HERMES } from './grammar/call-forms.js';
import { type TokenTree, tokenTree } from './grammar/token-tree.js';
import { explained, offered } from './grammar/tool-calls.js';

/** Characters that llama.cpp tokenizes in milliseconds, whatever they are. */
const SHORT_TEXT = 4096;
const SPACE_BYTE = 0x20;

export interface PromptTokens {
  readonly vocabularySize: number;
  readonly pieces: TokenPieces;
  /** whether conversations go through the plain template, after which an answer begins with a space that is no part of it */
  readonly isPlain: boolean;
  /** the prompt as the model sees it: BOS where the model wants it */
  tokenize(prompt: Prompt): number[];
  /** whether that may stop an event loop: a template runs, or the text is long */
  takesLong(prompt: Prompt): boolean;
  /** the same, aside from the event loop */
  tokenizeAside(prompt: Prompt, signal: AbortSignal): Promise<number[]>;
  /** without BOS */
  textTokens(text: string): number[];
  textTokensAside(text: string, signal: AbortSignal): Promise<number[]>;
  /** without BOS, names of control tokens taken for these tokens: never for what a user wrote */
  parsedTokens(text: string): number[];
  parsedTokensAside(text: string, signal: AbortSignal): Promise<number[]>;
  readonly names: Pick<Vocabulary, 'bos' | 'eos' | 'start' | 'chatTemplate'>;
  /** whether a space at the start of what follows these tokens is the tokenizer's, not the answer's */
  startsText(ids: readonly number[]): boolean;
  /** whether a token ends the answer */
  isEnd(id: number): boolean;
  /** how calls of functions are written */
  readonly callForm: CallForm;
  /** all that do */
  readonly endIds: readonly number[];
  /** the tokens that are text of an answer, no control token and none that ends it, by their bytes; made once */
  tree(): Promise<TokenTree>;
}

/**
 * @param endTokens ids at which an answer ends beside those that llama.cpp ends at
 * @param template source of a Jinja template, `plain`, or undefined for the one in the GGUF file (plain where it has none)
 * @param system the system message of conversations that have none, where there is a template
 */
export function promptTokens(
  model: LlamaModel,
  file: GgufFile,
  template: string | undefined,
  system?: string,
  endTokens: readonly number[] = [],
): PromptTokens {
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
  const source = template ?? ggufString(file, 'tokenizer.chat_template');
  const laying =
    source === undefined || source === 'plain'
      ? null
      : boundedChat(source, specialName(model, file, texts), control.keys(), file.path);
  const { bos, shouldPrependBosToken } = model.tokens;

  const ends = new Set(endTokens);
  const isEnd = (id: number): boolean => ends.has(id) || model.isEogToken(id as Token);
  const endIds = [...texts.keys()].filter(isEnd);
  const textTokens = (text: string): number[] => model.tokenize(text, false);
  const withBos = (ids: number[]): number[] => {
    return bos === null || !shouldPrependBosToken || ids[0] === bos ? ids : [bos, ...ids];
  };
  const known = callForm(source === 'plain' ? null : (source ?? null));
  const marks = new Set((known ?? HERMES).marks);
  const isMark = (id: number): boolean => marks.has(texts[id]!);
  const pieces = tokenPieces(vocabulary, texts, (id) => (isMark(id) ? 'user-defined' : (kinds[id] ?? 'unused')));
  /** As the template, or the plain form, takes it. */
  const asked = (prompt: Extract<Prompt, { kind: 'chat' }>) => ({
    messages: known === null ? explained(prompt) : known.told(prompt.messages),
    tools: known === null ? null : (offered(prompt)?.list ?? null),
  });
  let tree: Promise<TokenTree> | null = null;
  const first = textTokens('a')[0];
  const addsSpace = first !== undefined && pieces.bytes(first)[0] === SPACE_BYTE;

  const chat =
    laying &&
    chatTokens({
      text: laying,
      control,
      bosId: shouldPrependBosToken ? bos : null,
      encodeSpecial: (text) => model.tokenize(text, true),
      encodeText: textTokens,
    });

  // Read by a process of its own, which has the vocabulary alone: llama.cpp takes a second and more for a million characters.
  const reader = new Bounded({
    beside: import.meta.url,
    jobs: 'vocabulary-jobs',
    setup: file.path,
    what: `${file.path}: the tokenizer`,
    code: 'tokenizer-unsupported',
    hint: 'Shorten the text.',
  });
  const aside = async (text: string, special: boolean, signal: AbortSignal): Promise<number[]> =>
    text.length <= SHORT_TEXT
      ? model.tokenize(text, special)
      : Array.from(await reader.run<Uint32Array>('tokenize', { text, special }, { timeMs: LIMITS.codeMs * 3, signal }));

  const laidTokens = async (laid: Laid, signal: AbortSignal): Promise<number[]> => {
    if ('text' in laid) return aside(laid.text, true, signal);
    const breathe = breather();
    const ids: number[] = [];
    for (const { special, text } of laid.parts) {
      if (special) ids.push(control.get(text)!);
      else for (const id of await aside(text, false, signal)) ids.push(id);
      await breathe();
    }
    return ids;
  };

  return {
    vocabularySize: texts.length,
    pieces,
    isPlain: chat === null,
    textTokens,
    parsedTokens: (text) => model.tokenize(text, true),
    names: {
      bos: model.tokens.bosString,
      eos: model.tokens.eosString,
      start: withBos([]),
      chatTemplate: source === undefined || source === 'plain' ? null : source,
    },
    tokenize(prompt) {
      if (prompt.kind === 'text') return withBos(textTokens(prompt.text));
      const { messages, tools } = asked(prompt);
      return chat === null
        ? withBos(textTokens(renderPlain(messages)))
        : chat.encode(withSystem(messages, system), tools);
    },
    takesLong: (prompt) => prompt.kind === 'chat' || prompt.text.length > SHORT_TEXT,
    async tokenizeAside(prompt, signal) {
      if (prompt.kind === 'text') return withBos(await aside(prompt.text, false, signal));
      const { messages, tools } = asked(prompt);
      if (laying === null) return withBos(await aside(renderPlain(messages), false, signal));
      return withBos(await laidTokens(await laying.promptAside(withSystem(messages, system), signal, tools), signal));
    },
    textTokensAside: (text, signal) => aside(text, false, signal),
    parsedTokensAside: (text, signal) => aside(text, true, signal),
    tree: () => {
      tree ??= tokenTree(texts.length, (id) => (isEnd(id) ? NOTHING : pieces.bytes(id)));
      return tree;
    },
    endIds,
    callForm: known ?? HERMES,
    isEnd,
    startsText: (ids) => addsSpace && (ids.length === 0 || kinds[ids.at(-1)!] === 'control'),
  };
}

/** Texts under the names that templates use. */
function specialName(model: LlamaModel, file: GgufFile, texts: readonly string[]): (name: string) => string | null {
  const { bosString, eosString } = model.tokens;
  const ids = specialTokenIds(file);
  const named = (token: SpecialToken): string | null => texts[ids.get(token) ?? -1] ?? null;
  return (name) => {
    if (name === 'bos_token') return bosString;
    if (name === 'eos_token') return eosString;
    return name === 'unk_token' ? named('unknown') : name === 'pad_token' ? named('padding') : null;
  };
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
