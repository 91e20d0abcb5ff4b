/**
 * Mixtures of many LoRAs as one that llama.cpp applies: N adapters cost N small products a layer at every token, their stack about as
 * much as one of them (docs/experiments.md). A mixture's file is made when it is first asked for, on a thread of its own, and gone
 * once llama.cpp has read it.
 */

import { join } from 'node:path';
import { messageOf } from '../../core/errors.js';
import { threadScript } from '../../core/long-work.js';
import { warn } from '../../core/warning.js';
import { ensureDirectory } from '../../files/atomic.js';
import { sha256 } from '../../files/digest.js';
import { ScratchDirectory } from '../../files/scratch-directory.js';
import { planLoraStack, type StackPlan, type StackType, stackBytes } from '../../gguf/lora-stack.js';
import { workThread } from '../thread.js';
import type { AdapterScale } from '../types.js';

/** An adapter that may be stacked. */
export type StackMember = Pick<AdapterScale, 'id' | 'path'>;

export interface StackPlace {
  plan: StackPlan;
  type: StackType;
  /** of the stack, in the cache */
  path: string;
}

export interface StackJob {
  weights: readonly number[];
  out: string;
}

/** A mixture of fewer is not worth the time that its file takes. */
const LEAST_MEMBERS = 3;
/** Nor one of so small a share of the stack, all of which is computed with. */
const LEAST_SHARE = 1 / 4;
/** Up to so many bytes a stack is exact, beyond them rounded to 8 bits where that is possible. */
const EXACT_BYTES = 2 ** 25;
/** Of the files' form: another one is another file. */
const STACK_VERSION = 1;

export class LoraStacks {
  /** of one mixture in memory */
  readonly bytes: number;
  readonly #members: readonly StackMember[];
  readonly #scratch = new ScratchDirectory();
  readonly #thread: ReturnType<typeof workThread<StackJob, object>>;
  #failed = false;

  /**
   * @param members of one model; read from the files that they name
   * @param cacheDir where the stack is kept; null: for this process only
   * @throws CrayonError `adapter-mismatch`, `gguf-invalid`, `file-not-found`
   */
  constructor(members: readonly StackMember[], cacheDir: string | null) {
    this.#members = members;
    const plan = planLoraStack(members.map(({ path }) => path));
    const type: StackType = stackBytes(plan, 'F32') > EXACT_BYTES && plan.fitsBlocks ? 'Q8_0' : 'F32';
    this.bytes = stackBytes(plan, type);
    const id = sha256(JSON.stringify([STACK_VERSION, type, members.map(({ id }) => id)])).slice(0, 16);
    if (cacheDir !== null) ensureDirectory(cacheDir);
    const path = join(cacheDir ?? this.#scratch.path, `${id}.stack.gguf`);
    const place: StackPlace = { plan, type, path };
    this.#thread = workThread<StackJob, object>(threadScript(import.meta.url, 'stack-worker'), place);
  }

  /** Whether these adapters are applied as one. */
  covers(adapters: readonly AdapterScale[]): boolean {
    const { length } = adapters;
    if (this.#failed || length < LEAST_MEMBERS || length < LEAST_SHARE * this.#members.length) return false;
    return adapters.every(({ id }) => this.#members.some((member) => member.id === id));
  }

  /** The mixture's file, which `write` makes, and the scale that it is applied at. @param key of the set */
  named(key: string, adapters: readonly AdapterScale[]): AdapterScale {
    const id = sha256(key).slice(0, 16);
    return { id, path: join(this.#scratch.path, `${id}.lora.gguf`), scale: largest(adapters) };
  }

  /** @throws CrayonError what writing throws: from then on no set is covered, which a warning says */
  async write(adapters: readonly AdapterScale[], out: string): Promise<void> {
    const most = largest(adapters);
    const weights = this.#members.map(({ id }) => (adapters.find((one) => one.id === id)?.scale ?? 0) / most);
    try {
      await this.#thread.run({ weights, out }, NEVER);
    } catch (error) {
      if (!this.#failed) warn(`Adapters are applied one by one, which is slower: ${messageOf(error)}`);
      this.#failed = true;
      throw error;
    }
  }

  /** Once llama.cpp has read it. */
  discard(path: string): void {
    this.#scratch.discard(path);
  }

  close(): void {
    this.#thread.close();
    this.#scratch.remove();
  }
}

/** A mixture is shared by all requests that ask for it: none of them ends it. */
const NEVER = new AbortController().signal;

const largest = (adapters: readonly AdapterScale[]): number =>
  adapters.reduce((most, { scale }) => Math.max(most, Math.abs(scale)), 0);
