/**
 * The server as a function from Request to Response (web standard), so that it can be tested without a socket; listen.ts
 * puts it on one.
 */

import { randomUUID } from 'node:crypto';
import { orLate } from '../core/long-work.js';
import { Call, compose, type Handler, type Middleware, timeLimit, unavailable } from './http/call.js';
import { logAnswer } from './log.js';
import type { AppSettings, ServeParts } from './parts.js';
import { routes } from './routes.js';

/** What has a default. */
export const APP_DEFAULTS = {
  keepAliveMs: 15_000,
  now: Date.now,
  newId: () => `req_${randomUUID().replaceAll('-', '')}`,
};

/** For a server that will answer in a moment, or its successor will. */
const SOON = { headers: { 'retry-after': '1' } };

export class EdgeApp {
  readonly #settings: AppSettings;
  readonly #answer: Handler;
  readonly #calls = new Set<Call>();
  /** Null while the model is loading. */
  #parts: ServeParts | null = null;
  #isStopping = false;
  #whenIdle: (() => void) | null = null;

  constructor(settings: AppSettings) {
    this.#settings = settings;
    const { limits, guard, now } = settings;
    const parts = (): ServeParts => {
      if (this.#parts === null) throw unavailable('The model is loading.', 'loading', SOON);
      return this.#parts;
    };
    const whileRunning: Middleware = (call, next) => {
      if (this.#isStopping) throw unavailable('The server is stopping.', 'stopping', SOON);
      return next(call);
    };
    const around = compose(timeLimit(limits.requestMs), this.#answerFailures, guard.checkHost);
    this.#answer = around(routes({ settings, created: Math.floor(now() / 1000), parts, whileRunning }));
  }

  /** The model is loaded: from now on requests are answered. */
  ready(parts: ServeParts): void {
    this.#parts = parts;
    const { edge, server, customizations } = parts;
    const state = server?.state?.bind(server) ?? null;
    this.#settings.metrics.watch(edge, state, () => customizations?.size ?? 0);
  }

  /** Requests under way. */
  get running(): number {
    return this.#calls.size;
  }

  /** Answers a request. Never rejects: a failure is an answer too. */
  async handle(request: Request): Promise<Response> {
    const call = new Call(request, this.#settings.newId());
    this.#calls.add(call);
    call.onEnd((status) => this.#finish(call, status));
    const response = await this.#answer(call);
    response.headers.set('x-request-id', call.id);
    if (!response.headers.has('cache-control')) response.headers.set('cache-control', 'no-store');
    if (!call.isStreaming) call.end(response.status);
    return response;
  }

  /**
   * Refuses new requests and waits for the running ones; those that are not done in time are ended.
   *
   * @returns how many had to be ended
   */
  async stop(patienceMs: number): Promise<number> {
    this.#isStopping = true;
    if (this.#calls.size === 0) return 0;
    const idle = new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
    const outcome = await orLate(idle, patienceMs);
    const left = this.#calls.size;
    if (outcome === 'late') for (const call of this.#calls) call.cancel('stop');
    return left;
  }

  readonly #answerFailures: Middleware = async (call, next) => {
    try {
      return await next(call);
    } catch (error) {
      const { status, body, headers, cause } = call.explain(error);
      if (status === 500) this.#settings.log.error({ id: call.id, err: cause ?? error }, 'failed');
      return Response.json(body, { status, headers });
    }
  };

  #finish(call: Call, status: number): void {
    const { log, metrics } = this.#settings;
    this.#calls.delete(call);
    if (this.#calls.size === 0) this.#whenIdle?.();
    if (call.isAbandoned) metrics.aborted();
    const { id, request, route, record, ms } = call;
    metrics.request(route, status, ms / 1000);
    logAnswer(log, { id, method: request.method, route, status, ...record, ms: Math.round(ms) });
  }
}
