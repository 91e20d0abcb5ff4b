/** The base model as far as embedding needs it: its weights and its tokenizer, from a directory or from a GGUF file alone. */

import { ggufCount } from '../../gguf/metadata.js';
import { GgufFile, isGgufPath } from '../../gguf/read.js';
import { ggufTokenizer } from '../../gguf/vocabulary/tokenizer.js';
import { HfModel } from '../../hf/model.js';
import { loadTokenizer, type Tokenizer } from '../../hf/tokenizer.js';
import { firstAttentionSource } from './first-attention-source.js';

export interface OpenBase {
  source: HfModel | GgufFile;
  tokenizer: Tokenizer;
  /** tokens of the model's context */
  maxLength: number;
  /** rows of the embedding table */
  vocabSize: number;
}

/**
 * @param path a Hugging Face directory, or a GGUF file as llama.cpp runs it; `source` is the caller's to close
 * @throws CrayonError what opening the model and its tokenizer throws
 */
export function openEmbeddingBase(path: string): OpenBase {
  const source = isGgufPath(path) ? GgufFile.open(path) : HfModel.open(path);
  try {
    return source instanceof GgufFile ? ggufBase(source) : directoryBase(source);
  } catch (error) {
    source.close();
    throw error;
  }
}

function directoryBase(source: HfModel): OpenBase {
  const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
  return { source, tokenizer: loadTokenizer(source.dir), maxLength, vocabSize };
}

function ggufBase(source: GgufFile): OpenBase {
  const { vocabSize } = firstAttentionSource(source);
  const maxLength = ggufCount(source.metadata, `${source.architecture}.context_length`, source.path) ?? Infinity;
  return { source, tokenizer: ggufTokenizer(source), maxLength, vocabSize };
}
