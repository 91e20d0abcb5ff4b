/** A user's examples, or coefficients, to an adapter that the engine can load: embedded here, blended on a thread. */

import { estimateBlend } from '../../blend/coefficients.js';
import { ScratchDirectory } from '../../files/scratch-directory.js';
import type { Pool } from '../../pool/pool.js';
import { embedPrompts, scopeOf, type TextEmbedder } from '../embedder.js';
import { badField } from '../http/error.js';
import { BlendThread } from './blend-thread.js';
import type { BlendMaker } from './customizations.js';

export interface BlendMakerOptions {
  pool: Pool;
  embedder: TextEmbedder;
  /** The base model: Hugging Face directory or GGUF. */
  base: string;
}

export function createBlendMaker({ pool, embedder, base }: BlendMakerOptions): BlendMaker {
  const files = new SharedFiles();
  const thread = new BlendThread({ pool: pool.dir, base, dir: files.dir });
  const { N } = pool.manifest;

  return {
    async make({ examples, coefficients, topK, temperature, combine }, signal) {
      if (topK !== null && topK > N) {
        throw badField('top_k', `top_k is ${topK}, expected at most ${N}: the pool has no more adapters.`);
      }
      const rows = examples === null ? null : embedPrompts(examples, embedder);
      const estimate = estimateBlend(pool, rows === null ? 'given' : 'similarity', rows, {
        tau: temperature ?? undefined,
        topK: topK ?? undefined,
        coefficients: coefficients ?? undefined,
      });
      const done = files.working();
      try {
        const { id, path, ms } = await thread.run({ coefficients: estimate.coefficients, combine }, signal);
        return {
          ...estimate,
          adapter: { id, path, scale: 1 },
          scope: rows === null ? null : scopeOf(rows, embedder),
          ms,
          hold: () => files.hold(path),
          remove: files.hold(path),
        };
      } finally {
        done();
      }
    },
    close() {
      thread.close();
      files.close();
    },
  };
}

/** Equal blends have one file, by its digest: it goes when the last of them goes, and never while one is being made. */
class SharedFiles {
  readonly #scratch = new ScratchDirectory();
  readonly #holders = new Map<string, number>();
  #workers = 0;

  get dir(): string {
    return this.#scratch.path;
  }

  working(): () => void {
    this.#workers++;
    return () => {
      this.#workers--;
      this.#sweep();
    };
  }

  hold(path: string): () => void {
    this.#holders.set(path, (this.#holders.get(path) ?? 0) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#holders.set(path, this.#holders.get(path)! - 1);
      this.#sweep();
    };
  }

  close(): void {
    this.#scratch.remove();
  }

  #sweep(): void {
    if (this.#workers > 0) return;
    for (const [path, count] of this.#holders) {
      if (count > 0) continue;
      this.#holders.delete(path);
      this.#scratch.discard(path);
    }
  }
}
