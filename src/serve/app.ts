/**
 * The server as a function from Request to Response (web standard), so that it can be tested without a socket; listen.ts
 * puts it on one.
 */

import { randomUUID } from 'node:crypto';
import { orLate } from '../core/long-work.js';
import { Call, compose, type Middleware, timeLimit, unavailable } from './http/call.js';
import { logAnswer } from './log.js';
import type { AppSettings, ServeParts } from './parts.js';
import { failureBody, routes } from './routes.js';

/** What has a default. */
export const APP_DEFAULTS = {
  keepAliveMs: 15_000,
  now: Date.now,
  newId: () => `req_${randomUUID().replaceAll('-', '')}`,
};

/** For a server that will answer in a moment, or its successor will. */
const SOON = { headers: { 'retry-after': '1' } };

export type EdgeApp = ReturnType<typeof createEdgeApp>;

export function createEdgeApp(settings: AppSettings) {
  const { limits, guard, cors, now, newId, log, metrics } = settings;
  const calls = new Set<Call>();
  let loaded: ServeParts | null = null; // null while the model is loading
  let isStopping = false;
  let whenIdle = (): void => {};

  const parts = (): ServeParts => {
    if (loaded === null) throw unavailable('The model is loading.', 'loading', SOON);
    return loaded;
  };
  const whileRunning: Middleware = (call, next) => {
    if (isStopping) throw unavailable('The server is stopping.', 'stopping', SOON);
    return next(call);
  };
  const answerFailures: Middleware = async (call, next) => {
    try {
      return await next(call);
    } catch (error) {
      const failure = call.explain(error);
      const { status, headers, cause } = failure;
      if (status === 500) log.error({ id: call.id, err: cause ?? error }, 'failed');
      return Response.json(failureBody(call.url.pathname, failure), { status, headers });
    }
  };
  const around = compose(
    cors.allowOrigin,
    timeLimit(limits.requestMs),
    answerFailures,
    guard.checkHost,
    cors.answerPreflight,
  );
  const answer = around(routes({ settings, created: Math.floor(now() / 1000), parts, whileRunning }));

  const finish = (call: Call, status: number): void => {
    calls.delete(call);
    if (calls.size === 0) whenIdle();
    if (call.isAbandoned) metrics.aborted();
    const { id, request, route, record, ms } = call;
    metrics.request(route, status, ms / 1000);
    logAnswer(log, { id, method: request.method, route, status, ...record, ms: Math.round(ms) });
  };

  return {
    /** The model is loaded: from now on requests are answered. */
    ready: (parts: ServeParts): void => {
      loaded = parts;
      const { device, server, customizations } = parts;
      metrics.watch(device, server?.state?.bind(server) ?? null, () => customizations?.size() ?? 0);
    },
    /** Requests under way. */
    get running() {
      return calls.size;
    },
    /** Answers a request. Never rejects: a failure is an answer too. */
    handle: async (request: Request): Promise<Response> => {
      const call = new Call(request, newId());
      calls.add(call);
      call.onEnd((status) => finish(call, status));
      const response = await answer(call);
      response.headers.set('x-request-id', call.id);
      if (!response.headers.has('cache-control')) response.headers.set('cache-control', 'no-store');
      if (!call.isStreaming) call.end(response.status);
      return response;
    },
    /**
     * Refuses new requests and waits for the running ones; those that are not done in time are ended.
     *
     * @returns how many had to be ended
     */
    stop: async (patienceMs: number): Promise<number> => {
      isStopping = true;
      if (calls.size === 0) return 0;
      const idle = new Promise<void>((resolve) => {
        whenIdle = resolve;
      });
      const outcome = await orLate(idle, patienceMs);
      const left = calls.size;
      if (outcome === 'late') for (const call of calls) call.cancel('stop');
      return left;
    },
  };
}
