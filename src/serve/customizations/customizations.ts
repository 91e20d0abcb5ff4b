/**
 * Customisations made while the server runs: each a blend of the pool's adapters, kept in memory with its file in a
 * temporary directory, gone when the server ends.
 */

import { randomBytes } from 'node:crypto';
import type { CombineKind } from '../../blend/blend.js';
import type { BlendEstimate } from '../../blend/coefficients.js';
import { CrayonError } from '../../core/errors.js';
import type { AdapterScale } from '../../engine/types.js';
import type { ScopeFunction } from '../../routing/signals/scope.js';
import { HttpError } from '../http/error.js';

/** An adapter that was blended; see blend-maker.ts. */
export interface MadeBlend extends BlendEstimate {
  adapter: AdapterScale;
  scope: ScopeFunction | null;
  ms: number;
  /** Keeps the adapter's file until the function that it returns is called, or longer. */
  hold(): () => void;
  /** The file goes, as soon as nobody holds it. */
  remove(): void;
}

export interface BlendOrder {
  examples: Array<{ prompt: string; completion?: string | undefined }> | null;
  coefficients: number[] | null;
  topK: number | null;
  temperature: number | null;
  combine: CombineKind;
}

/** Makes an adapter from a pool, away from the event loop. */
export interface BlendMaker {
  make(order: BlendOrder, signal: AbortSignal): Promise<MadeBlend>;
  close(): void;
}

export interface Customization extends MadeBlend {
  id: string;
  name: string | null;
  /** Seconds since 1970. */
  created: number;
}

export class Customizations {
  readonly #maker: BlendMaker;
  readonly #limit: number;
  readonly #now: () => number;
  readonly #kept = new Map<string, Customization>();
  #making = 0;

  constructor(maker: BlendMaker, limit: number, now: () => number = Date.now) {
    this.#maker = maker;
    this.#limit = limit;
    this.#now = now;
  }

  get size(): number {
    return this.#kept.size;
  }

  list(): Customization[] {
    return [...this.#kept.values()];
  }

  get(id: string): Customization | undefined {
    return this.#kept.get(id);
  }

  /** @throws HttpError 429 when as many are kept as may be; what the blend throws */
  async create(order: BlendOrder, name: string | null, signal: AbortSignal): Promise<Customization> {
    if (this.#kept.size + this.#making >= this.#limit) {
      throw new HttpError(429, `${this.#limit} customisations are kept, which is the limit: delete one first.`, {
        type: 'rate_limit_error',
        code: 'customizations_full',
        headers: { 'x-should-retry': 'false' },
      });
    }
    this.#making++;
    try {
      const blend = await this.#maker.make(order, signal);
      if (signal.aborted) {
        blend.remove(); // nobody is left who would learn its id
        throw new CrayonError('interrupted', 'the request was cancelled');
      }
      const id = randomBytes(8).toString('hex');
      const made: Customization = { id, name, created: Math.floor(this.#now() / 1000), ...blend };
      this.#kept.set(id, made);
      return made;
    } finally {
      this.#making--;
    }
  }

  /** No new request can use it; running ones finish. @returns false where there is none */
  delete(id: string): boolean {
    this.#kept.get(id)?.remove();
    return this.#kept.delete(id);
  }

  close(): void {
    for (const { remove } of this.#kept.values()) remove();
    this.#kept.clear();
    this.#maker.close();
  }
}
