/**
 * What every server of ours is, around its routes: a function from Request to Response (web standard) that knows who may ask and for
 * how long, answers failures, logs and counts, and ends in good order.
 */

import { orLate } from '../core/long-work.js';
import { Call, compose, type Handler, type Middleware, timeLimit, unavailable } from './http/call.js';
import type { HttpError } from './http/error.js';
import { logAnswer } from './log.js';
import type { Metrics } from './metrics.js';
import type { AppSettings } from './parts.js';

export interface ShellSettings extends Pick<AppSettings, 'guard' | 'cors' | 'log' | 'newId'> {
  limits: Pick<AppSettings['limits'], 'requestMs'>;
  metrics: Pick<Metrics, 'request' | 'aborted'>;
}

/** For a server that will answer in a moment, or its successor will. */
export const SOON = { headers: { 'retry-after': '1' } };

/**
 * @param failureBody a failure as the API that a path is of tells it
 * @param routesOf is given what throws HttpError 503 once the server is stopping
 */
export function createShell(
  { limits, guard, cors, newId, log, metrics }: ShellSettings,
  failureBody: (pathname: string, failure: HttpError) => object,
  routesOf: (whileRunning: Middleware) => Handler,
) {
  const calls = new Set<Call>();
  let isStopping = false;
  let whenIdle = (): void => {};

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
  const answer = around(routesOf(whileRunning));

  const finish = (call: Call, status: number): void => {
    calls.delete(call);
    if (calls.size === 0) whenIdle();
    if (call.isAbandoned) metrics.aborted();
    const { id, request, route, record, ms } = call;
    metrics.request(route, status, ms / 1000);
    logAnswer(log, { id, method: request.method, route, status, ...record, ms: Math.round(ms) });
  };

  return {
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
