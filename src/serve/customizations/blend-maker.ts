/** A user's examples, or coefficients, to an adapter that the engine can load: embedded here, blended on a thread. */

import { estimateCoefficients, type Rows } from '../../blend/coefficients.js';
import { checkCoverage } from '../../blend/coverage.js';
import { CrayonError } from '../../core/errors.js';
import { ScratchDirectory } from '../../files/scratch-directory.js';
import type { Pool } from '../../pool/pool.js';
import type { TextEmbedder } from '../embedder.js';
import { badField } from '../http/error.js';
import { BlendThread } from './blend-thread.js';
import type { BlendMaker, BlendOrder, MadeBlend } from './customizations.js';
import { scopeOf } from './scope-profile.js';

export interface BlendMakerOptions {
  pool: Pool;
  embedder: TextEmbedder;
  /** the base model: Hugging Face directory or GGUF */
  base: string;
}

export function createBlendMaker({ pool, embedder, base }: BlendMakerOptions): BlendMaker {
  const thread = new BlendThread();
  const files = new SharedFiles();
  const { manifest, centroids } = pool;
  const space: Rows = { data: centroids, n: manifest.N, d: manifest.embedding.dim };

  return {
    async make(order: BlendOrder, signal: AbortSignal): Promise<MadeBlend> {
      if (order.topK !== null && order.topK > manifest.N) {
        throw badField(
          'top_k',
          `top_k is ${order.topK}, expected at most ${manifest.N}: the pool has no more adapters.`,
        );
      }
      const rows = order.examples === null ? null : embedPrompts(order.examples, embedder);
      const { coefficients, similarities } = estimateCoefficients(rows === null ? 'given' : 'similarity', rows, space, {
        tau: order.temperature ?? manifest.tau,
        ...(order.topK === null ? {} : { topK: order.topK }),
        ...(order.coefficients === null ? {} : { coefficients: order.coefficients }),
      });
      const coverage = rows === null ? null : checkCoverage(rows, space, manifest.clusters);
      const done = files.working();
      try {
        const { id, path, ms } = await thread.run(
          { pool: pool.dir, coefficients: [...coefficients], combine: order.combine, base, dir: files.dir },
          signal,
        );
        return {
          adapter: { id, path, scale: 1 },
          coefficients: [...coefficients],
          similarities: similarities === null ? null : [...similarities],
          coverage:
            coverage === null
              ? null
              : { verdict: coverage.verdict, sentence: coverage.sentence, percentile: coverage.percentile },
          scope: rows === null ? null : scopeOf(rows, embedder),
          examples: rows?.n ?? 0,
          ms,
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

/** @throws CrayonError `example-invalid` for prompts without any token that the embedding knows */
export function embedPrompts(examples: ReadonlyArray<{ prompt: string }>, embedder: TextEmbedder): Rows {
  const { d } = embedder;
  const data = new Float32Array(examples.length * d);
  const empty: number[] = [];
  for (const [i, { prompt }] of examples.entries()) {
    const { vector } = embedder.embed(prompt);
    if (vector.every((x) => x === 0)) empty.push(i);
    data.set(vector, i * d);
  }
  if (empty.length === 0) return { data, n: examples.length, d };
  const names = empty.map((i) => `examples[${i}]`).join(', ');
  throw new CrayonError('example-invalid', `no embedding for ${names}: the prompt has no tokens that the pool knows`);
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
