/**
 * The tokenizer files of a Hugging Face directory, read and bounded but not interpreted.
 */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { exists, readSmallFile } from '../files/io.js';
import { decodeUtf8, isJsonObject, type JsonObject, readJsonObject, readOptionalJson } from '../files/json.js';

const TOKENIZER = 'tokenizer.json';
const MAX_TEMPLATE_BYTES = 2 ** 20;

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
 * @throws CrayonError `tokenizer-unsupported` when there is only a SentencePiece or vocabulary file, `file-not-found`
 */
export function readTokenizerFiles(dir: string): TokenizerFiles {
  if (!exists(join(dir, TOKENIZER))) throw missingTokenizer(dir);
  return {
    tokenizer: readJsonObject(join(dir, TOKENIZER)),
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

function readChatTemplate(dir: string): string | null {
  const jinja = join(dir, 'chat_template.jinja');
  if (exists(jinja)) return decodeUtf8(readSmallFile(jinja, MAX_TEMPLATE_BYTES), jinja, 'tokenizer-invalid');
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
