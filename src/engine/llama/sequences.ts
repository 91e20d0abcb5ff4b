/** The sequences of an engine, leased to requests: each gets the free one that holds the longest beginning of its prompt under its adapters. */

import assert from 'node:assert';
import { interrupted } from '../clock.js';
import type { Decoder } from './decoder.js';
import type { AdapterSet, LoraFiles } from './loras.js';
import { commonLength, SequenceReader, type SequenceSlot } from './reader.js';

export class SequencePool {
  readonly #decoder: Decoder;
  readonly #loras: LoraFiles;
  readonly #vocabularySize: number;
  readonly #slots: SequenceSlot[];
  readonly #readers = new Set<SequenceReader>();
  /** requests that wait because every free sequence has diverged */
  #onRelease: Array<() => void> = [];
  #renewal: Promise<void> | null = null;
  #uses = 0;
  #cancelled = false;

  constructor(decoder: Decoder, loras: LoraFiles, vocabularySize: number) {
    this.#decoder = decoder;
    this.#loras = loras;
    this.#vocabularySize = vocabularySize;
    this.#slots = decoder.sequences.map((sequence) => ({
      ...{ sequence, busy: false, lastUsed: 0, diverged: false, scores: [], inBlocks: 0 },
    }));
  }

  /**
   * A free sequence.
   *
   * @param onRelease called once, when the sequence is free again
   * @throws CrayonError as `LoraFiles.acquire`; `interrupted`
   */
  async lease(
    set: AdapterSet,
    ids: readonly number[],
    signal: AbortSignal,
    onRelease: () => void,
  ): Promise<SequenceReader> {
    let slot: SequenceSlot | undefined;
    const leave = (): void => {
      if (slot !== undefined) slot.busy = false;
      this.#loras.release(loaded.files);
      for (const resolve of this.#onRelease.splice(0)) resolve();
      onRelease();
    };
    const loaded = await this.#loras.acquire(set).catch((error) => {
      onRelease();
      throw error;
    });
    try {
      slot = await this.#free(set.key, ids);
      if (signal.aborted || this.#cancelled) throw interrupted();
      if (slot.sequence.set.key !== set.key) slot.scores.length = slot.inBlocks = 0;
      await slot.sequence.use(loaded);
      if (signal.aborted || this.#cancelled) throw interrupted();
      const reader: SequenceReader = new SequenceReader(slot, signal, this.#vocabularySize, () => {
        this.#readers.delete(reader);
        leave();
      });
      this.#readers.add(reader);
      return reader;
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Ends every running request, and those that still wait for their sequence. */
  cancelAll(): void {
    this.#cancelled = true;
    for (const reader of [...this.#readers]) reader.cancel();
  }

  /** Takes the free sequence that is best for a prompt. */
  async #free(key: string, ids: readonly number[]): Promise<SequenceSlot> {
    for (;;) {
      await this.#renewal;
      const slot = bestSlot(this.#slots, key, ids);
      if (slot !== undefined) {
        slot.busy = true;
        slot.lastUsed = ++this.#uses;
        return slot;
      }
      const isIdle = this.#slots.every(({ busy }) => !busy);
      if (isIdle) this.#renewal ??= this.#renew();
      else await new Promise<void>((resolve) => this.#onRelease.push(resolve));
    }
  }

  /** NaN in a cell outlives that the cell is forgotten, since 0 times NaN is NaN: only a new context has none. */
  async #renew(): Promise<void> {
    try {
      await this.#decoder.renew();
      for (const slot of this.#slots) Object.assign(slot, { diverged: false, scores: [], inBlocks: 0 });
    } finally {
      this.#renewal = null;
    }
  }
}

/** Free slots only. A common BOS alone is no reason to take the sequence that holds another conversation. */
function bestSlot(slots: readonly SequenceSlot[], key: string, ids: readonly number[]): SequenceSlot | undefined {
  const free = slots.filter(({ busy, diverged }) => !busy && !diverged);
  assert(free.length > 0 || slots.some(({ diverged }) => diverged), 'more requests run than there are sequences');
  const score = ({ sequence }: SequenceSlot): number => {
    const common = sequence.set.key === key ? commonLength(sequence.tokens, ids) : 0;
    return common > 1 ? common : 0;
  };
  const ranked = free.map((slot) => ({ slot, common: score(slot) }));
  ranked.sort((a, b) => b.common - a.common || a.slot.lastUsed - b.slot.lastUsed);
  return ranked[0]?.slot;
}
