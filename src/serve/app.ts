/**
 * The server as a function from Request to Response (web standard), so that it can be tested without a socket; listen.ts
 * puts it on one.
 */

import { randomUUID } from 'node:crypto';
import { Call } from './http/call.js';
import { HttpError } from './http/error.js';
import type { AppSettings } from './http/settings.js';
import type { ServeParts } from './parts.js';
import { findRoute } from './routes.js';

/** What has a default. */
export const APP_DEFAULTS = {
  keepAliveMs: 15_000,
  now: Date.now,
  newId: () => `req_${randomUUID().replaceAll('-', '')}`,
};

export class EdgeApp {
  /** null while the model is loading */
  parts: ServeParts | null = null;
  readonly #created: number;
  readonly #calls = new Set<Call>();
  #isStopping = false;
  #whenIdle: (() => void) | null = null;

  constructor(readonly settings: AppSettings) {
    this.#created = Math.floor(settings.now() / 1000);
  }

  /** The model is loaded: from now on requests are answered. */
  ready(parts: ServeParts): void {
    this.parts = parts;
    const { edge, server, customizations } = parts;
    this.settings.metrics.watch({
      edge,
      server: server?.state === undefined ? null : () => server.state!(),
      customizations: () => customizations?.size ?? 0,
    });
  }

  /** Requests under way. */
  get running(): number {
    return this.#calls.size;
  }

  /** Answers a request. Never rejects: a failure is an answer too. */
  async handle(request: Request): Promise<Response> {
    const { settings } = this;
    const { limits, newId } = settings;
    const call = new Call({ request, id: newId(), requestMs: limits.requestMs });
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
    const idle = new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
    if (this.#calls.size === 0) return 0;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, patienceMs, 'late');
    });
    const outcome = await Promise.race([idle, patience]);
    clearTimeout(timer);
    const left = this.#calls.size;
    if (outcome === 'late') for (const call of this.#calls) call.cancel('stop');
    return left;
  }

  async #answer(call: Call): Promise<Response> {
    const { guard } = this.settings;
    try {
      guard.checkHost(call.request);
      call.isAuthorised = guard.isAuthorised(call.request);
      const route = findRoute(call);
      if (!route.isPublic) guard.requireKey(call.request);
      if (this.#isStopping) throw unavailable('The server is stopping.', 'stopping');
      if (this.parts === null) {
        if (route.needsModel) throw unavailable('The model is loading.', 'loading');
        return await route.handle({ call, parts: null, settings: this.settings, created: this.#created });
      }
      return await route.handle({ call, parts: this.parts, settings: this.settings, created: this.#created });
    } catch (error) {
      return this.#failed(call, error);
    }
  }

  #failed(call: Call, error: unknown): Response {
    const failure = call.explain(error);
    call.record.code = failure.code;
    if (failure.status === 500) this.settings.log.error({ id: call.id, err: failure.cause ?? error }, 'failed');
    // 499 is nginx's word for the log; nobody reads this answer.
    return Response.json(failure.body, { status: failure.status, headers: failure.headers });
  }

  #finish(call: Call, status: number): void {
    const { log, metrics } = this.settings;
    this.#calls.delete(call);
    if (this.#calls.size === 0) this.#whenIdle?.();
    if (call.isAbandoned) metrics.aborted();
    metrics.request(call.route, status, call.ms / 1000);
    const { id, route, record, ms } = call;
    const isProbe = call.route === 'health' || call.route === 'metrics';
    const level = isProbe ? 'debug' : status === 503 ? 'warn' : status >= 500 ? 'error' : 'info';
    log[level]({ id, method: call.request.method, route, status, ...record, ms: Math.round(ms) }, 'answered');
  }
}

function unavailable(message: string, code: string): HttpError {
  return new HttpError(503, message, { type: 'unavailable_error', code, headers: { 'retry-after': '1' } });
}
