/**
 * Which LoRAs llama.cpp holds in memory: those that requests use, and as many of those used last as fit a budget. A file is read once,
 * whatever the scales are: N adapters of a pool are N files, and a mixture of them is N numbers.
 */

import type { LlamaModel } from 'node-llama-cpp';
import { CrayonError, isCrayonError, reasonOf } from '../../core/errors.js';
import { refuseWhatAborts } from '../../gguf/llama-cpp.js';
import { GgufFile } from '../../gguf/read.js';
import type { AdapterScale } from '../types.js';
import type { Decoder, LoadedSet } from './decoder.js';
import { freeLora, type HeldLora, loadLora } from './inside.js';
import type { LoraStacks } from './stacks.js';

/** Scales are rounded to this, so that gates that differ by nothing are one set. */
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

interface Held {
  lora: Promise<HeldLora>;
  users: number;
  bytes: number;
  lastUsed: number;
  /** to be freed with its last user */
  isForgotten: boolean;
}

/** What was acquired. */
export interface LeasedSet extends LoadedSet {
  /** files of it */
  files: readonly AdapterScale[];
}

export class LoraFiles {
  readonly #model: LlamaModel;
  readonly #decoder: Decoder;
  /** of the model, in errors */
  readonly #name: string;
  readonly #keptBytes: number;
  readonly #stacks: LoraStacks | null;
  readonly #held = new Map<string, Held>();
  #uses = 0;

  /**
   * @param keptBytes of idle LoRAs that are kept; with stacks, of all
   * @param stacks of adapters that are applied as one
   */
  constructor(model: LlamaModel, decoder: Decoder, name: string, keptBytes: number, stacks: LoraStacks | null = null) {
    this.#model = model;
    this.#decoder = decoder;
    this.#name = name;
    this.#keptBytes = keptBytes;
    this.#stacks = stacks;
  }

  /** files in memory */
  get size(): number {
    return this.#held.size;
  }

  /**
   * Reads what is not there yet. What was acquired is to be released.
   *
   * @throws CrayonError `adapter-mismatch` for a file that does not fit the model, `gguf-invalid`, `file-not-found`
   */
  async acquire({ key, adapters }: AdapterSet): Promise<LeasedSet> {
    if (this.#stacks?.covers(adapters) !== true) return this.#acquired(key, adapters, (path) => this.#load(path));
    const stack = this.#stacks.named(key, adapters);
    try {
      return await this.#acquired(key, [stack], (path) => this.#loadStack(adapters, path));
    } catch (error) {
      if (this.#stacks.covers(adapters)) throw error;
      return this.acquire({ key, adapters }); // it cannot be written: one by one
    }
  }

  async #acquired(
    key: string,
    files: readonly AdapterScale[],
    load: (path: string) => Promise<HeldLora>,
  ): Promise<LeasedSet> {
    const held = files.map(({ path }) => this.#use(path, load));
    try {
      const loras = await Promise.all(held.map(({ lora }) => lora));
      return { key, loras, scales: files.map(({ scale }) => scale), files };
    } catch (error) {
      await Promise.allSettled(held.map(({ lora }) => lora));
      this.release(files);
      throw error;
    }
  }

  release(files: readonly AdapterScale[]): void {
    for (const { path } of files) {
      const held = this.#held.get(path);
      if (held !== undefined) held.users--;
    }
    this.#trim();
  }

  /** Frees a LoRA: now, or as soon as the requests that use it have ended. @param path its file */
  forget(path: string): void {
    const held = this.#held.get(path);
    if (held === undefined) return;
    held.isForgotten = true;
    this.#trim();
  }

  #use(path: string, load: (path: string) => Promise<HeldLora>): Held {
    const known = this.#held.get(path);
    const held = known ?? { lora: load(path), users: 0, bytes: 0, lastUsed: 0, isForgotten: false };
    held.users++;
    held.lastUsed = ++this.#uses;
    held.isForgotten = false; // the same blend has been made again
    if (known !== undefined) return held;
    this.#held.set(path, held);
    held.lora.catch(() => {
      if (this.#held.get(path) === held) this.#held.delete(path); // the next request tries anew
    });
    return held;
  }

  async #loadStack(adapters: readonly AdapterScale[], path: string): Promise<HeldLora> {
    const stacks = this.#stacks!;
    this.#trim(stacks.bytes);
    await stacks.write(adapters, path);
    try {
      return await this.#load(path);
    } finally {
      stacks.discard(path);
    }
  }

  async #load(path: string): Promise<HeldLora> {
    const file = GgufFile.open(path);
    file.close();
    refuseWhatAborts(file);
    try {
      return await this.#decoder.alone(async () => {
        const lora = await loadLora(this.#model, path);
        const held = this.#held.get(path);
        if (held !== undefined) held.bytes = file.sizeBytes;
        return lora;
      });
    } catch (error) {
      if (isCrayonError(error)) throw error;
      const problem = `${path}: llama.cpp cannot apply it to ${this.#name} (${reasonOf(error)})`;
      throw new CrayonError('adapter-mismatch', problem, {
        hint: 'Export the adapter for this very model.',
        cause: error,
      });
    }
  }

  /**
   * Nobody waits for it, and a failure to give memory back is no request's failure.
   *
   * @param coming bytes that are read next
   */
  #trim(coming = 0): void {
    const idle = [...this.#held].filter(([, { users }]) => users === 0);
    idle.sort(([, a], [, b]) => b.lastUsed - a.lastUsed);
    // Mixtures that requests use are of the same budget: there may be as many as there are sequences.
    let bytes = coming + (this.#stacks === null ? 0 : this.#usedBytes());
    for (const [path, held] of idle) {
      bytes += held.bytes;
      if (held.isForgotten || bytes > this.#keptBytes) this.#free(path).catch(() => {});
    }
  }

  #usedBytes(): number {
    return [...this.#held.values()].reduce((sum, { users, bytes }) => sum + (users > 0 ? bytes : 0), 0);
  }

  #free(path: string): Promise<void> {
    return this.#decoder.alone(async (takeOff) => {
      const held = this.#held.get(path);
      if (held === undefined || held.users > 0) return; // used again meanwhile, or freed
      this.#held.delete(path);
      takeOff();
      await freeLora(this.#model, path);
    });
  }
}
