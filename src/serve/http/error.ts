/** Failures as clients of OpenAI's API know them, and the one table from crayon's error codes to them. */

import { CrayonError, type ErrorCode } from '../../core/errors.js';

/** An answer other than 200. The message is shown to the client: no path and no key may stand in it. */
export class HttpError extends Error {
  /** OpenAI's `error.type`. */
  readonly type: string;
  /** OpenAI's `error.code`, for programs. */
  readonly code: string | null;
  /** The request field at fault. */
  readonly param: string | null;
  readonly headers: Record<string, string>;

  constructor(
    readonly status: number,
    message: string,
    { type, code = null, param = null, headers = {}, cause }: HttpErrorOptions = {},
  ) {
    super(message, { cause });
    this.name = 'HttpError';
    this.type = type ?? (status >= 500 ? 'server_error' : 'invalid_request_error');
    this.code = code;
    this.param = param;
    this.headers = headers;
  }

  /** `{"error": {"message", "type", "param", "code"}}`. */
  get body(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

export type HttpErrorOptions = Partial<Pick<HttpError, 'type' | 'code' | 'param' | 'headers'>> & { cause?: unknown };

/** A bad request field. */
export function badField(param: string, message: string, code: string | null = 'invalid_value'): HttpError {
  return new HttpError(400, message, { param, code });
}

/** `show`: the message is written for clients, and holds no path; `code` where OpenAI has one of its own. */
type Row = Pick<HttpError, 'status'> & Omit<HttpErrorOptions, 'cause'> & { show: boolean };

const FOR_THE_CLIENT = { status: 400, show: true } as const;
/** The official client tries again after 408, 409, 429 and 5xx; where that is of no use this header stops it. */
const NO_RETRY = { 'x-should-retry': 'false' };

const TABLE: Partial<Record<ErrorCode, Row>> = {
  'request-invalid': FOR_THE_CLIENT,
  'context-exceeded': { ...FOR_THE_CLIENT, code: 'context_length_exceeded', param: 'messages' },
  'format-unsupported': { ...FOR_THE_CLIENT, code: 'unsupported_value', param: 'response_format' },
  'tools-unsupported': { ...FOR_THE_CLIENT, code: 'unsupported_value', param: 'tools' },
  'example-invalid': FOR_THE_CLIENT,
  'example-too-long': FOR_THE_CLIENT,
  'examples-count': FOR_THE_CLIENT,
  'coefficients-invalid': FOR_THE_CLIENT,
  'numbers-diverged': { status: 500, show: true, headers: NO_RETRY },
  'engine-busy': { status: 429, type: 'rate_limit_error', show: true, headers: { 'retry-after': '1' } },
  'engine-unavailable': { status: 503, type: 'unavailable_error', show: false },
  'out-of-memory': { status: 503, type: 'unavailable_error', show: false },
  'server-unreachable': { status: 502, type: 'upstream_error', show: true },
  'server-timeout': { status: 504, type: 'upstream_error', show: true },
  'server-refused': { status: 502, type: 'upstream_error', show: true },
  'server-failed': { status: 502, type: 'upstream_error', show: true },
  'server-invalid': { status: 502, type: 'upstream_error', show: true },
  'server-circuit-open': { status: 503, type: 'upstream_error', show: true, headers: { 'retry-after': '5' } },
  'server-budget': { status: 429, type: 'insufficient_quota', show: true, headers: NO_RETRY },
};

/**
 * Any failure as an answer. What is not in the table is a defect or names files: the client learns only that it happened,
 * the log has the rest.
 */
export function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (!(error instanceof CrayonError)) {
    return new HttpError(500, 'The server had an error of its own; its log has the details.', {
      code: 'internal',
      cause: error,
    });
  }
  const row = TABLE[error.code] ?? { status: 500, show: false };
  return new HttpError(row.status, row.show ? error.message : HIDDEN[row.status]!, {
    type: row.type,
    code: row.code ?? error.code.replaceAll('-', '_'),
    param: row.param,
    headers: { ...row.headers, ...retryAfterOf(error) },
    cause: error,
  });
}

/** What a door's own fields are called in the requests that it is turned into: what is refused there has the client's name for it. */
export type FieldNames = ReadonlyArray<readonly [theirs: RegExp, its: string]>;

/** @throws the failure of `work`, where it is a field's with the client's own name of it */
export async function inNamesOf<T>(names: FieldNames, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const failure = toHttpError(error);
    const renamed = (text: string) => names.reduce((all, [theirs, its]) => all.replace(theirs, its), text);
    const { status, message, type, code, param, headers } = failure;
    if (status !== 400 || renamed(`${message} ${param}`) === `${message} ${param}`) throw error;
    const its = { type, code, param: param && renamed(param), headers, cause: error };
    throw new HttpError(status, renamed(message), its);
  }
}

const HIDDEN: Record<number, string> = {
  500: 'The request failed on the server; its log has the details.',
  503: 'The on-device engine is not available; the server’s log has the details.',
};

/** Whole seconds that the server LLM asked to be left alone, where it did. */
function retryAfterOf({ cause }: CrayonError): Record<string, string> {
  const { retryAfterMs } = (cause ?? {}) as { retryAfterMs?: unknown };
  if (typeof retryAfterMs !== 'number' || !(retryAfterMs >= 0)) return {};
  return { 'retry-after': String(Math.min(3600, Math.ceil(retryAfterMs / 1000))) };
}
