/**
 * One request on its way through the server: its id, its clock, what ends it, and what the log will say of it; and the shape of
 * all that answers one, which is hono's: a handler, and middleware around it.
 */

import { isCrayonError } from '../../core/errors.js';
import type { AnswerRecord } from '../log.js';
import { HttpError, toHttpError } from './error.js';

/** Answers a request, or throws what `explain` makes an answer of. */
export type Handler = (call: Call) => Response | Promise<Response>;

/** Does something before or after the rest, or answers in its place. */
export type Middleware = (call: Call, next: Handler) => Response | Promise<Response>;

/** The handler with the steps around it, the first outermost. */
export function compose(...steps: readonly Middleware[]): (handler: Handler) => Handler {
  return (handler) => steps.reduceRight<Handler>((next, step) => (call) => step(call, next), handler);
}

/** Ends what works for a request that takes longer, streaming included. */
export function timeLimit(ms: number): Middleware {
  return (call, next) => {
    const timer = setTimeout(() => call.cancel('time'), ms);
    call.onEnd(() => clearTimeout(timer));
    return next(call);
  };
}

export class Call {
  readonly url: URL;
  readonly started = performance.now();
  /** Fires when the client goes away, the time is over or the server stops. */
  readonly signal: AbortSignal;
  /** Found by routes.ts: the route's name, `other` where there is none, and what the path's last part says. */
  route = 'other';
  param = '';
  /** For the log: numbers and names, no text of the request. */
  readonly record: AnswerRecord = {};
  /** The answer goes on after the handler has returned: its body then calls `end`. */
  isStreaming = false;
  readonly #controller = new AbortController();
  /** Why `signal` has fired. */
  #cause: 'client' | 'time' | 'stop' | null = null;
  readonly #atEnd: Array<(status: number) => void> = [];
  #hasEnded = false;

  constructor(
    readonly request: Request,
    readonly id: string,
  ) {
    this.url = new URL(request.url);
    this.signal = this.#controller.signal;
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

  /** Adds to the log's record. */
  note(fields: AnswerRecord): void {
    Object.assign(this.record, fields);
  }

  /** Ends whatever works for this request; the first cause counts. */
  cancel(cause: 'client' | 'time' | 'stop' = 'client'): void {
    if (this.#hasEnded) return;
    this.#cause ??= cause;
    this.#controller.abort();
  }

  onEnd(then: (status: number) => void): void {
    this.#atEnd.push(then);
  }

  /** The answer has been given, or never will be. Only the first call counts. */
  end(status: number): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    for (const then of this.#atEnd.reverse()) then(status);
  }

  /** A failure as the client is told it, an interruption by its cause; the record notes its code. */
  explain(error: unknown): HttpError {
    const failure = this.#explained(error);
    this.record.code = failure.code;
    return failure;
  }

  #explained(error: unknown): HttpError {
    if (!isCrayonError(error, 'interrupted') && !this.signal.aborted) return toHttpError(error);
    switch (this.#cause) {
      case 'time':
        return new HttpError(504, 'The answer took longer than this server’s limit for a request.', {
          type: 'timeout_error',
          code: 'request_timeout',
          cause: error,
        });
      case 'stop':
        return unavailable('The server is stopping.', 'stopping', { cause: error });
      default:
        // 499 is nginx's word for the log; nobody reads this answer.
        return new HttpError(499, 'The client closed the request.', { code: 'client_closed', cause: error });
    }
  }
}

/** This server does not answer now, and will later. */
export function unavailable(
  message: string,
  code: string,
  options: { cause?: unknown; headers?: Record<string, string> } = {},
): HttpError {
  return new HttpError(503, message, { type: 'unavailable_error', code, ...options });
}
