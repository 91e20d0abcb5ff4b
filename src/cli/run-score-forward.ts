/** The part of `crayon score` that computes in float32; loaded only where it is asked for, because it loads tfjs. */

import { chooseBackend, releaseBackend } from '../model/backend.js';
import { openNetwork } from '../model/open-network.js';
import { loadPoolGates } from '../pool/gate.js';
import { loadAdapterLora } from '../train/adapter-lora.js';
import { forwardScorer } from '../train/evaluate.js';
import { scoreThrough } from '../train/score.js';
import type { Scoring } from './scoring.js';

export async function scoreForward({ flags, source, tokenizer, examples, made, terminal }: Scoring) {
  const { adapter, pool, topK, anyBase } = flags;
  const backend = await chooseBackend(flags.backend);
  try {
    terminal.note(`Back end: ${backend.name} (${backend.detail})`);
    const model = openNetwork(source);
    const single = adapter === undefined ? undefined : loadAdapterLora(adapter, source);
    const gates = pool === undefined ? null : loadPoolGates(pool, source, model, tokenizer, { anyBase, topK });
    const lora = (await gates?.loraFor(examples)) ?? single;
    const scored = await terminal.during(({ update }) => {
      const onProgress = (done: number, total: number) => update('score', done, total);
      return scoreThrough(forwardScorer(model, { lora, onProgress }), made);
    });
    model.dispose();
    return { ...scored, backend: backend.name };
  } finally {
    releaseBackend();
  }
}
