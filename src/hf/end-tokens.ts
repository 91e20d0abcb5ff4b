/**
 * At which tokens a model's answer ends. Base models end at one, their tokenizer's EOS; chat models at the end of a turn too,
 * which most of them name in generation_config.json alone (Llama 3, Qwen, Gemma).
 */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { exists } from '../files/io.js';
import { isJsonObject, readOptionalJson } from '../files/json.js';
import { ConfigReader } from './config-reader.js';
import { readTokenizerFiles, specialToken, type TokenizerFiles } from './tokenizer.js';

const GENERATION = 'generation_config.json';

/**
 * The ids that generation_config.json ends answers at; none where there is no such file.
 *
 * @param vocabSize V of the model
 * @throws CrayonError `model-invalid` for what is no token id, or none of this model's; `json-invalid`
 */
export function generationEndIds(dir: string, vocabSize: number): number[] {
  const path = join(dir, GENERATION);
  const json = readOptionalJson(path);
  if (json === undefined) return [];
  const read = new ConfigReader(json);
  const ids = read.tokenIds('eos_token_id');
  const beyond = ids.find((id) => id >= vocabSize);
  if (beyond !== undefined) read.bad.push(`eos_token_id is ${beyond}, expected below the vocabulary of ${vocabSize}`);
  if (ids.length > LIMITS.endTokens)
    read.bad.push(`eos_token_id has ${ids.length} ids, expected at most ${LIMITS.endTokens}`);
  if (read.bad.length === 0) return ids;
  throw new CrayonError('model-invalid', `${path}: ${read.bad.join('; ')}`, {
    hint: `Mend eos_token_id in ${GENERATION}, or take the file away where it belongs to another model.`,
  });
}

/** The id of the tokenizer's eos_token, or null where a directory names none or has no tokenizer.json. */
export function tokenizerEosId(dir: string): number | null {
  if (!exists(join(dir, 'tokenizer.json'))) return null;
  const files = readTokenizerFiles(dir);
  const text = specialToken(files, 'eos_token');
  return text === null ? null : tokenId(files, text);
}

/** The id of a token by its text, added tokens first. */
function tokenId({ tokenizer: { added_tokens: added, model } }: TokenizerFiles, text: string): number | null {
  const found = Array.isArray(added) ? added.find((token) => token?.content === text)?.id : undefined;
  const vocab = isJsonObject(model) ? model.vocab : undefined;
  const id = found ?? (isJsonObject(vocab) && Object.hasOwn(vocab, text) ? vocab[text] : undefined);
  if (Number.isSafeInteger(id) && (id as number) >= 0) return id as number;
  if (!Array.isArray(vocab)) return null; // Unigram's is a list of [piece, score]
  const index = vocab.findIndex((piece) => Array.isArray(piece) && piece[0] === text);
  return index === -1 ? null : index;
}
