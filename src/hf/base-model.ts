/**
 * What every part that trains, scores, embeds or exports needs of a base model, whatever file format it lies in: a Hugging
 * Face directory (`HfModel`) or a GGUF file (`GgufModel` in gguf/base.ts). Names of tensors and the order of their rows are
 * always those of the Hugging Face checkpoint.
 */

import type { ModelConfig } from './config.js';
import type { Tokenizer } from './tokenizer.js';
import type { VocabularyIndex } from './vocabulary-index.js';

/** How a base model is stored, as pool.json names it. */
export const BASE_FORMATS = ['hf', 'gguf'] as const;
export type BaseFormat = (typeof BASE_FORMATS)[number];

/** Shape, outermost dimension first, and the type that a tensor is stored in, by the file format's own name. */
export interface BaseTensorInfo {
  readonly shape: readonly number[];
  readonly dtype: string;
}

export interface OpenBaseOptions {
  /**
   * The caller reads a few tensors only, such as rows of the embedding table: those of a type that is not read are refused
   * when they are read, and not at once; and a directory's embeddings and output matrix are taken for one where config.json
   * says so, without reading both to see.
   */
  someWeights?: boolean;
}

/** Opening costs headers only, but for a directory whose output matrix may be its embeddings; weights are read one by one when asked for, and nothing read is kept. */
export interface BaseModel {
  /** as it was given to `open` */
  readonly path: string;
  readonly format: BaseFormat;
  readonly config: ModelConfig;
  /** what its files call it, beside the path */
  readonly names: readonly string[];
  /**
   * Every token at which an answer ends: of a directory the tokenizer's EOS (first) and what config.json and generation_config.json
   * name, of a GGUF file those at which llama.cpp ends.
   */
  readonly endTokenIds: readonly number[];
  tensorNames(): string[];
  info(name: string): BaseTensorInfo;
  /** A weight as float32, row-major. @throws CrayonError `tensor-not-finite` */
  readF32(name: string): Float32Array;
  /** Some rows of a matrix: (rows.length, columns). @throws CrayonError `tensor-not-finite` */
  readRowsF32(name: string, rows: ArrayLike<number>): Float32Array;
  /** An identity of the weights that does not depend on reading gigabytes, in hexadecimal. */
  digest(): string;
  /** An identity of the tokenizer, in hexadecimal. */
  tokenizerDigest(): string;
  /**
   * @param index of a directory's tokenizer.json, by its digest: encoding then builds no vocabulary
   * @throws CrayonError `tokenizer-invalid`, `tokenizer-unsupported`, `file-not-found`
   */
  tokenizer(index?: VocabularyIndex): Tokenizer;
  close(): void;
}
