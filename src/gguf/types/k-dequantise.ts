/**
 * ggml's K-quants to float32 (ggml-quants.c: dequantize_row_q*_K; layouts in ggml-common.h): super-blocks of 256 elements in
 * groups with a small scale each, under one float16 scale d (and dmin for minima).
 *
 * Products of a scale and a small whole number are exact in a double, so each result is rounded once, as in the C code.
 */

import { float16At } from './half.js';

const asSigned = (bytes: Uint8Array): Int8Array => new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** 84 bytes: 16 of a 4-bit scale and a 4-bit minimum each, 64 of bit pairs, d, dmin. Bit pair p of a byte is 32 p elements on. */
export function dequantiseQ2K(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 84, out += 256) {
    const d = float16At(bytes, at + 80);
    const dmin = float16At(bytes, at + 82);
    for (let group = 0; group < 16; group++) {
      const scale = d * (bytes[at + group]! & 15);
      const min = dmin * (bytes[at + group]! >> 4);
      const from = at + 16 + ((group >> 3) << 5) + ((group & 1) << 4);
      const shift = group & 6;
      const to = out + 16 * group;
      for (let l = 0; l < 16; l++) target[to + l] = scale * ((bytes[from + l]! >> shift) & 3) - min;
    }
  }
}

/**
 * 110 bytes: 32 of third bits (bit g of byte l is element 32 g + l's; where it is 0, 4 is taken off), 64 of bit pairs as in
 * Q2_K, 12 of 6-bit scales less 32, d.
 */
export function dequantiseQ3K(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 110, out += 256) {
    const d = float16At(bytes, at + 108);
    const packed = at + 96;
    for (let group = 0; group < 16; group++) {
      const low = group < 8 ? bytes[packed + group]! & 15 : bytes[packed + group - 8]! >> 4;
      const high = (bytes[packed + 8 + (group & 3)]! >> (2 * (group >> 2))) & 3;
      const scale = d * ((low | (high << 4)) - 32);
      const third = at + ((group & 1) << 4);
      const bit = group >> 1;
      const from = at + 32 + ((group >> 3) << 5) + ((group & 1) << 4);
      const shift = group & 6;
      const to = out + 16 * group;
      for (let l = 0; l < 16; l++) {
        target[to + l] = scale * ((((bytes[from + l]! >> shift) & 3) | (((bytes[third + l]! >> bit) & 1) << 2)) - 4);
      }
    }
  }
}

/** Scale and minimum of each group of the super-block being read. */
const scales = new Float64Array(8);
const minima = new Float64Array(8);

/** Unpacks d, dmin and the 12 bytes of eight 6-bit pairs at `at` into `scales` and `minima`. */
function readScales(bytes: Uint8Array, at: number): void {
  const d = float16At(bytes, at);
  const dmin = float16At(bytes, at + 2);
  const packed = at + 4;
  for (let j = 0; j < 4; j++) {
    const a = bytes[packed + j]!;
    const b = bytes[packed + 4 + j]!;
    const c = bytes[packed + 8 + j]!;
    // Groups 0 to 3 lie in the lower 6 bits; groups 4 to 7 in nibbles, with their upper bits above those of 0 to 3.
    scales[j] = d * (a & 63);
    minima[j] = dmin * (b & 63);
    scales[j + 4] = d * ((c & 15) | ((a >> 6) << 4));
    minima[j + 4] = dmin * ((c >> 4) | ((b >> 6) << 4));
  }
}

/** 144 bytes: the head of d, dmin and scales, then 32 bytes of nibbles for each pair of groups of 32. */
export function dequantiseQ4K(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 144, out += 256) {
    readScales(bytes, at);
    for (let pair = 0; pair < 4; pair++) {
      const d1 = scales[2 * pair]!;
      const m1 = minima[2 * pair]!;
      const d2 = scales[2 * pair + 1]!;
      const m2 = minima[2 * pair + 1]!;
      const from = at + 16 + pair * 32;
      const to = out + pair * 64;
      for (let l = 0; l < 32; l++) {
        const q = bytes[from + l]!;
        target[to + l] = d1 * (q & 15) - m1;
        target[to + 32 + l] = d2 * (q >> 4) - m2;
      }
    }
  }
}

/** 176 bytes: the head, 32 bytes of fifth bits (bit g of byte l is of element l of group g), nibbles as in Q4_K. */
export function dequantiseQ5K(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 176, out += 256) {
    readScales(bytes, at);
    for (let pair = 0; pair < 4; pair++) {
      const d1 = scales[2 * pair]!;
      const m1 = minima[2 * pair]!;
      const d2 = scales[2 * pair + 1]!;
      const m2 = minima[2 * pair + 1]!;
      const from = at + 48 + pair * 32;
      const to = out + pair * 64;
      for (let l = 0; l < 32; l++) {
        const q = bytes[from + l]!;
        const fifth = bytes[at + 16 + l]! >> (2 * pair);
        target[to + l] = d1 * ((q & 15) | ((fifth & 1) << 4)) - m1;
        target[to + 32 + l] = d2 * ((q >> 4) | ((fifth & 2) << 3)) - m2;
      }
    }
  }
}

/**
 * 210 bytes: 128 of lower nibbles, 64 of upper bit pairs, 16 int8 scales of groups of 16, d. Each half of 128 elements takes
 * 64 bytes of nibbles and 32 of bit pairs; bit pair p of byte l belongs to element 32 p + l of the half.
 */
export function dequantiseQ6K(bytes: Uint8Array, target: Float32Array): void {
  const signed = asSigned(bytes);
  for (let at = 0, out = 0; out < target.length; at += 210, out += 256) {
    const d = float16At(bytes, at + 208);
    for (let part = 0; part < 4; part++) {
      // 16 columns of the four groups that share their bytes.
      const column = (part & 1) << 4;
      const low = at + ((part >> 1) << 6) + column;
      const high = at + 128 + ((part >> 1) << 5) + column;
      const group = at + 192 + ((part >> 1) << 3) + (part & 1);
      const d0 = d * signed[group]!;
      const d1 = d * signed[group + 2]!;
      const d2 = d * signed[group + 4]!;
      const d3 = d * signed[group + 6]!;
      const to = out + ((part >> 1) << 7) + column;
      for (let l = 0; l < 16; l++) {
        const a = bytes[low + l]!;
        const b = bytes[low + 32 + l]!;
        const h = bytes[high + l]!;
        target[to + l] = d0 * (((a & 15) | ((h & 3) << 4)) - 32);
        target[to + 32 + l] = d1 * (((b & 15) | ((h & 12) << 2)) - 32);
        target[to + 64 + l] = d2 * (((a >> 4) | (h & 48)) - 32);
        target[to + 96 + l] = d3 * (((b >> 4) | ((h & 192) >> 2)) - 32);
      }
    }
  }
}
