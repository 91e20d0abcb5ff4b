/**
 * Turns what the file system throws into CrayonErrors: one place knows which errno means what to a user.
 */

import { CrayonError } from '../core/errors.js';

/** The name of a system error, e.g. 'ENOENT', or undefined for other errors. */
export function errnoOf(error: unknown): string | undefined {
  const isSystemError = error instanceof Error && 'syscall' in error && 'code' in error;
  return isSystemError && typeof error.code === 'string' ? error.code : undefined;
}

/** For a failed open, stat or read of `path`. What is no system error passes unchanged. */
export function readError(path: string, error: unknown): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  if (errno === 'ENOENT' || errno === 'ENOTDIR') {
    return new CrayonError('file-not-found', `${path}: no such file or directory`, { cause: error });
  }
  if (errno === 'EISDIR') {
    return new CrayonError('file-unreadable', `${path}: expected a file, found a directory`, { cause: error });
  }
  if (errno === 'EACCES' || errno === 'EPERM') {
    return new CrayonError('file-unreadable', `${path}: permission to read denied`, { cause: error });
  }
  return new CrayonError('file-unreadable', `${path}: cannot be read (${errno})`, { cause: error });
}

/** For a failed create, write, sync or rename of `path`. What is no system error passes unchanged. */
export function writeError(path: string, error: unknown): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new CrayonError('disk-full', `${path}: no space left while writing`, {
      hint: 'Free some space or write to another disk; nothing partial was left behind.',
      cause: error,
    });
  }
  if (errno === 'ENOENT') {
    return new CrayonError('write-failed', `${path}: the folder to write into does not exist`, { cause: error });
  }
  if (errno === 'ENOTDIR') {
    return new CrayonError('write-failed', `${path}: a part of this path is a file, not a directory`, { cause: error });
  }
  if (errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS') {
    return new CrayonError('write-failed', `${path}: permission to write denied (${errno})`, { cause: error });
  }
  return new CrayonError('write-failed', `${path}: cannot be written (${errno})`, { cause: error });
}
