/**
 * The worker thread of blend-worker.ts: what would hold up the event loop, and with it running answers. It blends, and it tokenises the
 * examples that choose.
 */

import type { CombineKind } from '../../blend/blend.js';
import type { ScoredInPool } from '../../choose/evidence.js';
import { threadScript } from '../../core/long-work.js';
import type { Example } from '../../data/dataset.js';
import { type Failed, workThread } from '../../engine/thread.js';
import type { AdapterScale } from '../../engine/types.js';

/** What all jobs of a thread have in common. */
export interface BlendPlace {
  pool: string;
  /** Hugging Face directory or GGUF file. */
  base: string;
  /** Where the GGUF LoRAs are put, each under its digest. */
  dir: string;
}

export interface BlendJob {
  /** of the pool's base LoRAs (N) */
  coefficients: number[];
  combine: CombineKind;
}

export interface Blended extends Pick<AdapterScale, 'id' | 'path'> {
  notices: string[];
  ms: number;
}

/** Examples that are to be scored: their tokens, as `crayon score` makes them, and as adapters are trained where a pool has losses. */
export interface EncodeJob {
  examples: readonly Example[];
  /** of prompt and answer together */
  contextTokens: number;
}

export interface Encoded extends Pick<ScoredInPool, 'prepared'> {
  made: Omit<ScoredInPool['made'], 'examples'>;
}

export type Reply = Blended | Encoded | Failed;

/** The worker thread: started with the first job, anew after it has failed. */
export function blendThread(workerData: BlendPlace) {
  const thread = workThread<BlendJob | EncodeJob, Blended | Encoded>(
    threadScript(import.meta.url, 'blend-worker'),
    workerData,
  );
  return {
    /** Jobs are done one after the other. @throws CrayonError what the blend throws */
    run: (job: BlendJob, signal: AbortSignal) => thread.run(job, signal) as Promise<Blended>,
    /** @throws CrayonError `example-too-long`, `example-invalid`, `tokenizer-unsupported` */
    encode: (job: EncodeJob, signal: AbortSignal) => thread.run(job, signal) as Promise<Encoded>,
    close: thread.close,
  };
}
