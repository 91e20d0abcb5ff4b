/** Signals that fire with the CrayonError that a call then throws, and the time-outs that make them fire. */

import { type Clock, interrupted, untilAborted } from '../clock.js';
import { serverError, type TimeoutPhase } from './error.js';

const WHAT: Record<TimeoutPhase, string> = {
  connect: 'no connection',
  'first-byte': 'no first byte of an answer',
  idle: 'nothing more of the answer',
  total: 'no complete answer',
};

/** `server-timeout`, naming the time-out. */
export function timeoutError(server: string, phase: TimeoutPhase, ms: number): Error {
  return serverError('server-timeout', `${server}: ${WHAT[phase]} within ${ms} ms (${phase} time-out)`, {
    phase,
    retryable: phase === 'connect',
  });
}

/** How long something may go on that can be given up: a whole call, or one attempt within it. */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal;
  readonly #onParent: () => void;
  #cancelTimer = (): void => {};
  /** when its timer fires, in the clock's time */
  endsAt = Number.POSITIVE_INFINITY;

  /** @param reasonOf the error for an end that came from the parent */
  constructor(parent: AbortSignal, reasonOf: (parent: AbortSignal) => unknown) {
    this.#parent = parent;
    this.#onParent = () => this.end(reasonOf(parent));
    if (parent.aborted) this.#onParent();
    else parent.addEventListener('abort', this.#onParent, { once: true });
  }

  /** For a whole call: the caller's signal means `interrupted`. */
  static forCall(signal: AbortSignal): Deadline {
    return new Deadline(signal, interrupted);
  }

  /** For a part of this one: ends with it, for the same reason. */
  part(): Deadline {
    return new Deadline(this.signal, (parent) => parent.reason);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Fires the signal with this error as its reason. */
  end(error: unknown): void {
    this.#controller.abort(error);
  }

  /** Sets its one timer, in place of an earlier one. */
  limit(clock: Clock, ms: number, error: () => unknown): void {
    this.#cancelTimer();
    this.endsAt = clock.now() + ms;
    this.#cancelTimer = clock.timer(ms, () => this.end(error()));
  }

  unlimit(): void {
    this.#cancelTimer();
  }

  /** The promise's result, or at once the error that it ended with. */
  async guard<T>(promise: Promise<T>): Promise<T> {
    try {
      return await untilAborted(promise, this.signal, () => this.signal.reason);
    } catch (error) {
      // fetch rejects with words of its own when its signal fires.
      throw this.signal.aborted ? this.signal.reason : error;
    }
  }

  /** Lets go of the timer and the parent. */
  dispose(): void {
    this.#cancelTimer();
    this.#parent.removeEventListener('abort', this.#onParent);
  }
}
