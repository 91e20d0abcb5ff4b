/**
 * ggml's block encodings to float32 (ggml-quants.c: dequantize_row_*; layouts in ggml-common.h).
 *
 * Products of a scale and a small whole number are exact in a double, so each result is rounded once, to float32, as in the
 * C code. Hot loops index plain byte arrays: tens of megabytes a second for the K-quants, more for the rest.
 */

import { bfloat16ToFloat32, float16ToFloat32, float16Value } from '../safetensors/half-floats.js';
import { dequantiseQ4K, dequantiseQ5K, dequantiseQ6K } from './k-quants.js';
import { GGML_TYPES, type GgmlType } from './types.js';

/** `bytes` holds `target.length` elements, a whole number of blocks. */
type Dequantise = (bytes: Uint8Array, target: Float32Array) => void;

const DECODERS: Record<GgmlType, Dequantise> = {
  F32: (bytes, target) => new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes),
  F16: (bytes, target) => float16ToFloat32(words(bytes), target),
  BF16: (bytes, target) => bfloat16ToFloat32(words(bytes), target),
  Q8_0: dequantiseQ80,
  Q4_0: (bytes, target) => dequantise4Bit(bytes, target, false),
  Q4_1: (bytes, target) => dequantise4Bit(bytes, target, true),
  Q5_0: (bytes, target) => dequantise5Bit(bytes, target, false),
  Q5_1: (bytes, target) => dequantise5Bit(bytes, target, true),
  Q4_K: dequantiseQ4K,
  Q5_K: dequantiseQ5K,
  Q6_K: dequantiseQ6K,
};

/** Whether `dequantise` reads a type. */
export function canDequantise(type: string): type is GgmlType {
  return Object.hasOwn(DECODERS, type);
}

/** Bytes of so many elements, a whole number of blocks. */
export function encodedBytes(type: GgmlType, elements: number): number {
  const { block, bytes } = GGML_TYPES[type];
  return (elements / block) * bytes;
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
    const d = float16Value(bytes[at]! | (bytes[at + 1]! << 8));
    for (let j = 0; j < 32; j++) target[out + j] = d * ((bytes[at + 2 + j]! << 24) >> 24);
  }
}

/** A block: float16 scale, with `hasMin` also a float16 minimum, 16 bytes of two nibbles (elements j and j + 16). */
function dequantise4Bit(bytes: Uint8Array, target: Float32Array, hasMin: boolean): void {
  const head = hasMin ? 4 : 2;
  for (let at = 0, out = 0; out < target.length; at += head + 16, out += 32) {
    const d = float16Value(bytes[at]! | (bytes[at + 1]! << 8));
    const m = hasMin ? float16Value(bytes[at + 2]! | (bytes[at + 3]! << 8)) : -8 * d;
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + head + j]!;
      target[out + j] = d * (q & 15) + m;
      target[out + j + 16] = d * (q >> 4) + m;
    }
  }
}

/** As four bits, and 32 bits with the fifth bit of each element before the nibbles. */
function dequantise5Bit(bytes: Uint8Array, target: Float32Array, hasMin: boolean): void {
  const head = hasMin ? 4 : 2;
  for (let at = 0, out = 0; out < target.length; at += head + 20, out += 32) {
    const d = float16Value(bytes[at]! | (bytes[at + 1]! << 8));
    const m = hasMin ? float16Value(bytes[at + 2]! | (bytes[at + 3]! << 8)) : -16 * d;
    const bits = at + head;
    const high = bytes[bits]! | (bytes[bits + 1]! << 8) | (bytes[bits + 2]! << 16) | (bytes[bits + 3]! << 24);
    for (let j = 0; j < 16; j++) {
      const q = bytes[bits + 4 + j]!;
      target[out + j] = d * ((q & 15) | (((high >>> j) & 1) << 4)) + m;
      target[out + j + 16] = d * ((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) + m;
    }
  }
}
