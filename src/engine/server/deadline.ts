/** Signals that fire with the CrayonError that a call then throws, the time-outs that make them fire, and when fetch is connected. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
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

  /** @param reasonOf the error for an end that came from the parent: a caller's signal means `interrupted` */
  constructor(parent: AbortSignal, reasonOf: () => unknown = interrupted) {
    this.#parent = parent;
    this.#onParent = () => this.end(reasonOf());
    if (parent.aborted) this.#onParent();
    else parent.addEventListener('abort', this.#onParent, { once: true });
  }

  /** For a part of this one: ends with it, for the same reason. */
  part(): Deadline {
    return new Deadline(this.signal, () => this.signal.reason);
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
      throw this.reasonFor(error);
    }
  }

  /** What an error means: where the signal has fired, its reason, for which fetch has words of its own. */
  reasonFor(error: unknown): unknown {
    return this.signal.aborted ? this.signal.reason : error;
  }

  /** Lets go of the timer and the parent. */
  dispose(): void {
    this.#cancelTimer();
    this.#parent.removeEventListener('abort', this.#onParent);
  }
}

export const REQUEST_ID_HEADER = 'x-request-id';

/**
 * The moment at which undici, node's fetch, writes a request's headers: fetch has its connection.
 *
 * fetch itself does not say, and a time-out for connecting that also covers a long prefill is none. undici publishes it on
 * node's diagnostics channel (undici docs, "Diagnostics Channel Support"); the request is recognised by its x-request-id.
 */
const CHANNEL = 'undici:client:sendHeaders';
const waiting = new Map<string, () => void>();

/** HTTP/1.1 gives the header block as text, HTTP/2 and other versions of undici give lists or objects. */
function onSendHeaders(message: unknown): void {
  const { headers, request } = message as { headers?: unknown; request?: { headers?: unknown } };
  const text = [headers, request?.headers].map((h) => (typeof h === 'string' ? h : JSON.stringify(h))).join('\n');
  const id = new RegExp(`${REQUEST_ID_HEADER}["':,\\s]+([0-9a-f-]{36})`, 'i').exec(text)?.[1];
  if (id !== undefined) waiting.get(id)?.();
}

/** Calls back once the request with this id is being sent. @returns a function that forgets it */
export function onHeadersSent(requestId: string, callback: () => void): () => void {
  if (waiting.size === 0) subscribe(CHANNEL, onSendHeaders);
  waiting.set(requestId, callback);
  return () => {
    if (waiting.delete(requestId) && waiting.size === 0) unsubscribe(CHANNEL, onSendHeaders);
  };
}
