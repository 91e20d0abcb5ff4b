/** The device's engine of a configuration, tried out once before it serves anybody. */

import { type LlamaCppEngine, openLlamaCppEngine } from '../engine/llama/engine.js';
import { type AdapterScale, type EdgeEngine, Query } from '../engine/types.js';
import type { EdgeConfig } from './config.js';

export interface OpenEdgeOptions {
  gguf: string;
  /** what /v1/models calls it */
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
