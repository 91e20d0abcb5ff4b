/** The float16 scales of quantised blocks, read from bytes and written to them. */

import { CrayonError } from '../../core/errors.js';
import { float16Value, float32ToFloat16 } from '../../safetensors/half-floats.js';

const value = new Float32Array(1);
const bits = new Uint16Array(1);

/** The number whose two bytes lie at `at`. */
export function float16At(bytes: Uint8Array, at: number): number {
  return float16Value(bytes[at]! | (bytes[at + 1]! << 8));
}

/**
 * Writes a number as float16.
 *
 * @returns what it has become by that
 * @throws CrayonError `tensor-not-finite` naming `where` when it does not fit: llama.cpp would refuse the file
 */
export function putFloat16(out: Uint8Array, at: number, number: number, where: string): number {
  value[0] = number;
  float32ToFloat16(value, bits);
  out[at] = bits[0]! & 0xff;
  out[at + 1] = bits[0]! >> 8;
  if ((bits[0]! & 0x7c00) === 0x7c00) throw tooLarge(where, number);
  return float16Value(bits[0]!);
}

/** What does not fit into F16. */
export function tooLarge(where: string, number: number): CrayonError {
  return new CrayonError('tensor-not-finite', `${where}: ${number} does not fit into F16`, {
    hint: 'Write it as F32 (--type F32).',
  });
}
