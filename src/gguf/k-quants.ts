/**
 * ggml's K-quants (ggml-quants.c, ggml-common.h): super-blocks of 256 elements. Q4_K and Q5_K hold eight groups of 32 with
 * a 6-bit scale and a 6-bit minimum each, under one float16 scale and one float16 minimum; Q6_K holds sixteen groups of 16
 * with an int8 scale each, under one float16 scale.
 */

import { float16Value } from '../safetensors/half-floats.js';

const GROUPS = 8;
/** Scale and minimum of each group of the super-block being read. */
const scales = new Float64Array(GROUPS);
const minima = new Float64Array(GROUPS);

/** Unpacks d (float16), dmin (float16) and the 12 bytes of 6-bit pairs at `at` into `scales` and `minima`. */
function readScales(bytes: Uint8Array, at: number): void {
  const d = float16Value(bytes[at]! | (bytes[at + 1]! << 8));
  const dmin = float16Value(bytes[at + 2]! | (bytes[at + 3]! << 8));
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

/** A super-block: d, dmin, 12 bytes of scales, 128 bytes of nibbles: 32 bytes for each pair of groups. */
export function dequantiseQ4K(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 144, out += 256) {
    readScales(bytes, at);
    for (let pair = 0; pair < 4; pair++) {
      const [d1, m1, d2, m2] = [scales[2 * pair]!, minima[2 * pair]!, scales[2 * pair + 1]!, minima[2 * pair + 1]!];
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

/** As Q4_K, with 32 bytes of fifth bits before the nibbles: bit g of byte l belongs to element l of group g. */
export function dequantiseQ5K(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 176, out += 256) {
    readScales(bytes, at);
    const high = at + 16;
    for (let pair = 0; pair < 4; pair++) {
      const [d1, m1, d2, m2] = [scales[2 * pair]!, minima[2 * pair]!, scales[2 * pair + 1]!, minima[2 * pair + 1]!];
      const from = at + 48 + pair * 32;
      const to = out + pair * 64;
      for (let l = 0; l < 32; l++) {
        const q = bytes[from + l]!;
        const fifth = bytes[high + l]! >> (2 * pair);
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
export function dequantiseQ6K(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 210, out += 256) {
    const d = float16Value(bytes[at + 208]! | (bytes[at + 209]! << 8));
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

function int8(byte: number): number {
  return (byte << 24) >> 24;
}
