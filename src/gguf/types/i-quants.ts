/**
 * ggml's i-quants of three bits and less to float32 (ggml-quants.c: dequantize_row_iq*; layouts in ggml-common.h): super-blocks
 * of 256 elements under one float16 scale d, whose runs of 8 or 4 are points of a grid (`i-grids.ts`) by their indices, under
 * small scales of 16 or 32 elements.
 *
 * The sizes of IQ2 and IQ3 have signs beside them: a bit each (set: negative), or 7 bits for 8 elements, of which an even number
 * is negative. Products are of so few bits that they are exact in float32 too.
 */

import { float16Value } from '../../safetensors/half-floats.js';
import { float16At } from './half.js';
import { gridIQ1, gridIQ2S, gridIQ2XS, gridIQ2XXS, gridIQ3S, gridIQ3XXS } from './i-grids.js';

/** 1 or -1 of 8 elements for each byte of signs. */
const SIGNS = Int8Array.from({ length: 256 * 8 }, (_, i) => 1 - 2 * (((i >> 3) >> (i & 7)) & 1));
/** The byte of signs for each 7 bits of them, the eighth making their number even (`ksigns_iq2xs`). */
const EVEN_SIGNS = Uint8Array.from({ length: 128 }, (_, bits) => {
  let odd = 0;
  for (let rest = bits; rest > 0; rest >>= 1) odd ^= rest & 1;
  return bits | (odd << 7);
});

/** What is added to IQ1's levels of -1 to 1, or taken off (`IQ1S_DELTA`). */
const DELTA = 0.125;

function uint16At(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

/** Of all 32 bits; negative where the uppermost is set. */
function int32At(bytes: Uint8Array, at: number): number {
  return uint16At(bytes, at) | (uint16At(bytes, at + 2) << 16);
}

/** Writes `count` elements at `to`: those of `grid` from `point` times the signs from `sign` (of `SIGNS`) times `scale`. */
function putSigned(
  grid: Int8Array,
  point: number,
  sign: number,
  scale: number,
  target: Float32Array,
  to: number,
  count: number,
): void {
  for (let j = 0; j < count; j++) target[to + j] = scale * (grid[point + j]! * SIGNS[sign + j]!);
}

/** 66 bytes: d; for each 32 elements four indices, then 32 bits: four times 7 of signs, and 4 of scale. */
export function dequantiseIQ2XXS(bytes: Uint8Array, target: Float32Array): void {
  const grid = gridIQ2XXS();
  for (let at = 0, out = 0; out < target.length; at += 66, out += 256) {
    const d = float16At(bytes, at) * 0.25;
    for (let group = 0; group < 8; group++) {
      const from = at + 2 + 8 * group;
      const word = int32At(bytes, from + 4);
      const scale = d * (0.5 + (word >>> 28));
      for (let run = 0; run < 4; run++) {
        const signs = EVEN_SIGNS[(word >>> (7 * run)) & 127]!;
        putSigned(grid, bytes[from + run]! << 3, signs << 3, scale, target, out + 32 * group + 8 * run, 8);
      }
    }
  }
}

/** 74 bytes: d; for each 8 elements 16 bits, 9 of index and 7 of signs; 8 bytes of a 4-bit scale for each 16. */
export function dequantiseIQ2XS(bytes: Uint8Array, target: Float32Array): void {
  const grid = gridIQ2XS();
  for (let at = 0, out = 0; out < target.length; at += 74, out += 256) {
    const d = float16At(bytes, at) * 0.25;
    for (let run = 0; run < 32; run++) {
      const word = uint16At(bytes, at + 2 + 2 * run);
      const scale = d * (0.5 + ((bytes[at + 66 + (run >> 2)]! >> (2 * (run & 2))) & 15));
      putSigned(grid, (word & 511) << 3, EVEN_SIGNS[word >> 9]! << 3, scale, target, out + 8 * run, 8);
    }
  }
}

/** 82 bytes: d; 32 of lower bits of indices, 32 of signs, 8 of upper bit pairs of indices, 8 of scales as in IQ2_XS. */
export function dequantiseIQ2S(bytes: Uint8Array, target: Float32Array): void {
  const grid = gridIQ2S();
  for (let at = 0, out = 0; out < target.length; at += 82, out += 256) {
    const d = float16At(bytes, at) * 0.25;
    for (let run = 0; run < 32; run++) {
      const high = (bytes[at + 66 + (run >> 2)]! >> (2 * (run & 3))) & 3;
      const point = bytes[at + 2 + run]! | (high << 8);
      const scale = d * (0.5 + ((bytes[at + 74 + (run >> 2)]! >> (2 * (run & 2))) & 15));
      putSigned(grid, point << 3, bytes[at + 34 + run]! << 3, scale, target, out + 8 * run, 8);
    }
  }
}

/** 98 bytes: d; 64 indices of 4 elements each; for each 32 elements 32 bits of signs and scale as in IQ2_XXS. */
export function dequantiseIQ3XXS(bytes: Uint8Array, target: Float32Array): void {
  const grid = gridIQ3XXS();
  for (let at = 0, out = 0; out < target.length; at += 98, out += 256) {
    const d = float16At(bytes, at) * 0.5;
    for (let group = 0; group < 8; group++) {
      const word = int32At(bytes, at + 66 + 4 * group);
      const scale = d * (0.5 + (word >>> 28));
      for (let run = 0; run < 4; run++) {
        const from = at + 2 + 8 * group + 2 * run;
        const to = out + 32 * group + 8 * run;
        const signs = EVEN_SIGNS[(word >>> (7 * run)) & 127]! << 3;
        putSigned(grid, bytes[from]! << 2, signs, scale, target, to, 4);
        putSigned(grid, bytes[from + 1]! << 2, signs + 4, scale, target, to + 4, 4);
      }
    }
  }
}

/** 110 bytes: d; 64 of lower bits of indices, 8 of their ninth bits, 32 of signs, 4 of a 4-bit scale for each 32 elements. */
export function dequantiseIQ3S(bytes: Uint8Array, target: Float32Array): void {
  const grid = gridIQ3S();
  for (let at = 0, out = 0; out < target.length; at += 110, out += 256) {
    const d = float16At(bytes, at);
    for (let run = 0; run < 32; run++) {
      const group = run >> 2;
      const scale = d * (1 + 2 * ((bytes[at + 106 + (group >> 1)]! >> (4 * (group & 1))) & 15));
      const ninths = bytes[at + 66 + group]! >> (2 * (run & 3));
      const first = bytes[at + 2 + 2 * run]! | ((ninths & 1) << 8);
      const second = bytes[at + 3 + 2 * run]! | ((ninths & 2) << 7);
      const signs = bytes[at + 74 + run]! << 3;
      putSigned(grid, first << 2, signs, scale, target, out + 8 * run, 4);
      putSigned(grid, second << 2, signs + 4, scale, target, out + 8 * run + 4, 4);
    }
  }
}

/**
 * 50 bytes: d; 32 of lower bits of indices; for each 32 elements 16 bits: four times 3 upper bits of indices, 3 of scale, and
 * one that is set where delta is taken off.
 */
export function dequantiseIQ1S(bytes: Uint8Array, target: Float32Array): void {
  const grid = gridIQ1();
  for (let at = 0, out = 0; out < target.length; at += 50, out += 256) {
    const d = float16At(bytes, at);
    for (let run = 0; run < 32; run++) {
      const word = uint16At(bytes, at + 34 + 2 * (run >> 2));
      const scale = d * (2 * ((word >> 12) & 7) + 1);
      const delta = word & 0x8000 ? -DELTA : DELTA;
      const point = (bytes[at + 2 + run]! | (((word >> (3 * (run & 3))) & 7) << 8)) << 3;
      const to = out + 8 * run;
      for (let j = 0; j < 8; j++) target[to + j] = scale * (grid[point + j]! + delta);
    }
  }
}

/**
 * 56 bytes: 32 of lower bits of indices; for each 8 elements 4 bits, 3 upper ones of the index and delta's as in IQ1_S; four
 * times 16 bits: four times 3 of scale for each 16 elements, and 4 of d, its lowest in the first.
 */
export function dequantiseIQ1M(bytes: Uint8Array, target: Float32Array): void {
  const grid = gridIQ1();
  for (let at = 0, out = 0; out < target.length; at += 56, out += 256) {
    const scales = at + 48;
    const d = float16Value(
      (bytes[scales + 1]! >> 4) |
        (bytes[scales + 3]! & 0xf0) |
        ((bytes[scales + 5]! & 0xf0) << 4) |
        ((bytes[scales + 7]! & 0xf0) << 8),
    );
    for (let run = 0; run < 32; run++) {
      const group = run >> 1;
      const scale = d * (2 * ((uint16At(bytes, scales + 2 * (group >> 2)) >> (3 * (group & 3))) & 7) + 1);
      const high = bytes[at + 32 + group]! >> (4 * (run & 1));
      const delta = high & 8 ? -DELTA : DELTA;
      const point = (bytes[at + run]! | ((high & 7) << 8)) << 3;
      const to = out + 8 * run;
      for (let j = 0; j < 8; j++) target[to + j] = scale * (grid[point + j]! + delta);
    }
  }
}
