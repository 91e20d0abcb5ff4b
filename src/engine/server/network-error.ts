/** What fetch or a body of its throws, in our terms. */

import { isCrayonError } from '../../core/errors.js';
import { timeoutError } from './deadline.js';
import type { TimeoutPhase } from './error.js';
import type { ServerContext } from './options.js';

/** node's fetch has time-outs of its own, which end a call where ours are longer. */
const FETCH_LIMITS: Record<string, [phase: TimeoutPhase, ms: number]> = {
  UND_ERR_CONNECT_TIMEOUT: ['connect', 10_000],
  UND_ERR_HEADERS_TIMEOUT: ['first-byte', 300_000],
  UND_ERR_BODY_TIMEOUT: ['idle', 300_000],
};

/** @param hasBegun the answer: its body is what broke */
export function networkError(
  error: unknown,
  { server, failure }: Pick<ServerContext, 'server' | 'failure'>,
  hasBegun: boolean,
): unknown {
  if (isCrayonError(error)) return error;
  const systemCode = codeOf(error);
  const limit = FETCH_LIMITS[systemCode];
  if (limit !== undefined) return timeoutError(server, ...limit);
  if (hasBegun) return failure('server-failed', `the connection broke in the answer (${systemCode})`, { systemCode });
  // The connection stood, and broke before an answer.
  if (systemCode === 'ECONNRESET' || systemCode === 'EPIPE' || systemCode === 'UND_ERR_SOCKET') {
    return failure('server-failed', `closed the connection without an answer (${systemCode})`, {
      systemCode,
      retryable: true,
    });
  }
  const certificate = /CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO/.test(systemCode);
  return failure('server-unreachable', `cannot be reached (${systemCode})`, {
    systemCode,
    retryable: !certificate,
    hint: certificate
      ? 'Its certificate is not trusted here; NODE_EXTRA_CA_CERTS names further authorities.'
      : 'Check that it is running and that the base URL is right.',
  });
}

/** The code underneath fetch's own TypeError. */
function codeOf(error: unknown): string {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    const { code } = e as NodeJS.ErrnoException;
    if (typeof code === 'string') return code;
    if (e instanceof AggregateError && e.errors.length > 0) return codeOf(e.errors[0]);
  }
  return 'unknown network error';
}
