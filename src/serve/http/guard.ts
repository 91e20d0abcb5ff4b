/** Who may ask: the API key, and on loopback the Host header. */

import { createHash, timingSafeEqual } from 'node:crypto';
import { isLoopback } from '../../core/loopback.js';
import type { Middleware } from './call.js';
import { HttpError } from './error.js';

export type Guard = ReturnType<typeof createGuard>;

export interface GuardOptions {
  /** Null where no key is needed. */
  apiKey: string | null;
  /** The address that the server is bound to. */
  host: string;
  allowedHosts: readonly string[];
}

export function createGuard({ apiKey, host, allowedHosts }: GuardOptions) {
  const wanted = apiKey === null ? null : digest(apiKey);
  /** Whether the request carries the key, or none is needed. */
  const isAuthorised = ({ headers }: Request): boolean => {
    if (wanted === null) return true;
    const given = /^Bearer +(\S+) *$/i.exec(headers.get('authorization') ?? '')?.[1] ?? '';
    // Of digests, so that neither the key's length nor the time of the comparison tells anything.
    return timingSafeEqual(digest(given), wanted);
  };
  const names = new Set([host, ...allowedHosts, 'localhost', '127.0.0.1', '::1'].map((name) => name.toLowerCase()));
  /** Throws HttpError 401 for a request without the key. */
  const requireKey: Middleware = (call, next) => {
    if (isAuthorised(call.request)) return next(call);
    throw new HttpError(401, 'Incorrect or missing API key: send it as "Authorization: Bearer <key>".', {
      type: 'authentication_error',
      code: 'invalid_api_key',
      headers: { 'www-authenticate': 'Bearer' },
    });
  };
  /** Throws HttpError 403 for a Host header that this server does not go by. */
  const checkHost: Middleware = (call, next) => {
    // Elsewhere than on loopback the key protects; there, a web page whose name was made to resolve to 127.0.0.1 is
    // kept out by the name it asks for.
    if (!isLoopback(host) || names.has(hostName(call.request.headers.get('host') ?? ''))) return next(call);
    throw new HttpError(403, 'This server does not answer to that Host header; see allowed_hosts.', {
      type: 'permission_error',
      code: 'host_not_allowed',
    });
  };
  return { isAuthorised, requireKey, checkHost };
}

/** `[::1]:8080` -> `::1`. */
function hostName(header: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d+)?$/.exec(header.trim().toLowerCase()) ?? [];
  return bracketed ?? plain ?? '';
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest();
}
