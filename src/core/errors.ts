/**
 * The one error type for everything a user can cause or cure. Programmer errors use `node:assert`.
 *
 * A `CrayonError` carries a stable `code` (tests and scripts rely on it, never on the wording), a message that names the
 * value found and the value expected, and a hint that says what to do.
 */

import { LIMITS } from './limits.js';

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

/** Every code, with the exit code that it ends the process with. */
const EXIT_OF = {
  'bad-option': EXIT.usage,
  'output-exists': EXIT.usage,
  // files
  'file-not-found': EXIT.input,
  'file-unreadable': EXIT.input,
  'safetensors-invalid': EXIT.input,
  'json-invalid': EXIT.input,
  'yaml-invalid': EXIT.input,
  'csv-invalid': EXIT.input,
  'config-invalid': EXIT.input,
  'path-not-recognised': EXIT.input,
  // models, adapters, pools
  'model-unsupported': EXIT.input,
  'model-invalid': EXIT.input,
  'tokenizer-invalid': EXIT.input,
  'tokenizer-unsupported': EXIT.input,
  'adapter-invalid': EXIT.input,
  'adapter-unsupported': EXIT.input,
  'adapter-mismatch': EXIT.input,
  'pool-invalid': EXIT.input,
  'pool-mismatch': EXIT.input,
  'checkpoint-mismatch': EXIT.input,
  'plan-invalid': EXIT.input,
  'clusters-missing': EXIT.input,
  'tensor-not-finite': EXIT.input,
  'gguf-invalid': EXIT.input,
  'gguf-unsupported': EXIT.input,
  // data
  'dataset-invalid': EXIT.input,
  'dataset-too-small': EXIT.input,
  'example-invalid': EXIT.input,
  'example-too-long': EXIT.input,
  'examples-count': EXIT.input,
  'coefficients-invalid': EXIT.input,
  'bench-invalid': EXIT.input,
  // the machine
  'backend-unavailable': EXIT.environment,
  'tensor-runtime-failed': EXIT.environment,
  'disk-full': EXIT.environment,
  'write-failed': EXIT.environment,
  'out-of-memory': EXIT.environment,
  'engine-unavailable': EXIT.environment,
  'trainer-unavailable': EXIT.environment,
  'trainer-failed': EXIT.environment,
  'unit-busy': EXIT.environment,
  'jobs-unavailable': EXIT.environment,
  'jobs-failed': EXIT.environment,
  'address-unavailable': EXIT.environment,
  // requests to an engine or to the server LLM
  'request-invalid': EXIT.input,
  'context-exceeded': EXIT.input,
  'format-unsupported': EXIT.input,
  'tools-unsupported': EXIT.input,
  'engine-busy': EXIT.input,
  'server-unreachable': EXIT.environment,
  'server-timeout': EXIT.environment,
  'server-refused': EXIT.environment,
  'server-failed': EXIT.environment,
  'server-invalid': EXIT.environment,
  'server-circuit-open': EXIT.environment,
  'server-budget': EXIT.environment,

  'loss-not-finite': EXIT.numeric,
  'memory-too-small': EXIT.environment,
  'numbers-diverged': EXIT.numeric,
  interrupted: EXIT.interrupted,
};

export type ErrorCode = keyof typeof EXIT_OF;

export interface CrayonErrorOptions {
  /** What the user can do about it, as one sentence. */
  hint?: string;
  /** What another process said, line by line: shown below the message, where each stays a line of its own. */
  said?: readonly string[];
  /** The error underneath, kept for `--verbose`. */
  cause?: unknown;
}

/** Names and values come from files: one of them alone could be megabytes long. */
function shortened(message: string): string {
  const most = LIMITS.messageCharacters;
  return message.length <= most ? message : `${message.slice(0, most - 500)} ... ${message.slice(-500)}`;
}

export class CrayonError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly said: readonly string[];

  constructor(code: ErrorCode, message: string, options: CrayonErrorOptions = {}) {
    super(shortened(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CrayonError';
    this.code = code;
    this.hint = options.hint;
    this.said = options.said ?? [];
  }

  /** The process exit code that belongs to this error's code. */
  get exitCode(): number {
    return EXIT_OF[this.code];
  }
}

/** True when `error` is a CrayonError, of the given code if one is named. */
export function isCrayonError(error: unknown, code?: ErrorCode): error is CrayonError {
  return error instanceof CrayonError && (code === undefined || error.code === code);
}

/** What an error says, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Its first line: those below are often a stack or a piece of the input. */
export function reasonOf(error: unknown): string {
  return messageOf(error).split('\n')[0]!;
}
