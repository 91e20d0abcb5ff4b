/**
 * Contexts of one model, one for each set of adapters: llama.cpp applies adapters to a whole context, and what a context has
 * read under one set is wrong under another. Each holds several sequences, whose tokens llama.cpp computes in common batches.
 */

import assert from 'node:assert';
import type { LlamaContext, LlamaContextSequence, Token } from 'node-llama-cpp';
import { interrupted } from '../clock.js';
import type { AdapterScale } from '../types.js';
import { type LoraUsers, setLoras } from './loras.js';
import { checkedTotal } from './next-token.js';
import { commonLength, SequenceReader, type SequenceSlot } from './reader.js';

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

interface Made {
  context: LlamaContext;
  slots: SequenceSlot[];
}

interface Entry {
  adapters: readonly AdapterScale[];
  ready: Promise<Made>;
  running: number;
  lastUsed: number;
  /** one of its adapters is gone: so is the context, when no request uses it any more */
  forgotten: boolean;
  /** a computation in it has diverged: it is not used again */
  abandoned: boolean;
}

export interface ContextPoolOptions {
  loras: LoraUsers;
  /** @param spare a context without adapters, to be used instead of a new one */
  create: (adapters: readonly AdapterScale[], spare: LlamaContext | null) => Promise<LlamaContext>;
  /** requests at a time, and sequences of each context */
  sequences: number;
  /** contexts kept at a time; at least `sequences`, each of which may need its own */
  maxContexts: number;
  vocabularySize: number;
}

export class ContextPool {
  readonly #options: ContextPoolOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #readers = new Set<SequenceReader>();
  /**
   * Contexts that lost their adapters. The next set gets one of them: that is quicker than a new one (4 instead of 9 ms for the embedded
   * model), and buffers of many megabytes that come and go leave glibc's heap full of holes.
   */
  readonly #spare: Made[] = [];
  /** not to be used again, by requests that still run */
  readonly #abandoned = new Set<Entry>();
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
  async lease(
    set: AdapterSet,
    ids: readonly number[],
    signal: AbortSignal,
    onRelease: () => void,
  ): Promise<SequenceReader> {
    const entry = this.#entry(set);
    entry.running++;
    entry.lastUsed = ++this.#uses;
    entry.forgotten = false; // the same blend has been made again
    const leave = (slot?: SequenceSlot): void => {
      entry.running--;
      if (slot?.diverged) this.#abandon(set.key, entry);
      if (entry.forgotten || entry.abandoned) this.#dropIdle();
      onRelease();
    };
    try {
      const { slots } = await entry.ready;
      if (signal.aborted || this.#cancelled) throw interrupted();
      const slot = bestSlot(slots, ids);
      slot.lastUsed = ++this.#uses;
      slot.busy = true;
      if (slot.broken) await empty(slot);
      const reader: SequenceReader = new SequenceReader(slot, signal, this.#options.vocabularySize, () => {
        this.#readers.delete(reader);
        leave(slot);
      });
      this.#readers.add(reader);
      return reader;
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Ends every running request, and those that still wait for their context. */
  cancelAll(): void {
    this.#cancelled = true;
    for (const reader of [...this.#readers]) reader.cancel();
  }

  /** Takes an adapter from the contexts that use it: now, or as soon as their requests have ended. @param path the adapter's file */
  forget(path: string): void {
    for (const entry of this.#entries.values()) {
      if (entry.adapters.some((adapter) => adapter.path === path)) entry.forgotten = true;
    }
    this.#dropIdle();
  }

  /** No new request gets the context. */
  #abandon(key: string, entry: Entry): void {
    if (!entry.abandoned) this.#abandoned.add(entry);
    entry.abandoned = true;
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
  }

  /** Nobody waits for it, and a failure to give memory back is no request's failure. */
  #dropIdle(): void {
    for (const [key, entry] of this.#entries) {
      if (!entry.forgotten || entry.running > 0) continue;
      this.#entries.delete(key);
      this.#retire(entry, this.#options.maxContexts - 1).catch(() => {});
    }
    for (const entry of this.#abandoned) {
      if (entry.running === 0 && this.#abandoned.delete(entry)) this.#retire(entry, -1).catch(() => {});
    }
  }

  #entry({ key, adapters }: AdapterSet): Entry {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const { loras } = this.#options;
    loras.use(adapters); // before the evicted one lets go of what both have
    const ready = this.#evict().then(() => this.#open(adapters));
    const entry: Entry = { adapters, ready, running: 0, lastUsed: 0, forgotten: false, abandoned: false };
    this.#entries.set(key, entry);
    // A context that could not be made is asked for anew by the next request.
    ready.catch(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      return loras.release(adapters);
    });
    return entry;
  }

  #open(adapters: readonly AdapterScale[]): Promise<Made> {
    const { loras, create, sequences, vocabularySize } = this.#options;
    return loras.alone(async () => {
      const spare = this.#spare.pop() ?? null;
      let context = spare?.context;
      try {
        context = await create(adapters, spare?.context ?? null);
        const made = context === spare?.context ? spare : { context, slots: newSlots(context, sequences) };
        for (const slot of made.slots) await empty(slot);
        if (adapters.length > 0) await computeOnce(made.slots[0]!.sequence, vocabularySize);
        return made;
      } catch (error) {
        await context?.dispose();
        throw error;
      }
    });
  }

  /** Makes room for one more context by taking the idle one that was used longest ago. */
  async #evict(): Promise<void> {
    const { maxContexts } = this.#options;
    if (this.#entries.size < maxContexts) return;
    const idle = [...this.#entries].filter(([, entry]) => entry.running === 0);
    const oldest = idle.sort(([, a], [, b]) => a.lastUsed - b.lastUsed)[0];
    assert(oldest !== undefined, 'more requests run than there are contexts');
    this.#entries.delete(oldest[0]);
    await this.#retire(oldest[1], maxContexts); // of which the new one, which takes its place, is one
  }

  /** @param mostOthers contexts that there may be beside it, or it is disposed of; -1: in any case */
  async #retire({ ready, adapters }: Entry, mostOthers: number): Promise<void> {
    const made = await ready.catch(() => null); // what could not be made has let go by itself
    if (made === null) return;
    const { loras } = this.#options;
    const isSpare = mostOthers >= 0 && (await loras.alone(() => setLoras(made.context, [])));
    if (isSpare && this.#entries.size + this.#spare.length <= mostOthers) this.#spare.push(made);
    else await made.context.dispose();
    await loras.release(adapters);
  }
}

function newSlots(context: LlamaContext, count: number): SequenceSlot[] {
  return Array.from({ length: count }, () => {
    return {
      sequence: context.getSequence(),
      busy: false,
      lastUsed: 0,
      broken: false,
      diverged: false,
      scores: [],
      inBlocks: 0,
    };
  });
}

/**
 * A context looks at the model's LoRAs when it lays out its graph, for its first token: that is while none comes or goes. And where an
 * adapter is beyond all bounds, this token shows it.
 *
 * @throws CrayonError `numbers-diverged`
 */
async function computeOnce(sequence: LlamaContextSequence, vocabularySize: number): Promise<void> {
  const options = { generateNext: { token: true, totalLogitWeight: true } };
  const [output] = await sequence.controlledEvaluate([[0 as Token, options]]);
  checkedTotal(output?.next.totalLogitWeight, vocabularySize);
  await sequence.clearHistory();
}

/** Free slots only. A common BOS alone is no reason to take the sequence that holds another conversation. */
function bestSlot(slots: readonly SequenceSlot[], ids: readonly number[]): SequenceSlot {
  const free = slots.filter((slot) => !slot.busy);
  assert(free.length > 0, 'more requests run than there are sequences');
  const score = (slot: SequenceSlot): number => {
    const common = slot.broken ? 0 : commonLength(slot.sequence.contextTokens, ids);
    return common > 1 ? common : 0;
  };
  const ranked = free.map((slot) => ({ slot, common: score(slot) }));
  ranked.sort((a, b) => b.common - a.common || a.slot.lastUsed - b.slot.lastUsed);
  return ranked[0]!.slot;
}

/** For a slot whose last computation failed; where even this fails, it is free for the next to try. */
async function empty(slot: SequenceSlot): Promise<void> {
  try {
    slot.scores.length = 0;
    slot.inBlocks = 0;
    await slot.sequence.clearHistory();
    slot.broken = false;
  } catch (error) {
    slot.busy = false;
    throw error;
  }
}
