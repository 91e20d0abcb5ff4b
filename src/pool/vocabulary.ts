/**
 * The base model's vocabulary as a pool keeps it, in a form that costs a blend of ten prompts a few megabytes of reading: only of a large
 * one in a tokenizer.json. The digest in it and the base's own say whether it is the base's.
 */

import { join } from 'node:path';
import { exists } from '../files/io.js';
import type { BaseModel } from '../hf/base-model.js';
import { readTokenizerFiles, type Tokenizer } from '../hf/tokenizer.js';
import { openVocabularyIndex, writeVocabularyIndex } from '../hf/vocabulary-index.js';
import type { Pool } from './pool.js';

export const POOL_VOCABULARY = 'vocabulary.safetensors';

/** @param digest `model.tokenizerDigest()` */
export function keepVocabulary(dir: string, model: Pick<BaseModel, 'format' | 'path'>, digest: string): void {
  if (model.format !== 'hf') return;
  writeVocabularyIndex(join(dir, POOL_VOCABULARY), readTokenizerFiles(model.path).tokenizer, digest);
}

/** The tokenizer of a model, through what the pool keeps of its vocabulary, if it does. */
export function poolTokenizer({ dir }: Pick<Pool, 'dir'>, model: BaseModel): Tokenizer {
  const path = join(dir, POOL_VOCABULARY);
  if (model.format !== 'hf' || !exists(path)) return model.tokenizer();
  return model.tokenizer(openVocabularyIndex(path, model.tokenizerDigest()) ?? undefined);
}
