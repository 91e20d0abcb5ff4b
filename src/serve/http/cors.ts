/**
 * Which web pages may use the server from a browser: the Fetch standard's CORS protocol (section 3.2), for the origins of a list that is
 * empty unless the configuration fills it.
 *
 * Without a word from the server a browser shows a page no answer, and sends no JSON at all. So the list opens what is otherwise
 * shut; the API key, where there is one, is asked for all the same.
 */

import type { Middleware } from './call.js';

/** `https://example.org`, `http://localhost:5173`, `chrome-extension://...`, or `null` (pages from files, sandboxes). */
export const ORIGIN = /^([a-z][a-z0-9+.-]*:\/\/[^\s/?#,*]+|null|\*)$/i;

const METHODS = 'GET, POST, DELETE';
/** What a page may read of an answer beside its body. */
const EXPOSED =
  'x-request-id, retry-after, x-crayon-source, x-crayon-reason, x-crayon-score, x-crayon-threshold, x-should-retry';
/** Seconds that a browser need not ask again; Chromium keeps two hours at most. */
const MAX_AGE = '7200';

export type Cors = ReturnType<typeof createCors>;

/** @param origins as ORIGIN has them; `*` is every origin */
export function createCors(origins: readonly string[]) {
  const allowed = new Set(origins.map((origin) => origin.toLowerCase()));
  const isAllowed = (origin: string | null): origin is string =>
    origin !== null && (allowed.has('*') || allowed.has(origin.toLowerCase()));

  /** Says on every answer, errors too, that the page may read it. */
  const allowOrigin: Middleware = async (call, next) => {
    const response = await next(call);
    if (allowed.size === 0) return response;
    const origin = call.request.headers.get('origin');
    response.headers.append('vary', 'origin');
    if (isAllowed(origin)) {
      response.headers.set('access-control-allow-origin', origin);
      response.headers.set('access-control-expose-headers', EXPOSED);
    }
    return response;
  };

  /** Answers a browser that asks before it sends. What is asked for another origin goes on to the routes, which know no OPTIONS. */
  const answerPreflight: Middleware = (call, next) => {
    const { method, headers } = call.request;
    if (method !== 'OPTIONS' || !headers.has('access-control-request-method')) return next(call);
    if (!isAllowed(headers.get('origin'))) return next(call);
    call.route = 'preflight';
    const asked = headers.get('access-control-request-headers');
    return new Response(null, {
      status: 204,
      headers: {
        'access-control-allow-methods': METHODS,
        // A header that this server does not know does no harm: clients send ones of their own (x-stainless-...).
        ...(asked !== null && { 'access-control-allow-headers': asked }),
        'access-control-max-age': MAX_AGE,
        // A page of the network that asks a server of this machine (Private Network Access).
        ...(headers.has('access-control-request-private-network') && {
          'access-control-allow-private-network': 'true',
        }),
        vary: 'access-control-request-method, access-control-request-headers',
      },
    });
  };

  return { allowOrigin, answerPreflight };
}
