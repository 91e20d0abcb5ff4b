/**
 * Contexts of one model, one for each set of adapters: llama.cpp applies adapters to a whole context, and what a context has
 * read under one set is wrong under another. Each holds several sequences, whose tokens llama.cpp computes in common batches.
 */

import assert from 'node:assert';
import type { LlamaContext, LlamaContextSequence } from 'node-llama-cpp';
import { interrupted } from '../clock.js';
import type { AdapterScale } from '../types.js';

/** Scales are rounded to this, so that gates that differ by nothing share a context. */
const SCALE_STEP = 0.001;

export interface AdapterSet {
  /** equal for equal sets */
  key: string;
  /** no scale is zero, no id occurs twice */
  adapters: AdapterScale[];
}

/** Adapters in any order, with scales rounded; an adapter named twice counts with the sum of its scales. */
export function adapterSet(adapters: readonly AdapterScale[]): AdapterSet {
  const byId = new Map<string, AdapterScale>();
  for (const adapter of adapters) {
    byId.set(adapter.id, { ...adapter, scale: adapter.scale + (byId.get(adapter.id)?.scale ?? 0) });
  }
  const rounded = [...byId.values()]
    .map((adapter) => ({ ...adapter, scale: Math.round(adapter.scale / SCALE_STEP) * SCALE_STEP }))
    .filter(({ scale }) => scale !== 0)
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  return { key: rounded.map(({ id, scale }) => `${id}@${scale.toFixed(3)}`).join('+'), adapters: rounded };
}

interface Slot {
  sequence: LlamaContextSequence;
  busy: boolean;
  lastUsed: number;
  /** a computation failed: what it holds is not to be trusted */
  broken: boolean;
}

interface Entry {
  ready: Promise<{ context: LlamaContext; slots: Slot[] }>;
  running: number;
  lastUsed: number;
}

/** A sequence in use by one request. */
export class Lease {
  readonly #slot: Slot;
  readonly #onRelease: () => void;
  readonly #signal: AbortSignal;
  #computing = false;
  #ended = false;

  constructor(slot: Slot, signal: AbortSignal, onRelease: () => void) {
    this.#slot = slot;
    this.#onRelease = onRelease;
    this.#signal = signal;
    signal.addEventListener('abort', this.cancel);
  }

  /** @throws CrayonError `interrupted` when the lease has been cancelled or its signal has fired */
  check(): void {
    if (this.#ended || this.#signal.aborted) throw interrupted();
  }

  /**
   * Computes on the sequence.
   *
   * @throws CrayonError `interrupted` before or after, when the lease has been cancelled
   */
  async run<T>(compute: (sequence: LlamaContextSequence) => Promise<T>): Promise<T> {
    this.check();
    this.#computing = true;
    this.#slot.broken = true; // until it has gone well
    try {
      const result = await compute(this.#slot.sequence);
      this.#slot.broken = false;
      this.check();
      return result;
    } finally {
      this.#computing = false;
      if (this.#ended) this.#free();
    }
  }

  /** Frees the sequence: at once, or as soon as the running computation is done. The lease's next step throws. */
  readonly cancel = (): void => {
    if (this.#ended) return;
    this.#ended = true;
    this.#signal.removeEventListener('abort', this.cancel);
    if (!this.#computing) this.#free();
  };

  #free(): void {
    this.#slot.busy = false;
    this.#onRelease();
  }
}

export interface ContextPoolOptions {
  create: (adapters: readonly AdapterScale[]) => Promise<LlamaContext>;
  /** requests at a time, and sequences of each context */
  sequences: number;
  /** contexts kept at a time; at least `sequences`, each of which may need its own */
  maxContexts: number;
}

export class ContextPool {
  readonly #options: ContextPoolOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #leases = new Set<Lease>();
  #uses = 0;
  #cancelled = false;

  constructor(options: ContextPoolOptions) {
    assert(options.maxContexts >= options.sequences, 'each running request may need a context of its own');
    this.#options = options;
  }

  /** contexts that exist or are being made */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * A free sequence of the set's context: the one that holds the longest beginning of `ids`.
   *
   * @param onRelease called once, when the sequence is free again
   */
  async lease(set: AdapterSet, ids: readonly number[], signal: AbortSignal, onRelease: () => void): Promise<Lease> {
    const entry = this.#entry(set);
    entry.running++;
    entry.lastUsed = ++this.#uses;
    const leave = (): void => {
      entry.running--;
      onRelease();
    };
    try {
      const { slots } = await entry.ready;
      if (signal.aborted || this.#cancelled) throw interrupted();
      const slot = bestSlot(slots, ids);
      slot.lastUsed = ++this.#uses;
      slot.busy = true;
      if (slot.broken) await empty(slot);
      const lease: Lease = new Lease(slot, signal, () => {
        this.#leases.delete(lease);
        leave();
      });
      this.#leases.add(lease);
      return lease;
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Ends every running request, and those that still wait for their context. */
  cancelAll(): void {
    this.#cancelled = true;
    for (const lease of [...this.#leases]) lease.cancel();
  }

  #entry({ key, adapters }: AdapterSet): Entry {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const evicted = this.#evict();
    const ready = evicted.then(() => this.#open(adapters));
    const entry: Entry = { ready, running: 0, lastUsed: 0 };
    this.#entries.set(key, entry);
    // A context that could not be made is asked for anew by the next request.
    ready.catch(() => this.#entries.delete(key));
    return entry;
  }

  async #open(adapters: readonly AdapterScale[]): Promise<{ context: LlamaContext; slots: Slot[] }> {
    const context = await this.#options.create(adapters);
    const slots = Array.from({ length: this.#options.sequences }, () => {
      return { sequence: context.getSequence(), busy: false, lastUsed: 0, broken: false };
    });
    return { context, slots };
  }

  /** Makes room for one more context by disposing of the idle one that was used longest ago. */
  async #evict(): Promise<void> {
    if (this.#entries.size < this.#options.maxContexts) return;
    const idle = [...this.#entries].filter(([, entry]) => entry.running === 0);
    const oldest = idle.sort(([, a], [, b]) => a.lastUsed - b.lastUsed)[0];
    assert(oldest !== undefined, 'more requests run than there are contexts');
    this.#entries.delete(oldest[0]);
    const { context } = await oldest[1].ready;
    await context.dispose();
  }
}

/** Free slots only. A common BOS alone is no reason to take the sequence that holds another conversation. */
function bestSlot(slots: readonly Slot[], ids: readonly number[]): Slot {
  const free = slots.filter((slot) => !slot.busy);
  assert(free.length > 0, 'more requests run than there are sequences');
  const score = (slot: Slot): number => {
    const common = slot.broken ? 0 : commonLength(slot.sequence.contextTokens, ids);
    return common > 1 ? common : 0;
  };
  const ranked = free.map((slot) => ({ slot, common: score(slot) }));
  ranked.sort((a, b) => b.common - a.common || a.slot.lastUsed - b.slot.lastUsed);
  return ranked[0]!.slot;
}

/** For a slot whose last computation failed; where even this fails, it is free for the next to try. */
async function empty(slot: Slot): Promise<void> {
  try {
    await slot.sequence.clearHistory();
    slot.broken = false;
  } catch (error) {
    slot.busy = false;
    throw error;
  }
}

/** Number of equal tokens at the start. */
export function commonLength(a: readonly number[], b: readonly number[]): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}
