/**
 * Which LoRAs llama.cpp holds in memory: those that a context uses. node-llama-cpp keeps each that it ever loaded until the model
 * goes, some megabytes a customisation, and has no call that frees one; its own object of the LoRA has (`AddonModelLora.dispose`).
 */

import { resolve } from 'node:path';
import type { LlamaContext, LlamaModel } from 'node-llama-cpp';
import type { AdapterScale } from '../types.js';

type Adapters = ReadonlyArray<Pick<AdapterScale, 'path'>>;

/** Counts who uses which file. */
export class LoraUsers {
  readonly #model: LlamaModel;
  readonly #users = new Map<string, number>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(model: LlamaModel) {
    this.#model = model;
  }

  /** A context of these adapters is about to be made. */
  use(adapters: Adapters): void {
    for (const { path } of adapters) this.#users.set(path, (this.#users.get(path) ?? 0) + 1);
  }

  /** A context of these adapters is gone, or could not be made: what no other uses is freed. */
  async release(adapters: Adapters): Promise<void> {
    for (const { path } of adapters) this.#users.set(path, this.#users.get(path)! - 1);
    await this.alone(async () => {
      for (const { path } of adapters) {
        if (this.#users.get(path) !== 0) continue; // used again meanwhile, or freed
        this.#users.delete(path);
        await freeLora(this.#model, path);
      }
    });
  }

  /**
   * Runs one thing after the other: llama.cpp's list of a model's LoRAs has no lock, and is read where a context is made or computes
   * for the first time, changed where a LoRA is loaded or freed.
   */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

/**
 * Frees a LoRA that no context uses. What this needs of node-llama-cpp is not in its types: where it is not found (another version),
 * nothing is freed, and all else works as before.
 *
 * @returns whether it was loaded and is freed
 */
export async function freeLora(model: LlamaModel, path: string): Promise<boolean> {
  const { _loraAdapters: loaded } = model as unknown as { _loraAdapters?: unknown };
  if (model.disposed || !(loaded instanceof Map)) return false;
  const key = resolve(path);
  const lora: { dispose?: unknown } | undefined = loaded.get(key);
  if (typeof lora?.dispose !== 'function') return false;
  loaded.delete(key);
  await lora.dispose();
  return true;
}

/**
 * Gives a context other LoRAs than it has, in its very memory; what it has read under the old ones is the caller's to forget.
 *
 * @returns false where node-llama-cpp looks otherwise inside: nothing has changed
 */
export async function setLoras(context: LlamaContext, adapters: readonly AdapterScale[]): Promise<boolean> {
  const inside = context as unknown as { _setLoras?: unknown; _loraAdapters?: unknown };
  if (typeof inside._setLoras !== 'function' || !(inside._loraAdapters instanceof Set)) return false;
  await inside._setLoras(adapters.map(({ path, scale }) => ({ filePath: path, scale })));
  if (adapters.length === 0) inside._loraAdapters.clear();
  return true;
}
