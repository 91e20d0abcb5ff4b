/**
 * float32 -> what a GGUF stores, with the roundings of ggml's reference code (ggml-quants.c, `quantize_row_q8_0_ref`).
 */

import assert from 'node:assert';
import { CrayonError } from '../core/errors.js';
import { bytesOf } from '../files/io.js';
import { float32ToFloat16 } from '../safetensors/half-floats.js';
import { elementCount } from '../safetensors/read.js';
import { GGML_TYPES, type GgmlType } from './format.js';

/** Encodings that crayon writes. */
export const GGUF_WRITE_TYPES = ['F32', 'F16', 'Q8_0'] as const satisfies readonly GgmlType[];
export type GgufWriteType = (typeof GGUF_WRITE_TYPES)[number];

/** Bytes of a tensor of this shape, outermost dimension first. */
export function ggufTensorBytes(type: GgmlType, shape: readonly number[]): number {
  const { block, bytes } = GGML_TYPES[type];
  assert(
    shape.at(-1)! % block === 0,
    `a row of ${shape.at(-1)} elements is no multiple of ${type}'s block of ${block}`,
  );
  return (elementCount(shape) / block) * bytes;
}

/**
 * Encodes a tensor.
 *
 * @param where names the tensor in errors
 * @throws CrayonError `tensor-not-finite` when a finite value does not fit into F16
 */
export function encodeGgufTensor(type: GgufWriteType, data: Float32Array, where: string): Uint8Array {
  if (type === 'F32') return bytesOf(data);
  if (type === 'Q8_0') return quantiseQ8(data, where);
  const bits = new Uint16Array(data.length);
  float32ToFloat16(data, bits);
  refuseOverflow(bits, data, where);
  return bytesOf(bits);
}

const Q8_BLOCK = GGML_TYPES.Q8_0.block;

/** Blocks of 32 elements: the F16 scale d = max |x| / 127, then 32 int8, x / d rounded half away from zero. */
function quantiseQ8(data: Float32Array, where: string): Uint8Array {
  const blocks = data.length / Q8_BLOCK;
  assert(Number.isInteger(blocks), `${data.length} elements are no whole blocks`);
  const inverse = new Float32Array(blocks);
  const scales = new Float32Array(blocks);
  for (let i = 0; i < blocks; i++) {
    let largest = 0;
    for (let j = i * Q8_BLOCK; j < (i + 1) * Q8_BLOCK; j++) {
      const size = Math.abs(data[j]!);
      if (size > largest) largest = size;
    }
    scales[i] = largest / 127; // stored as float32, as in C
    inverse[i] = scales[i] === 0 ? 0 : 1 / scales[i]!;
  }
  const scaleBits = new Uint16Array(blocks);
  float32ToFloat16(scales, scaleBits);
  refuseOverflow(scaleBits, scales, where);
  const out = new Uint8Array(blocks * GGML_TYPES.Q8_0.bytes);
  const signed = new Int8Array(out.buffer);
  let at = 0;
  for (let i = 0; i < blocks; i++) {
    out[at++] = scaleBits[i]! & 0xff;
    out[at++] = scaleBits[i]! >>> 8;
    const id = inverse[i]!;
    for (let j = i * Q8_BLOCK; j < (i + 1) * Q8_BLOCK; j++) {
      const x = Math.fround(data[j]! * id);
      signed[at++] = x < 0 ? x - 0.5 : x + 0.5; // the store cuts the fraction off
    }
  }
  return out;
}

/** A finite float32 beyond 65,504 would silently become infinity. */
function refuseOverflow(bits: Uint16Array, data: Float32Array, where: string): void {
  let at = 0;
  while (at < bits.length && ((bits[at]! & 0x7fff) !== 0x7c00 || !Number.isFinite(data[at]!))) at++;
  if (at === bits.length) return;
  throw new CrayonError('tensor-not-finite', `${where}: ${data[at]} does not fit into F16`, {
    hint: 'Write it as F32 (--type F32).',
  });
}
