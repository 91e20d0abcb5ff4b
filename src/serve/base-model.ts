/** The base model as the server needs it: a GGUF file, the engine that runs it, and its embedding to read. */

import { basename } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { norm } from '../core/vector.js';
import { type LlamaCppEngine, openLlamaCppEngine } from '../engine/llama/engine.js';
import { type AdapterScale, type EdgeEngine, Query } from '../engine/types.js';
import { cachedModelGguf } from '../gguf/cache.js';
import type { GgufWriteType } from '../gguf/quantise.js';
import { GgufFile } from '../gguf/read.js';
import { HfModel, isModelDirectory } from '../hf/model.js';
import { firstAttentionEmbedder } from '../pool/embed/first-attention.js';
import { firstAttentionSource } from '../pool/embed/first-attention-source.js';
import { centreRows, poolSpace, refuseOtherBase } from '../pool/embed/space.js';
import { tfidfDense } from '../pool/embed/tfidf.js';
import type { Pool } from '../pool/pool.js';
import type { EdgeConfig } from './config.js';
import type { TextEmbedder } from './embedder.js';

export interface BaseModel {
  /** As the configuration names it. */
  path: string;
  gguf: string;
  /** From the file's or directory's name. */
  name: string;
  /** What embeddings are read from; open until `close`. */
  source: HfModel | GgufFile;
  close(): void;
}

/** @throws CrayonError what opening or exporting the model throws */
export function openBaseModel(path: string, options: { cacheDir: string | null; type: GgufWriteType }): BaseModel {
  const { cacheDir, type } = options;
  const isDirectory = isModelDirectory(path);
  const source = isDirectory ? HfModel.open(path) : GgufFile.open(path);
  try {
    const gguf = isDirectory ? cachedModelGguf(path, { type, cacheDir: cacheDir ?? undefined }) : path;
    const name = basename(path)
      .replace(/\.gguf$/i, '')
      .replaceAll(/[^\w.@+-]/g, '-');
    return { path, gguf, name, source, close: () => source.close() };
  } catch (error) {
    source.close();
    throw error;
  }
}

/**
 * Embeds texts in the pool's space, or by first-attention without a pool.
 *
 * @param tokens of a text, without BOS
 * @throws CrayonError `pool-mismatch` when the pool is another base model's, `config-invalid` for an embedding that needs a
 *   forward pass of the whole model
 */
export function openEmbedder(base: BaseModel, pool: Pool | null, tokens: (text: string) => Int32Array): TextEmbedder {
  const rows = pool === null ? firstAttention(base) : inPoolSpace(base, pool);
  return {
    d: rows.d,
    kind: rows.kind,
    embed(text) {
      const ids = tokens(text.trimEnd());
      if (ids.length === 0) return { vector: new Float32Array(rows.d), tokens: 0 };
      return { vector: rows.embed(ids), tokens: ids.length };
    },
  };
}

interface Embedder {
  kind: string;
  d: number;
  embed(ids: Int32Array): Float32Array;
}

function firstAttention({ source }: BaseModel): Embedder {
  const { d, embed } = firstAttentionEmbedder(source);
  return { kind: 'first-attention', d, embed: (ids) => embed([ids]) };
}

function inPoolSpace(base: BaseModel, pool: Pool): Embedder {
  refuseOtherModel(base, pool);
  const { kind, d, mean, idf } = poolSpace(pool);
  if (kind === 'tfidf') return { kind, d, embed: (ids) => tfidfDense([ids], idf!) };
  if (kind !== 'first-attention') {
    throw new CrayonError('config-invalid', `${pool.dir}: embedding ${kind} needs a forward pass of the whole model`, {
      hint: 'Serve a pool built with --embedding first-attention or tfidf.',
    });
  }
  const plain = firstAttention(base);
  return {
    ...plain,
    embed: (ids) => {
      const vector = plain.embed(ids);
      if (mean !== null && norm(vector) > 0) centreRows(vector, mean);
      return vector;
    },
  };
}

/** A Hugging Face directory is known by its digest; of a GGUF only the sizes can be compared. */
function refuseOtherModel({ source }: BaseModel, pool: Pool): void {
  if (source instanceof HfModel) {
    refuseOtherBase(pool, source);
    return;
  }
  const { manifest, idf, dir } = pool;
  const { hiddenSize, heads, headDim, vocabSize } = firstAttentionSource(source);
  const isLexical = manifest.embedding.kind === 'tfidf';
  const pairs: Array<[string, number, number]> = [
    ['hidden size', hiddenSize, manifest.base.hiddenSize],
    isLexical ? ['vocabulary', vocabSize, idf!.length] : ['embedding', heads * headDim, manifest.embedding.dim],
  ];
  for (const [what, found, expected] of pairs) {
    if (found === expected) continue;
    throw new CrayonError(
      'pool-mismatch',
      `${dir}: built on a model of ${what} ${expected}, ${source.path} has ${found}`,
      {
        hint: `Serve the model that the pool was built on ("${manifest.base.name}").`,
      },
    );
  }
}

export interface OpenEdgeOptions {
  gguf: string;
  /** What /v1/models calls it. */
  name: string;
  config: Pick<EdgeConfig, 'engine' | 'limits'>;
}

/** @throws CrayonError what opening the engine throws */
export function openEdgeEngine({ gguf, name, config }: OpenEdgeOptions): Promise<LlamaCppEngine> {
  const { engine, limits } = config;
  return openLlamaCppEngine({
    model: gguf,
    name,
    contextTokens: engine.context,
    sequences: engine.sequences,
    threads: engine.threads,
    gpu: engine.gpu,
    queue: limits.queue,
  });
}

/**
 * Generates one token with these adapters: one that does not fit the model fails now and not for the first client, who then
 * also finds the context made.
 */
export async function warmUp(edge: EdgeEngine, adapters: readonly AdapterScale[]): Promise<void> {
  const query = new Query({ kind: 'text', text: 'a' });
  const request = {
    temperature: 0,
    topP: 1,
    seed: 0,
    stop: [],
    topLogprobs: null,
    signal: new AbortController().signal,
  };
  for await (const _ of edge.generate({ ...request, adapters, query, maxTokens: 1 }));
}
