/** Temporary directories, expected errors, and safetensors files made byte by byte. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type CrayonError, isCrayonError } from '../../src/core/errors.js';

/** A new directory, removed when the test is over. */
export function temporaryDir(): string {
  const dir = temporaryRoot();
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A new directory that the caller removes, for use in `beforeAll`. */
export function temporaryRoot(): string {
  return mkdtempSync(join(tmpdir(), 'crayon-test-'));
}

/** The CrayonError that `action` throws; fails when it throws none. */
export function errorOf(action: () => unknown): CrayonError {
  try {
    action();
  } catch (error) {
    if (isCrayonError(error)) return error;
    throw error;
  }
  throw new Error('expected a CrayonError, but nothing was thrown');
}

/** A safetensors file of any header, sound or not: length field, header text, data. */
export function safetensorsBytes(header: unknown, dataBytes = 0, length?: bigint): Buffer {
  const text = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([field, text, Buffer.alloc(dataBytes)]);
}
