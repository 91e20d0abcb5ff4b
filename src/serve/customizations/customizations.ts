/**
 * Customisations made while the server runs: each a blend of the pool's adapters, kept in memory with its file in a
 * temporary directory, gone when the server ends.
 */

import { randomBytes } from 'node:crypto';
import type { CombineKind } from '../../blend/blend.js';
import type { BlendEstimate } from '../../blend/estimate.js';
import { CrayonError } from '../../core/errors.js';
import type { AdapterScale } from '../../engine/types.js';
import type { ScopeFunction } from '../../routing/signals/scope.js';
import { HttpError } from '../http/error.js';

/** What a blend answers; see blend-maker.ts. */
export interface MadeBlend extends BlendEstimate {
  adapter: AdapterScale;
  scope: ScopeFunction | null;
  ms: number;
  /** Deletes the adapter's file. */
  remove(): void;
}

export interface BlendOrder {
  examples: Array<{ prompt: string; completion?: string }> | null;
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

export interface Customization extends Omit<MadeBlend, 'remove'> {
  id: string;
  name: string | null;
  /** seconds since 1970 */
  created: number;
}

interface Kept {
  customization: Customization;
  blend: MadeBlend;
  /** requests that use it now */
  users: number;
  isDeleted: boolean;
}

export class Customizations {
  readonly #maker: BlendMaker;
  readonly #limit: number;
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept>();
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
    return [...this.#kept.values()].map(({ customization }) => customization);
  }

  get(id: string): Customization | undefined {
    return this.#kept.get(id)?.customization;
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
      const { remove: _, ...shown } = blend;
      const id = randomBytes(8).toString('hex');
      const customization: Customization = { id, name, created: Math.floor(this.#now() / 1000), ...shown };
      this.#kept.set(id, { customization, blend, users: 0, isDeleted: false });
      return customization;
    } finally {
      this.#making--;
    }
  }

  /** For one request: the file stays until `release`, whatever happens to the customisation meanwhile. */
  use(id: string): { customization: Customization; release(): void } | null {
    const kept = this.#kept.get(id);
    if (kept === undefined) return null;
    kept.users++;
    let isHeld = true;
    return {
      customization: kept.customization,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        kept.users--;
        removeUnused(kept);
      },
    };
  }

  /** No new request can use it; running ones finish. @returns false where there is none */
  delete(id: string): boolean {
    const kept = this.#kept.get(id);
    if (kept === undefined) return false;
    this.#kept.delete(id);
    kept.isDeleted = true;
    removeUnused(kept);
    return true;
  }

  close(): void {
    for (const { blend } of this.#kept.values()) blend.remove();
    this.#kept.clear();
    this.#maker.close();
  }
}

function removeUnused(kept: Kept): void {
  if (kept.isDeleted && kept.users === 0) kept.blend.remove();
}
