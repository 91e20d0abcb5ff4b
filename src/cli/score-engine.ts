/**
 * The part of `crayon score` that asks the engine: the GGUF that `serve-edge` would serve, with its quantised kernels, the
 * adapter or a pool's per-query gate, all put together as it does for serving. No tensor library is loaded.
 */

import { promptFor, Query } from '../engine/types.js';
import { assembleEdge } from '../serve/assemble.js';
import { loadEdgeConfig } from '../serve/config.js';
import { engineScorer } from '../serve/engine-scorer.js';
import { scoreThrough } from '../train/score.js';
import type { Scoring } from './scoring.js';

/** The least context that a configuration takes. */
const LEAST_CONTEXT = 16;

export async function scoreEngine({ flags, source, form, made, terminal }: Scoring) {
  const { model, adapter, pool, topK, type, cacheDir } = flags;
  const longest = made.sequences.reduce((most, { ids }) => Math.max(most, ids.length), LEAST_CONTEXT);
  const config = loadEdgeConfig(null, {
    ...{
      model,
      adapter,
      pool,
      any_base: flags.anyBase,
      cache_dir: cacheDir,
      gate: pool === undefined ? 'fixed' : 'per-query',
      gate_top_k: topK ?? null,
    },
    engine: { type, context: longest, sequences: 1 },
    routing: { mode: 'only_on_device' },
  });
  const parts = await assembleEdge(config, { withoutCustomizations: true });
  try {
    const exported = source.format === 'hf' ? `, exported as ${type}` : '';
    terminal.note(`Engine: llama.cpp, threads ${parts.facts.threads}${exported}`);
    const kind = form.kind === 'chat' ? 'chat' : 'text';
    const query = (i: number) => new Query(promptFor(made.examples[i]!, kind));
    // One after the other: what sequences have in common at their beginning is then read once.
    return await terminal.during(({ update }) => {
      const onProgress = (done: number, total: number) => update('score', done, total);
      const adaptersOf = (owner: number) => parts.adapters.choose(query(owner));
      return scoreThrough(engineScorer(parts.device, adaptersOf, { onProgress }), made);
    });
  } finally {
    await parts.close();
  }
}
