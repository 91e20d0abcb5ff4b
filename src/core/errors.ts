/**
 * The one error type for everything a user can cause or cure. Programmer errors use `node:assert`.
 *
 * A `CrayonError` carries a stable `code` (tests and scripts rely on it, never on the wording), a message that names the
 * value found and the value expected, and a hint that says what to do.
 */

/** Process exit codes, documented in the README. */
export const EXIT = {
  ok: 0,
  /** A defect of crayon itself. */
  internal: 1,
  /** The command line is wrong. */
  usage: 2,
  /** A file or its content is wrong. */
  input: 3,
  /** The machine lacks something: a back end, disk space, permission. */
  environment: 4,
  /** A run's own numbers went wrong: NaN loss, divergence. */
  numeric: 5,
  /** Stopped by SIGINT or SIGTERM; a resumable run has written its checkpoint. */
  interrupted: 130,
} as const;

export type ErrorCode =
  // usage
  | 'bad-option'
  | 'output-exists'
  // input: files
  | 'file-not-found'
  | 'file-unreadable'
  | 'safetensors-invalid'
  | 'json-invalid'
  | 'yaml-invalid'
  | 'csv-invalid'
  | 'config-invalid'
  | 'path-not-recognised'
  // input: models, adapters, pools
  | 'model-unsupported'
  | 'model-invalid'
  | 'tokenizer-invalid'
  | 'tokenizer-unsupported'
  | 'adapter-invalid'
  | 'adapter-unsupported'
  | 'adapter-mismatch'
  | 'pool-invalid'
  | 'pool-mismatch'
  | 'checkpoint-mismatch'
  | 'tensor-not-finite'
  | 'gguf-invalid'
  | 'gguf-unsupported'
  // input: data
  | 'dataset-invalid'
  | 'dataset-too-small'
  | 'example-invalid'
  | 'example-too-long'
  | 'examples-count'
  | 'coefficients-invalid'
  | 'bench-invalid'
  // environment
  | 'backend-unavailable'
  | 'disk-full'
  | 'write-failed'
  | 'out-of-memory'
  | 'engine-unavailable'
  | 'address-unavailable'
  // requests to an engine or to the server LLM
  | 'request-invalid'
  | 'context-exceeded'
  | 'engine-busy'
  | 'server-unreachable'
  | 'server-timeout'
  | 'server-refused'
  | 'server-failed'
  | 'server-invalid'
  | 'server-circuit-open'
  | 'server-budget'
  // numeric
  | 'loss-not-finite'
  // interruption
  | 'interrupted';

const EXIT_OF: Partial<Record<ErrorCode, number>> = {
  'bad-option': EXIT.usage,
  'output-exists': EXIT.usage,
  'backend-unavailable': EXIT.environment,
  'disk-full': EXIT.environment,
  'write-failed': EXIT.environment,
  'out-of-memory': EXIT.environment,
  'engine-unavailable': EXIT.environment,
  'address-unavailable': EXIT.environment,
  'server-unreachable': EXIT.environment,
  'server-timeout': EXIT.environment,
  'server-refused': EXIT.environment,
  'server-failed': EXIT.environment,
  'server-invalid': EXIT.environment,
  'server-circuit-open': EXIT.environment,
  'server-budget': EXIT.environment,
  'loss-not-finite': EXIT.numeric,
  interrupted: EXIT.interrupted,
};

export interface CrayonErrorOptions {
  /** What the user can do about it, as one sentence. */
  hint?: string;
  /** The error underneath, kept for `--verbose`. */
  cause?: unknown;
}

export class CrayonError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: CrayonErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CrayonError';
    this.code = code;
    this.hint = options.hint;
  }

  /** The process exit code that belongs to this error's code. */
  get exitCode(): number {
    return EXIT_OF[this.code] ?? EXIT.input;
  }
}

/** True when `error` is a CrayonError, of the given code if one is named. */
export function isCrayonError(error: unknown, code?: ErrorCode): error is CrayonError {
  return error instanceof CrayonError && (code === undefined || error.code === code);
}
