/**
 * What a kind of embedding is. Each kind is an object in a file of `kinds/`, listed in `kinds.ts`; help, checks, building,
 * blending and serving go by what it says of itself.
 *
 * Shapes: n prompts, d numbers of an embedding, V vocabulary.
 */

import type { BaseModel } from '../../hf/base-model.js';
import type { ModelConfig } from '../../hf/config.js';
import type { BackendName } from '../../model/names.js';
import type { Network } from '../../model/network.js';
import type { SparseRows } from '../sparse-rows.js';

/** Prompts as token ids, without BOS. */
export type Sequences = ReadonlyArray<Int32Array>;

/** What an embedding is read from: the base model, in whatever file format, or numbers that stand for one. */
export type EmbeddingBase = Pick<BaseModel, 'config' | 'readF32' | 'readRowsF32'>;

/** Where a forward pass comes from. */
export interface ForwardPass {
  /** an open model, which stays open; else one is loaded when first needed, and disposed of */
  model?: Network;
  /** of the model that is loaded */
  backend?: BackendName | 'auto';
  /** told which back end was chosen, e.g. `cpu (JavaScript)` */
  onBackend?: (backend: string) => void;
}

interface Kind {
  /** as `--embedding` and pool.json write it; `<layer>` stands for a whole number */
  readonly name: string;
  /** d on this base model */
  size(base: Pick<ModelConfig, 'hiddenSize' | 'numHeads' | 'headDim' | 'vocabSize'>): number;
}

/** A device embeds with it at once: by the tokenizer, or by a few rows of the base model, in its directory or GGUF file. */
export interface InstantKind extends Kind {
  readonly needs: 'tokenizer' | 'rows';
  /** What of the training set the pool keeps under the name `idf`: (V) */
  fit?(training: Sequences, vocabSize: number): Float32Array;
  /** The training set as sparse rows, for a kind whose rows are mostly zeros: these are never centred. */
  sparse?(training: Sequences, idf: Float32Array): SparseRows;
  /** @returns a function from prompts to unit rows (n, d) */
  open(base: EmbeddingBase, idf: Float32Array | null): InstantEmbed;
}

/** From prompts to unit rows (n, d), row-major. */
export interface InstantEmbed {
  (prompts: Sequences): Float32Array;
  /** The row (d) of one prompt in steps of about a millisecond, where one of any length takes long: for a server's event loop. */
  steps?: ((ids: Int32Array) => Generator<void, Float32Array, void>) | undefined;
}

/** The whole model reads every prompt, so a tensor library is loaded. */
export interface ForwardKind extends Kind {
  readonly needs: 'forward pass';
  /** The hidden state that is read, as transformers number them; `given` is the number in the kind's name. */
  layer(numLayers: number, given: number): number;
}

export type EmbeddingKind = InstantKind | ForwardKind;
