/** What a failure of the server LLM tells beyond its code: kept, typed, as the cause of the CrayonError. */

import { CrayonError, type ErrorCode } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';

/** Which time-out ended a call. */
export type TimeoutPhase = 'connect' | 'first-byte' | 'idle' | 'total';

/** A request's parameter, and whether it is the parameter that is refused, not its value. */
export interface NamedParameter {
  name: string;
  isUnsupported: boolean;
}

/** Holds no request, no header and no raw error, so nothing in it can hold the key. */
export class ServerError extends Error {
  /** the answer's HTTP status, where there was an answer */
  readonly status: number | null = null;
  /** how long the server, or the budget, asks to wait */
  readonly retryAfterMs: number | null = null;
  readonly phase: TimeoutPhase | null = null;
  /** the system's or fetch's own code, e.g. ECONNREFUSED */
  readonly systemCode: string | null = null;
  /** another attempt may help, and nothing of the answer has been passed on */
  readonly retryable: boolean = false;
  /** the server answered, and its answer has no word */
  readonly isEmpty: boolean = false;
  /** the parameters that a refusal is about, where the server says so apart from its message */
  readonly named: readonly NamedParameter[] = [];

  constructor(message: string, details: ServerErrorDetails) {
    super(message);
    this.name = 'ServerError';
    Object.assign(this, details);
  }
}

export type ServerErrorDetails = Partial<Omit<ServerError, keyof Error>>;

/** The details of a CrayonError that came from the server's side, or null. */
export function serverErrorOf(error: unknown): ServerError | null {
  return error instanceof Error && error.cause instanceof ServerError ? error.cause : null;
}

/** A code, with the HTTP status where there was one: `server-failed:429`. */
export function failureName(error: CrayonError): string {
  const status = serverErrorOf(error)?.status ?? null;
  return status === null ? error.code : `${error.code}:${status}`;
}

/** A CrayonError with the details as its cause. */
export function serverError(
  code: ErrorCode,
  message: string,
  { hint, ...details }: ServerErrorDetails & { hint?: string } = {},
): CrayonError {
  return new CrayonError(code, message, { hint, cause: new ServerError(message, details) });
}

/** A server's words as part of ours: one line, bounded, the key taken out in every form in which it could be echoed. */
export function quoter(apiKey: string | null): (said: string) => string {
  const forms = apiKey === null ? [] : [apiKey, encodeURIComponent(apiKey), JSON.stringify(apiKey).slice(1, -1)];
  const longestFirst = forms.sort((a, b) => b.length - a.length);
  return (said) => {
    const line = longestFirst
      .reduce((rest, form) => rest.replaceAll(form, '[key]'), said)
      .replace(/\s+/g, ' ')
      .trim();
    return line.length <= LIMITS.errorCharacters ? line : `${line.slice(0, LIMITS.errorCharacters - 1)}…`;
  };
}

/**
 * The wait that a server asks for: `retry-after-ms`, or `Retry-After` in seconds or as an HTTP date (RFC 9110 section 10.2.3).
 *
 * @returns milliseconds from `now`, or null where there is none that can be read
 */
export function parseRetryAfter(headers: Headers, now: number): number | null {
  const ms = headers.get('retry-after-ms');
  if (ms !== null && /^\d+(\.\d+)?$/.test(ms.trim())) return Number(ms);
  const text = headers.get('retry-after')?.trim() ?? '';
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  // Date.parse takes nearly anything, so only what looks like an HTTP date is given to it.
  const date = /^[A-Z][a-z]+,? .*\d{2}:\d{2}:\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
