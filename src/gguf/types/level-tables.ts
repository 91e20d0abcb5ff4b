/**
 * Types of four bits whose levels are looked up in a table (IQ4_NL, IQ4_XS, MXFP4, NVFP4), and of one or two bits (Q1_0, Q2_0,
 * TQ1_0, TQ2_0), to float32 (ggml-quants.c: dequantize_row_*; layouts in ggml-common.h). Each result is one rounded product.
 */

import { float16At } from './half.js';

/** `kvalues_iq4nl`. */
const NON_LINEAR = Float64Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
/** E2M1 floats, doubled (`kvalues_fp4`). */
const FP4 = Float64Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

/** Nibbles of 2 * half elements, the lower ones first: levels of a table times `scale`. */
function lookUp(
  table: Float64Array,
  scale: number,
  bytes: Uint8Array,
  from: number,
  target: Float32Array,
  to: number,
  half: number,
): void {
  for (let j = 0; j < half; j++) {
    const q = bytes[from + j]!;
    target[to + j] = scale * table[q & 15]!;
    target[to + half + j] = scale * table[q >> 4]!;
  }
}

/** 18 bytes for 32 elements: d, nibbles. */
export function dequantiseIQ4NL(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 18, out += 32) {
    lookUp(NON_LINEAR, float16At(bytes, at), bytes, at + 2, target, out, 16);
  }
}

/** 136 bytes for 256: d, 2 and 4 bytes of upper and lower bits of eight 6-bit scales less 32, nibbles. */
export function dequantiseIQ4XS(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 136, out += 256) {
    const d = float16At(bytes, at);
    const high = bytes[at + 2]! | (bytes[at + 3]! << 8);
    for (let group = 0; group < 8; group++) {
      const low = (bytes[at + 4 + (group >> 1)]! >> (4 * (group & 1))) & 15;
      const scale = d * ((low | (((high >> (2 * group)) & 3) << 4)) - 32);
      lookUp(NON_LINEAR, scale, bytes, at + 8 + 16 * group, target, out + 32 * group, 16);
    }
  }
}

/** 17 bytes for 32: the exponent of a power of two, nibbles. */
export function dequantiseMXFP4(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 17, out += 32) {
    lookUp(FP4, 2 ** (bytes[at]! - 128), bytes, at + 1, target, out, 16); // half of 2^(e - 127): the table is doubled
  }
}

/** 36 bytes for 64: four scales (unsigned E4M3 floats) of 16 elements each, nibbles. */
export function dequantiseNVFP4(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 36, out += 64) {
    for (let group = 0; group < 4; group++) {
      const bits = bytes[at + group]!;
      const exponent = (bits >> 3) & 15;
      const size = exponent === 0 ? (bits & 7) * 2 ** -9 : (1 + (bits & 7) / 8) * 2 ** (exponent - 7);
      const scale = bits === 0x7f ? 0 : size / 2; // 0x7f is NaN, which ggml reads as zero
      lookUp(FP4, scale, bytes, at + 4 + 8 * group, target, out + 16 * group, 8);
    }
  }
}

/** 18 bytes for 128: d, a bit each: d or -d. */
export function dequantiseQ10(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 18, out += 128) {
    const d = float16At(bytes, at);
    for (let j = 0; j < 128; j++) target[out + j] = (bytes[at + 2 + (j >> 3)]! >> (j & 7)) & 1 ? d : -d;
  }
}

/** 18 bytes for 64: d, two bits each: -1 to 2 times d. */
export function dequantiseQ20(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 18, out += 64) {
    const d = float16At(bytes, at);
    for (let j = 0; j < 64; j++) target[out + j] = d * (((bytes[at + 2 + (j >> 2)]! >> (2 * (j & 3))) & 3) - 1);
  }
}

const POWERS_OF_3 = [1, 3, 9, 27, 81];
/** First byte, bytes and digits a byte of TQ1_0's three parts. */
const TERNARY_PARTS = [
  [0, 32, 5],
  [32, 16, 5],
  [48, 4, 4],
] as const;

/** 54 bytes for 256: base-3 digits, those of one place of all bytes of a part together, and d. */
export function dequantiseTQ10(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; at < bytes.length; at += 54) {
    const d = float16At(bytes, at + 52);
    for (const [first, size, digits] of TERNARY_PARTS) {
      for (let digit = 0; digit < digits; digit++) {
        for (let j = 0; j < size; j++) {
          const shifted = (bytes[at + first + j]! * POWERS_OF_3[digit]!) & 255;
          target[out++] = d * (((shifted * 3) >> 8) - 1);
        }
      }
    }
  }
}

/** 66 bytes for 256: two bits each, as in Q2_K, and d: -1 to 2 times d. */
export function dequantiseTQ20(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 66, out += 256) {
    const d = float16At(bytes, at + 64);
    for (let j = 0; j < 256; j++) {
      const q = bytes[at + ((j >> 7) << 5) + (j & 31)]! >> (2 * ((j >> 5) & 3));
      target[out + j] = d * ((q & 3) - 1);
    }
  }
}
