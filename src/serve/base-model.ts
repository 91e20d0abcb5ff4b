/** The base model as the server needs it: a GGUF file, the engine that runs it, and its embedding to read. */

import { basename } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { type LlamaCppEngine, openLlamaCppEngine } from '../engine/llama/engine.js';
import { type AdapterScale, type EdgeEngine, Query } from '../engine/types.js';
import { cachedModelGguf } from '../gguf/cache.js';
import type { GgufWriteType } from '../gguf/quantise.js';
import { GgufFile } from '../gguf/read.js';
import { HfModel, isModelDirectory } from '../hf/model.js';
import { INSTANT_NAMES } from '../pool/embed/kinds.js';
import { firstAttentionSpace, instantEmbedder, poolSpace, refuseOtherBase } from '../pool/embed/space.js';
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
export function openEmbedder(
  { source }: BaseModel,
  pool: Pool | null,
  tokens: (text: string) => Int32Array,
): TextEmbedder {
  if (pool !== null) refuseOtherBase(pool, source);
  const space = pool === null ? firstAttentionSpace(source) : poolSpace(pool);
  const { kind, d } = space;
  const embed = instantEmbedder(space, source);
  if (embed === null) {
    throw new CrayonError('config-invalid', `${pool?.dir}: embedding ${kind} needs a forward pass of the whole model`, {
      hint: `Serve a pool built with --embedding ${INSTANT_NAMES.join(' or ')}.`,
    });
  }
  return {
    d,
    kind,
    embed(text) {
      const ids = tokens(text.trimEnd());
      return { vector: ids.length === 0 ? new Float32Array(d) : embed([ids]), tokens: ids.length };
    },
  };
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
