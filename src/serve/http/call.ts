/** One request on its way through the server: its id, its clock, what ends it, and what the log will say of it. */

import { isCrayonError } from '../../core/errors.js';
import { HttpError, toHttpError } from './error.js';

export interface CallOptions {
  request: Request;
  id: string;
  requestMs: number;
}

export class Call {
  readonly request: Request;
  readonly id: string;
  readonly url: URL;
  readonly started: number;
  /** fires when the client goes away, the time is over or the server stops */
  readonly signal: AbortSignal;
  /** name of the route, for the metrics; `other` where there is none */
  route = 'other';
  /** what the path's last part says, where the route has one */
  param = '';
  /** the headers of the request have the right key */
  isAuthorised = false;
  /** for the log: numbers and names, no text of the request */
  readonly record: Record<string, unknown> = {};
  /** the answer goes on after `handle` has returned: `end` is then called by the body */
  isStreaming = false;
  readonly #own = new AbortController();
  readonly #timer: NodeJS.Timeout;
  /** why `signal` has fired */
  #cause: 'client' | 'time' | 'stop' | null = null;
  readonly #atEnd: Array<(status: number) => void> = [];
  #hasEnded = false;

  constructor({ request, id, requestMs }: CallOptions) {
    this.request = request;
    this.id = id;
    this.url = new URL(request.url);
    this.started = performance.now();
    this.signal = this.#own.signal;
    this.#timer = setTimeout(() => this.cancel('time'), requestMs);
    const { signal } = request;
    if (signal.aborted) this.cancel();
    else signal.addEventListener('abort', () => this.cancel(), { once: true });
  }

  get ms(): number {
    return performance.now() - this.started;
  }

  /** The client has gone away: nobody reads the answer. */
  get isAbandoned(): boolean {
    return this.#cause === 'client';
  }

  /** Ends whatever works for this request; the first cause counts. */
  cancel(cause: 'client' | 'time' | 'stop' = 'client'): void {
    if (this.#hasEnded) return;
    this.#cause ??= cause;
    this.#own.abort();
  }

  onEnd(then: (status: number) => void): void {
    this.#atEnd.push(then);
  }

  /** The answer has been given, or never will be. Only the first call counts. */
  end(status: number): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    for (const then of this.#atEnd.reverse()) then(status);
  }

  /** A failure as the client is told it: an interruption by its cause. */
  explain(error: unknown): HttpError {
    if (!isCrayonError(error, 'interrupted') && !this.signal.aborted) return toHttpError(error);
    if (this.#cause === 'time') {
      return new HttpError(504, 'The answer took longer than this server’s limit for a request.', {
        type: 'timeout_error',
        code: 'request_timeout',
        cause: error,
      });
    }
    if (this.#cause === 'stop') {
      return new HttpError(503, 'The server is stopping.', {
        type: 'unavailable_error',
        code: 'stopping',
        cause: error,
      });
    }
    return new HttpError(499, 'The client closed the request.', { code: 'client_closed', cause: error });
  }
}
