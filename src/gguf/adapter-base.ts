/** What an adapter's export must know about its base model, from a Hugging Face directory or from a GGUF file. */

import { CrayonError } from '../core/errors.js';
import type { GgufArchitecture } from '../hf/families/family.js';
import { findArchitecture, GGUF_ARCHITECTURES, ggufArchitecture } from '../hf/families.js';
import { expectedShapes, HfModel } from '../hf/model.js';
import { ggufCount } from './metadata.js';
import { type AttentionShape, ggufModuleName } from './names.js';
import { GgufFile, isGgufPath } from './read.js';

export interface AdapterBase extends AttentionShape {
  path: string;
  architecture: GgufArchitecture;
  /** The output matrix is the embedding table. */
  isTied: boolean;
  /** Shape (out, in) of a weight by llama.cpp's name. */
  shapes: ReadonlyMap<string, readonly number[]>;
}

/**
 * Reads headers only.
 *
 * @throws CrayonError what opening the model or the file throws; `gguf-unsupported` for another architecture
 */
export function readAdapterBase(path: string): AdapterBase {
  return isGgufPath(path) ? fromGguf(path) : fromDirectory(path);
}

function fromDirectory(path: string): AdapterBase {
  const model = HfModel.open(path);
  model.close();
  const { config } = model;
  const shapes = new Map<string, readonly number[]>();
  for (const [name, shape] of expectedShapes(config)) {
    if (name.endsWith('.weight')) shapes.set(`${ggufModuleName(name.slice(0, -'.weight'.length))!}.weight`, shape);
  }
  const { numHeads, numKvHeads, headDim, tieWordEmbeddings: isTied } = config;
  return { path, architecture: ggufArchitecture(config.modelType), numHeads, numKvHeads, headDim, isTied, shapes };
}

function fromGguf(path: string): AdapterBase {
  const file = GgufFile.open(path);
  file.close();
  const { architecture: name } = file;
  const architecture = findArchitecture(name);
  const isAdapter = file.metadata.get('general.type')?.value === 'adapter';
  if (isAdapter || architecture === undefined) {
    const found = isAdapter ? 'an adapter' : `architecture ${name}`;
    throw new CrayonError(
      'gguf-unsupported',
      `${path}: ${found}, expected a base model of ${GGUF_ARCHITECTURES.join(', ')}`,
    );
  }
  const count = (key: string): number | undefined => ggufCount(file.metadata, `${name}.${key}`, path);
  const numHeads = count('attention.head_count');
  const hiddenSize = count('embedding_length');
  if (numHeads === undefined || hiddenSize === undefined) {
    throw new CrayonError('gguf-invalid', `${path}: has no ${name}.attention.head_count or .embedding_length`);
  }
  return {
    path,
    architecture,
    numHeads,
    numKvHeads: count('attention.head_count_kv') ?? numHeads,
    headDim: count('attention.key_length') ?? hiddenSize / numHeads,
    isTied: !file.tensors.has('output.weight'),
    shapes: new Map([...file.tensors].map(([name, { shape }]) => [name, shape])),
  };
}
