/** A bounded number of things at a time, a bounded number waiting, first come first served. */

import { CrayonError } from '../core/errors.js';
import { interrupted, throwIfAborted } from './clock.js';

/** Clients go away: a waiter whose signal fires leaves the queue at once and makes room. */
export class Slots {
  readonly #capacity: number;
  readonly #queue: number;
  readonly #name: string;
  readonly #waiting: Array<() => void> = [];
  readonly #onIdle: Array<() => void> = [];
  #running = 0;

  /** @param name whose queue it is, for the error's message */
  constructor(name: string, capacity: number, queue: number) {
    this.#name = name;
    this.#capacity = capacity;
    this.#queue = queue;
  }

  /** slots taken, requests waiting, and the most of each */
  load(): { running: number; waiting: number; capacity: number; queue: number } {
    return { running: this.#running, waiting: this.#waiting.length, capacity: this.#capacity, queue: this.#queue };
  }

  /**
   * Takes a slot, waiting for one where none is free.
   *
   * @returns the function that gives it back; calling it twice does no harm
   * @throws CrayonError `engine-busy` when the queue is full, `interrupted` when the signal fires
   */
  async take(signal: AbortSignal): Promise<() => void> {
    throwIfAborted(signal);
    if (this.#running < this.#capacity) this.#running++;
    else if (this.#waiting.length < this.#queue) await this.#wait(signal);
    else {
      throw new CrayonError(
        'engine-busy',
        `${this.#name}: ${this.#running} requests are running and ${this.#waiting.length} are waiting, no more are taken`,
        { hint: 'Try again in a moment, or allow a longer queue.' },
      );
    }
    let held = true;
    return () => {
      if (held) this.#giveBack();
      held = false;
    };
  }

  /** Resolves when no slot is taken any more. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#running === 0) resolve();
      else this.#onIdle.push(resolve);
    });
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(grant), 1);
        reject(interrupted());
      };
      const grant = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(grant);
    });
  }

  /** The slot goes straight to the first in the queue, so that none overtakes. */
  #giveBack(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) next();
    else if (--this.#running === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}
