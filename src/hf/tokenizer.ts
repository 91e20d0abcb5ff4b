/**
 * Text to token ids and back, as the model's own tokenizer.json says, through @huggingface/tokenizers.
 */

import { join } from 'node:path';
import { Tokenizer as HfTokenizer } from '@huggingface/tokenizers';
import { OutOfTime, withinTime } from '../bounded/time.js';
import { CrayonError, isCrayonError, reasonOf } from '../core/errors.js';
import { shown } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { exists, readSmallFile } from '../files/io.js';
import { decodeUtf8, isJsonObject, type JsonObject, readJsonObject, readOptionalJson } from '../files/json.js';
import { boundedChat } from './bounded-chat.js';
import type { RenderChat } from './chat-text.js';
import { type ChatTokens, chatTokens, END_NAMES, isControlName, looksSpecial } from './chat-tokens.js';
import { refuseGrowingSteps } from './tokenizer-steps.js';
import { lookIn, type VocabularyIndex } from './vocabulary-index.js';
import { hasKnownExpressions } from './word-expressions.js';

export type { RenderChat } from './chat-text.js';

export interface Tokenizer {
  /** Largest token id + 1; the model's embedding table has at least as many rows. */
  readonly vocabSize: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  /** Whether this tokenizer starts every text with BOS of its own accord. */
  readonly addsBos: boolean;
  /**
   * Token ids of a text. Names of special tokens in the text become those tokens, as everywhere in Hugging Face.
   *
   * @param options.addBos start with BOS; `addsBos` when not given. EOS is never added.
   */
  encode(text: string, options?: { addBos?: boolean }): number[];
  /** Text of token ids; special tokens are left out unless asked for. */
  decode(ids: ArrayLike<number>, options?: { keepSpecial?: boolean }): string;
  /** Token ids of a text without BOS, in which names of control tokens are text like any other: as llama.cpp reads a user's. */
  encodeText(text: string): number[];
  /** The tokens that end an answer, as far as the tokenizer knows: EOS, those that llama.cpp knows by their names, and those of the model that it was opened with. */
  readonly endIds: ReadonlySet<number>;
  /** The source of the chat template, or null when the model has none. */
  readonly chatTemplate: string | null;
  /** Renders a conversation as the model was trained to see it, or null when the model has no chat template. */
  readonly renderChat: RenderChat | null;
  /** Conversations as token ids, through the chat template; null without one. */
  readonly chat: ChatTokens | null;
  /** The same tokenizer with another chat template, such as an adapter's own. */
  withTemplate(source: string): Tokenizer;
}

/** The parts of a tokenizer that conversations go through; its control tokens are `control`. */
export type ChatParts = Pick<
  Tokenizer,
  'bosId' | 'eosId' | 'addsBos' | 'encode' | 'encodeText' | 'decode' | 'vocabSize'
> & {
  control: ReadonlyMap<string, number>;
  /** text under a name that templates use, such as `bos_token` */
  specialToken: (name: string) => string | null;
  where: string;
  /** tokens that end an answer beside those that the tokenizer knows: `BaseModel.endTokenIds` */
  ends: readonly number[];
};

/** A tokenizer of its parts, with a chat template or without. */
export function withChat(parts: ChatParts, template: string | null): Tokenizer {
  const { vocabSize, bosId, eosId, addsBos, encode, encodeText, decode, control, specialToken, where } = parts;
  const named = END_NAMES.flatMap((name) => control.get(name) ?? []);
  const text = template === null ? null : boundedChat(template, specialToken, control.keys(), where);
  const ends = [...named, ...parts.ends];
  return {
    vocabSize,
    bosId,
    eosId,
    addsBos,
    encode,
    encodeText,
    decode,
    endIds: new Set(eosId === null ? ends : [eosId, ...ends]),
    chatTemplate: template,
    renderChat: text?.render ?? null,
    chat:
      text &&
      chatTokens({
        text,
        control,
        bosId: addsBos ? bosId : null,
        encodeSpecial: (text) => encode(text, { addBos: false }),
        encodeText,
      }),
    withTemplate: (source) => withChat(parts, source),
  };
}

const MODEL_TYPES = ['BPE', 'Unigram', 'WordPiece'];

/**
 * Opens the tokenizer of a Hugging Face directory.
 *
 * @param ends tokens that end an answer beside those that the tokenizer knows: `BaseModel.endTokenIds`
 * @param index of its tokenizer.json: ids and errors are the same, and only `decode` builds the vocabulary
 * @throws CrayonError `tokenizer-invalid`, `tokenizer-unsupported`, `file-not-found`
 *
 * @example
 * const tokenizer = loadTokenizer('models/crayon-edge');
 * tokenizer.decode(tokenizer.encode('Once upon a time')); // 'Once upon a time'
 */
export function loadTokenizer(dir: string, ends: readonly number[] = [], index?: VocabularyIndex): Tokenizer {
  const whole = () => createTokenizer(readTokenizerFiles(dir), dir, { ends });
  if (index === undefined) return whole();
  return createTokenizer(readTokenizerFiles(dir, index.skeleton), dir, { ends, indexed: { index, whole } });
}

/**
 * A tokenizer from the content of its files.
 *
 * @param where names them in errors
 * @param options.areExpressionsOurs none of its regular expressions is a stranger's
 * @param options.addsBos where it is known otherwise whether every text starts with BOS: BOS may also be a text's last token, as
 *   in GPT-2, so that a trial text says less
 */
export function createTokenizer(
  files: TokenizerFiles,
  where: string,
  {
    addsBos: knownAddsBos,
    ends = [],
    areExpressionsOurs = false,
    indexed,
  }: {
    addsBos?: boolean;
    ends?: readonly number[];
    areExpressionsOurs?: boolean;
    indexed?: { index: VocabularyIndex; whole: () => Tokenizer };
  } = {},
): Tokenizer {
  const { tokenizer: json, config } = files;
  const clock = hasKnownExpressions(json) || areExpressionsOurs ? null : where;
  const backend = createBackend(json, config, where, clock, indexed?.index);
  const vocabulary = backend.get_vocab(true);
  const idOf = (name: string): number | null => {
    const token = specialToken(files, name);
    if (token === null) return null;
    const id = backend.token_to_id(token);
    if (id === undefined) {
      throw new CrayonError('tokenizer-invalid', `${where}: ${name} "${token}" is not in the vocabulary`);
    }
    return id;
  };
  const bosId = idOf('bos_token');
  const eosId = idOf('eos_token');
  const encoded = (by: HfTokenizer, text: string): number[] => {
    if (text === '') return [];
    const { ids, tokens } = timed(clock, text.length, () => by.encode(text, { add_special_tokens: false }));
    // Without an unknown token the library has no id for such a piece, which an array of ids would keep as 0.
    const unknown = (ids as Array<number | undefined>).indexOf(undefined);
    if (unknown === -1) return ids;
    const piece = JSON.stringify(String(tokens[unknown] ?? text).slice(0, 40));
    throw new CrayonError('example-invalid', `${where}: the vocabulary has no token for ${piece}, nor an unknown one`, {
      hint: 'Leave that text out, or choose a model that knows it.',
    });
  };
  const plain = (text: string) => encoded(backend, text);
  // The post-processor alone decides; add_bos_token in tokenizer_config.json is only its author's wish.
  const addsBos = knownAddsBos ?? (bosId !== null && backend.encode('a').ids[0] === bosId && plain('a')[0] !== bosId);
  const template = chatTemplate(files);
  let vocabSize = indexed?.index.size ?? 0;
  for (const id of vocabulary.values()) vocabSize = Math.max(vocabSize, id + 1);
  const hasText = new Uint8Array(vocabSize);
  for (const id of vocabulary.values()) hasText[id] = 1;

  const control = controlTokens(json);
  let textBackend: HfTokenizer | undefined; // rarely needed, and as large as the vocabulary
  let whole: Tokenizer | undefined; // likewise
  const parts: ChatParts = {
    vocabSize,
    bosId,
    eosId,
    addsBos,
    control,
    specialToken: (name) => specialToken(files, name),
    where,
    ends,
    encode(text, { addBos = addsBos } = {}) {
      const ids = plain(text);
      return addBos ? [requireBos(bosId, where), ...ids] : ids;
    },
    encodeText(text) {
      if (![...control.keys()].some((name) => text.includes(name))) return plain(text);
      textBackend ??= createBackend(withoutTokens(json, control), config, where, clock, indexed?.index);
      return encoded(textBackend, text);
    },
    decode(ids, { keepSpecial = false } = {}) {
      if (indexed !== undefined) {
        whole ??= indexed.whole();
        return whole.decode(ids, { keepSpecial });
      }
      // An embedding table has more rows than there are tokens; like transformers, ids of none are no text.
      const known = Array.from(ids).filter((id) => hasText[id] === 1);
      if (known.length === 0) return '';
      return timed(clock, known.length, () =>
        backend.decode(known, {
          skip_special_tokens: !keepSpecial,
          // transformers 5 leaves spaces alone unless the configuration says otherwise; the library's default is the old one.
          clean_up_tokenization_spaces: config.clean_up_tokenization_spaces === true,
        }),
      );
    },
  };
  return withChat(parts, template);
}

/** Names and ids of the added tokens that are control tokens in llama.cpp. */
function controlTokens({ added_tokens: added }: TokenizerFiles['tokenizer']): Map<string, number> {
  const list: JsonObject[] = Array.isArray(added) ? added : [];
  const isControl = ({ content, special }: JsonObject) =>
    special === true || isControlName(content as string) || looksSpecial(content as string);
  return new Map(list.filter(isControl).map(({ content, id }) => [content as string, id as number]));
}

/** tokenizer.json without these added tokens: their names are then text like any other. */
function withoutTokens(json: JsonObject, names: ReadonlyMap<string, number>): JsonObject {
  const added = json.added_tokens as JsonObject[];
  return { ...json, added_tokens: added.filter(({ content }) => !names.has(content as string)) };
}

/** Beside what every call has, for each character or token: a tenth of the speed of a slow machine. */
const MS_PER_CHARACTER = 0.01;

/**
 * Runs the library's tokenizer under a clock, unless all its expressions are known ones.
 *
 * @param clock names the tokenizer; null where it needs no clock
 * @throws CrayonError `tokenizer-unsupported` where the time is over
 */
function timed<T>(clock: string | null, length: number, work: () => T): T {
  if (clock === null) return work();
  try {
    return withinTime(LIMITS.codeMs + MS_PER_CHARACTER * length, work);
  } catch (error) {
    if (!(error instanceof OutOfTime)) throw error;
    const problem = `the regular expressions of tokenizer.json take too long over a text of ${length} characters`;
    throw new CrayonError('tokenizer-unsupported', `${clock}: ${problem}: ${error.message}`, {
      hint: 'Use the tokenizer of the model that this one was made from, or leave the text out.',
      cause: error,
    });
  }
}

function createBackend(
  json: TokenizerFiles['tokenizer'],
  config: object,
  where: string,
  clock: string | null,
  index?: VocabularyIndex,
): HfTokenizer {
  // The library takes a type it does not know for a plain word list; old files leave the type out.
  const type = isJsonObject(json.model) ? json.model.type : undefined;
  if (type !== undefined && !MODEL_TYPES.includes(type as string)) {
    const found = JSON.stringify(type);
    throw new CrayonError(
      'tokenizer-unsupported',
      `${where}: tokenizer model ${found}, expected ${MODEL_TYPES.join(', ')}`,
    );
  }
  try {
    checkTokens(json);
    refuseGrowingSteps(json);
    return timed(clock, 1, () => {
      const backend = new HfTokenizer(json, config);
      if (index !== undefined) lookIn(backend, index);
      const { ids } = backend.encode('a');
      if (ids.length > 0) backend.decode(ids);
      return backend;
    });
  } catch (error) {
    if (isCrayonError(error)) throw error;
    throw new CrayonError('tokenizer-invalid', `${where}: tokenizer.json cannot be used (${reasonOf(error)})`, {
      hint: 'It is damaged, or uses a part that @huggingface/tokenizers does not know.',
      cause: error,
    });
  }
}

/**
 * What the library takes as it comes. Ids become indices of an array in it, so a single huge one would cost gigabytes. Throws a
 * plain Error.
 */
function checkTokens({ model, added_tokens: added }: TokenizerFiles['tokenizer']): void {
  const { vocab, unk_id: unknown } = isJsonObject(model) ? model : {};
  const addedTokens: unknown[] = Array.isArray(added) ? added : [];
  const entries = isJsonObject(vocab) ? Object.entries(vocab) : [];
  for (const [token, id] of [...entries, ...addedTokens.map((x) => (isJsonObject(x) ? [x.content, x.id] : [x]))]) {
    if (typeof token !== 'string') throw new Error(`an added token is ${shown(token)}, expected text`);
    const isId = Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < LIMITS.vocabulary;
    if (!isId) throw new Error(`token ${shown(token)} has id ${shown(id)}`);
  }
  if (isJsonObject(vocab)) return;
  if (!Array.isArray(vocab)) throw new Error(`vocab is ${shown(vocab)}, expected tokens with their ids, or pieces`);
  const isPiece = (piece: unknown) => Array.isArray(piece) && typeof piece[0] === 'string' && Number.isFinite(piece[1]);
  const bad = vocab.findIndex((piece) => !isPiece(piece));
  if (bad !== -1) throw new Error(`piece ${bad} is ${shown(vocab[bad])}, expected a text and its score`);
  if (unknown !== null && unknown !== undefined && !Object.hasOwn(vocab, unknown as number)) {
    throw new Error(`unk_id is ${shown(unknown)}, expected a piece's number`);
  }
}

/** What a forward pass starts every text with; null for models without BOS. */
export function leadingBos({ addsBos, bosId }: Tokenizer): number | null {
  return addsBos ? bosId : null;
}

/** @throws CrayonError `tokenizer-unsupported` when there is no BOS */
export function requireBos(bosId: number | null, where: string): number {
  if (bosId !== null) return bosId;
  throw new CrayonError('tokenizer-unsupported', `${where}: BOS wanted, but there is no bos_token`);
}

/**
 * The tokenizer files of a Hugging Face directory, read and bounded but not interpreted.
 */

/** The file that a directory of a model or an adapter keeps its chat template in. */
export const CHAT_TEMPLATE = 'chat_template.jinja';
const TOKENIZER = 'tokenizer.json';

export interface TokenizerFiles {
  /** tokenizer.json: vocabulary, merges and the steps around them. */
  tokenizer: JsonObject;
  /** tokenizer_config.json: names of the special tokens, chat template; empty when there is no such file. */
  config: JsonObject;
  /** special_tokens_map.json, or empty. */
  specialTokens: JsonObject;
  /** The template kept in a file of its own, if any. */
  chatTemplate: string | null;
}

/**
 * Reads a directory's tokenizer files.
 *
 * @param tokenizer stands for the content of tokenizer.json, which is then not read
 * @throws CrayonError `tokenizer-unsupported` when there is only a SentencePiece or vocabulary file, `file-not-found`
 */
export function readTokenizerFiles(dir: string, tokenizer?: JsonObject): TokenizerFiles {
  if (!exists(join(dir, TOKENIZER))) throw missingTokenizer(dir);
  return {
    tokenizer: tokenizer ?? readJsonObject(join(dir, TOKENIZER)),
    config: readOptionalJson(join(dir, 'tokenizer_config.json')) ?? {},
    specialTokens: readOptionalJson(join(dir, 'special_tokens_map.json')) ?? {},
    chatTemplate: readChatTemplate(dir),
  };
}

/** The text of a special token such as `eos_token`, or null where none is named. */
export function specialToken({ config, specialTokens }: TokenizerFiles, name: string): string | null {
  return tokenText(config[name]) ?? tokenText(specialTokens[name]);
}

/** A special token is written as text or as an object with its text as `content`. */
function tokenText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return isJsonObject(value) && typeof value.content === 'string' ? value.content : null;
}

/** The chat template: a file of its own, or in tokenizer_config.json one template or a list of named ones. */
export function chatTemplate({ chatTemplate: file, config }: TokenizerFiles): string | null {
  const value = file ?? config.chat_template;
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return null;
  const named = value.find((item) => item?.name === 'default') ?? value[0];
  return typeof named?.template === 'string' ? named.template : null;
}

/** The template that a directory keeps in a file of its own, or null. */
export function readChatTemplate(dir: string): string | null {
  const jinja = join(dir, CHAT_TEMPLATE);
  if (exists(jinja)) return decodeUtf8(readSmallFile(jinja, LIMITS.configBytes), jinja, 'tokenizer-invalid');
  const json = join(dir, 'chat_template.json');
  if (!exists(json)) return null;
  const { chat_template: template } = readJsonObject(json);
  if (typeof template !== 'string') throw new CrayonError('tokenizer-invalid', `${json}: chat_template is not text`);
  return template;
}

function missingTokenizer(dir: string): CrayonError {
  const other = ['tokenizer.model', 'vocab.json', 'vocab.txt', 'spiece.model'].find((name) => exists(join(dir, name)));
  if (other === undefined) return new CrayonError('file-not-found', `${join(dir, TOKENIZER)}: no such file`);
  return new CrayonError('tokenizer-unsupported', `${dir}: has ${other} but no ${TOKENIZER}`, {
    hint: `Make one: load the tokenizer with transformers' AutoTokenizer and save_pretrained() it into the directory.`,
  });
}
