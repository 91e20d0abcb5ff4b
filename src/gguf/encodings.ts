/**
 * What a GGUF stores, from float32 and to it, with the layouts (ggml-common.h) and the roundings of ggml's reference code
 * (ggml-quants.c: quantize_row_q8_0_ref, dequantize_row_*).
 *
 * Decoded, products of a scale and a small whole number are exact in a double, so each result is rounded once, to float32, as
 * in the C code. Hot loops index plain byte arrays: tens of megabytes a second for the K-quants, more for the rest.
 */

import assert from 'node:assert';
import { CrayonError } from '../core/errors.js';
import { bytesOf } from '../files/io.js';
import { bfloat16ToFloat32, float16ToFloat32, float16Value, float32ToFloat16 } from '../safetensors/half-floats.js';
import { elementCount } from '../safetensors/read.js';
import { GGML_TYPES, type GgmlType } from './format.js';

/** Encodings that crayon writes. */
export const GGUF_WRITE_TYPES = ['F32', 'F16', 'Q8_0'] as const satisfies readonly GgmlType[];
export type GgufWriteType = (typeof GGUF_WRITE_TYPES)[number];

/** Bytes of so many elements, a whole number of blocks. */
export function encodedBytes(type: GgmlType, elements: number): number {
  const { block, bytes } = GGML_TYPES[type];
  return (elements / block) * bytes;
}

/** Bytes of a tensor of this shape, outermost dimension first. */
export function ggufTensorBytes(type: GgmlType, shape: readonly number[]): number {
  const { block } = GGML_TYPES[type];
  const row = shape.at(-1)!;
  assert(row % block === 0, `a row of ${row} elements is no multiple of ${type}'s block of ${block}`);
  return encodedBytes(type, elementCount(shape));
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
  return bytesOf(float16Bits(data, where));
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
  const scaleBits = float16Bits(scales, where);
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

/** @throws CrayonError for a finite float32 beyond 65,504, which would silently become infinity */
function float16Bits(data: Float32Array, where: string): Uint16Array {
  const bits = new Uint16Array(data.length);
  float32ToFloat16(data, bits);
  const at = bits.findIndex((x, i) => (x & 0x7fff) === 0x7c00 && Number.isFinite(data[i]!));
  if (at === -1) return bits;
  throw new CrayonError('tensor-not-finite', `${where}: ${data[at]} does not fit into F16`, {
    hint: 'Write it as F32 (--type F32).',
  });
}

/** `bytes` holds `target.length` elements, a whole number of blocks. */
type Dequantise = (bytes: Uint8Array, target: Float32Array) => void;

const DECODERS: Record<GgmlType, Dequantise> = {
  F32: (bytes, target) => new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes),
  F16: (bytes, target) => float16ToFloat32(words(bytes), target),
  BF16: (bytes, target) => bfloat16ToFloat32(words(bytes), target),
  Q8_0: dequantiseQ80,
  Q4_0: (bytes, target) => dequantiseNibbles(bytes, target, false, false),
  Q4_1: (bytes, target) => dequantiseNibbles(bytes, target, true, false),
  Q5_0: (bytes, target) => dequantiseNibbles(bytes, target, false, true),
  Q5_1: (bytes, target) => dequantiseNibbles(bytes, target, true, true),
  Q4_K: (bytes, target) => dequantiseNibblesK(bytes, target, false),
  Q5_K: (bytes, target) => dequantiseNibblesK(bytes, target, true),
  Q6_K: dequantiseQ6K,
};

/** Whether `dequantise` reads a type. */
export function canDequantise(type: string): type is GgmlType {
  return Object.hasOwn(DECODERS, type);
}

/** Decodes `target.length` elements of `type` from the start of `bytes`. */
export function dequantise(type: GgmlType, bytes: Uint8Array, target: Float32Array): void {
  DECODERS[type](bytes.subarray(0, encodedBytes(type, target.length)), target);
}

/** 16-bit words of bytes that may start anywhere. */
function words(bytes: Uint8Array): Uint16Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 1);
}

/** A block: float16 scale, 32 int8. */
function dequantiseQ80(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 34, out += 32) {
    const d = float16At(bytes, at);
    for (let j = 0; j < 32; j++) target[out + j] = d * ((bytes[at + 2 + j]! << 24) >> 24);
  }
}

/**
 * A block: float16 scale, with `hasMin` also a float16 minimum, with `hasFifth` 32 bits of each element's fifth bit, and 16
 * bytes of two nibbles (elements j and j + 16).
 */
function dequantiseNibbles(bytes: Uint8Array, target: Float32Array, hasMin: boolean, hasFifth: boolean): void {
  const head = hasMin ? 4 : 2;
  const nibbles = hasFifth ? head + 4 : head;
  const zero = hasFifth ? -16 : -8;
  for (let at = 0, out = 0; out < target.length; at += nibbles + 16, out += 32) {
    const d = float16At(bytes, at);
    const m = hasMin ? float16At(bytes, at + 2) : zero * d;
    const bits = at + head;
    const high = hasFifth
      ? bytes[bits]! | (bytes[bits + 1]! << 8) | (bytes[bits + 2]! << 16) | (bytes[bits + 3]! << 24)
      : 0;
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + nibbles + j]!;
      target[out + j] = d * ((q & 15) | (((high >>> j) & 1) << 4)) + m;
      target[out + j + 16] = d * ((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) + m;
    }
  }
}

/**
 * ggml's K-quants (ggml-quants.c, ggml-common.h): super-blocks of 256 elements. Q4_K and Q5_K hold eight groups of 32 with
 * a 6-bit scale and a 6-bit minimum each, under one float16 scale and one float16 minimum; Q6_K holds sixteen groups of 16
 * with an int8 scale each, under one float16 scale.
 */

const GROUPS = 8;
/** Scale and minimum of each group of the super-block being read. */
const scales = new Float64Array(GROUPS);
const minima = new Float64Array(GROUPS);

/** Unpacks d (float16), dmin (float16) and the 12 bytes of 6-bit pairs at `at` into `scales` and `minima`. */
function readScales(bytes: Uint8Array, at: number): void {
  const d = float16At(bytes, at);
  const dmin = float16At(bytes, at + 2);
  const packed = at + 4;
  for (let j = 0; j < 4; j++) {
    const [a, b, c] = [bytes[packed + j]!, bytes[packed + 4 + j]!, bytes[packed + 8 + j]!];
    // Groups 0 to 3 lie in the lower 6 bits; groups 4 to 7 in nibbles, with their upper bits above those of 0 to 3.
    scales[j] = d * (a & 63);
    minima[j] = dmin * (b & 63);
    scales[j + 4] = d * ((c & 15) | ((a >> 6) << 4));
    minima[j + 4] = dmin * ((c >> 4) | ((b >> 6) << 4));
  }
}

/**
 * A super-block: d, dmin, 12 bytes of scales, with `hasFifth` 32 bytes of fifth bits (bit g of byte l belongs to element l of
 * group g), 128 bytes of nibbles: 32 bytes for each pair of groups.
 */
function dequantiseNibblesK(bytes: Uint8Array, target: Float32Array, hasFifth: boolean): void {
  const nibbles = hasFifth ? 48 : 16;
  for (let at = 0, out = 0; out < target.length; at += nibbles + 128, out += 256) {
    readScales(bytes, at);
    const high = at + 16;
    for (let pair = 0; pair < 4; pair++) {
      const [d1, m1, d2, m2] = [scales[2 * pair]!, minima[2 * pair]!, scales[2 * pair + 1]!, minima[2 * pair + 1]!];
      const from = at + nibbles + pair * 32;
      const to = out + pair * 64;
      for (let l = 0; l < 32; l++) {
        const q = bytes[from + l]!;
        const fifth = hasFifth ? bytes[high + l]! >> (2 * pair) : 0;
        target[to + l] = d1 * ((q & 15) | ((fifth & 1) << 4)) - m1;
        target[to + 32 + l] = d2 * ((q >> 4) | ((fifth & 2) << 3)) - m2;
      }
    }
  }
}

/**
 * A super-block: 128 bytes of lower nibbles, 64 bytes of upper bit pairs, 16 int8 scales, d. Each half of 128 elements takes
 * 64 bytes of nibbles and 32 of bit pairs; bit pair p of byte l belongs to element 32 p + l of the half.
 */
function dequantiseQ6K(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 210, out += 256) {
    const d = float16At(bytes, at + 208);
    for (let half = 0; half < 2; half++) {
      const low = at + half * 64;
      const high = at + 128 + half * 32;
      const scale = at + 192 + half * 8;
      const to = out + half * 128;
      for (let l = 0; l < 32; l++) {
        const [a, b, h] = [bytes[low + l]!, bytes[low + 32 + l]!, bytes[high + l]!];
        const group = scale + (l >> 4);
        target[to + l] = d * int8(bytes[group]!) * (((a & 15) | ((h & 3) << 4)) - 32);
        target[to + 32 + l] = d * int8(bytes[group + 2]!) * (((b & 15) | (((h >> 2) & 3) << 4)) - 32);
        target[to + 64 + l] = d * int8(bytes[group + 4]!) * (((a >> 4) | (((h >> 4) & 3) << 4)) - 32);
        target[to + 96 + l] = d * int8(bytes[group + 6]!) * (((b >> 4) | ((h >> 6) << 4)) - 32);
      }
    }
  }
}

function float16At(bytes: Uint8Array, at: number): number {
  return float16Value(bytes[at]! | (bytes[at + 1]! << 8));
}

function int8(byte: number): number {
  return (byte << 24) >> 24;
}
