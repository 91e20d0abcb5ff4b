/**
 * ggml's first quantised types, blocks of 32 elements under a float16 scale d and, in the _1 types, a float16 minimum m
 * (ggml-quants.c: quantize_row_*_ref, dequantize_row_*): Q8_0, Q4_0, Q4_1, Q5_0, Q5_1.
 *
 * A nibble byte j holds elements j (lower) and j + 16 (upper). Decoded, products of a scale and a small whole number are exact
 * in a double, so each result is rounded once, as in the C code; encoded, Math.fround stands wherever C has a float.
 */

import { float16At, putFloat16 } from './half.js';
import type { Dequantise, Quantise } from './type.js';

const f = Math.fround;

/** 34 bytes: d, 32 int8. */
export function dequantiseQ80(bytes: Uint8Array, target: Float32Array): void {
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0, out = 0; out < target.length; at += 34, out += 32) {
    const d = float16At(bytes, at);
    for (let j = 0; j < 32; j++) target[out + j] = d * signed[at + 2 + j]!;
  }
}

/** 18 bytes: d, nibbles. */
export function dequantiseQ40(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 18, out += 32) {
    const d = float16At(bytes, at);
    const m = -8 * d;
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 2 + j]!;
      target[out + j] = d * (q & 15) + m;
      target[out + j + 16] = d * (q >> 4) + m;
    }
  }
}

/** 20 bytes: d, m, nibbles. */
export function dequantiseQ41(bytes: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; out < target.length; at += 20, out += 32) {
    const d = float16At(bytes, at);
    const m = float16At(bytes, at + 2);
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 4 + j]!;
      target[out + j] = d * (q & 15) + m;
      target[out + j + 16] = d * (q >> 4) + m;
    }
  }
}

/** 22 bytes: d, the fifth bits of all elements, nibbles. */
export const dequantiseQ50: Dequantise = (bytes, target) => dequantiseFive(bytes, target, false);

/** 24 bytes: d, m, fifth bits, nibbles. */
export const dequantiseQ51: Dequantise = (bytes, target) => dequantiseFive(bytes, target, true);

function dequantiseFive(bytes: Uint8Array, target: Float32Array, hasMin: boolean): void {
  const head = hasMin ? 4 : 2;
  for (let at = 0, out = 0; out < target.length; at += head + 20, out += 32) {
    const d = float16At(bytes, at);
    const m = hasMin ? float16At(bytes, at + 2) : -16 * d;
    const from = at + head;
    const low = bytes[from]! | (bytes[from + 1]! << 8);
    const high = bytes[from + 2]! | (bytes[from + 3]! << 8);
    for (let j = 0; j < 16; j++) {
      const q = bytes[from + 4 + j]!;
      target[out + j] = d * ((q & 15) | (((low >> j) & 1) << 4)) + m;
      target[out + j + 16] = d * ((q >> 4) | (((high >> j) & 1) << 4)) + m;
    }
  }
}

/** d = max |x| / 127; x / d rounded half away from zero. */
export function quantiseQ80(data: Float32Array, out: Uint8Array, where: string): void {
  const signed = new Int8Array(out.buffer, out.byteOffset, out.byteLength);
  for (let at = 0, from = 0; from < data.length; at += 34, from += 32) {
    let largest = 0;
    for (let j = from; j < from + 32; j++) {
      const size = Math.abs(data[j]!);
      if (size > largest) largest = size;
    }
    const d = f(largest / 127);
    const inverse = d === 0 ? 0 : f(1 / d);
    putFloat16(out, at, d, where);
    for (let j = 0; j < 32; j++) {
      const level = f(data[from + j]! * inverse);
      signed[at + 2 + j] = level < 0 ? level - 0.5 : level + 0.5; // the store cuts the fraction off
    }
  }
}

/** Levels 0 to 2^bits - 1 of the block at work. */
const levels = new Uint8Array(32);

/** d so that the element of the largest size gets the lowest level: x / d + 2^(bits - 1), halves up. */
function levelsAroundZero(data: Float32Array, from: number, half: number): number {
  let size = 0;
  let extreme = 0;
  for (let j = from; j < from + 32; j++) {
    if (size < Math.abs(data[j]!)) {
      size = Math.abs(data[j]!);
      extreme = data[j]!;
    }
  }
  const d = f(extreme / -half);
  const inverse = d === 0 ? 0 : f(1 / d);
  for (let j = 0; j < 32; j++) {
    levels[j] = Math.min(2 * half - 1, f(f(data[from + j]! * inverse) + half + 0.5) | 0);
  }
  return d;
}

/** d and m so that the levels run from the least element to the largest. */
function levelsFromMinimum(data: Float32Array, from: number, most: number): { d: number; m: number } {
  let min = data[from]!;
  let max = min;
  for (let j = from + 1; j < from + 32; j++) {
    if (data[j]! < min) min = data[j]!;
    if (data[j]! > max) max = data[j]!;
  }
  const d = f(f(max - min) / most);
  const inverse = d === 0 ? 0 : f(1 / d);
  for (let j = 0; j < 32; j++) {
    levels[j] = Math.min(most, f(f(f(data[from + j]! - min) * inverse) + 0.5) | 0);
  }
  return { d, m: min };
}

function putNibbles(out: Uint8Array, at: number): void {
  for (let j = 0; j < 16; j++) out[at + j] = (levels[j]! & 15) | ((levels[j + 16]! & 15) << 4);
}

/** Bit j of the 32 bits is the fifth of level j; nibbles follow. */
function putFifths(out: Uint8Array, at: number): void {
  out.fill(0, at, at + 4);
  for (let j = 0; j < 32; j++) out[at + (j >> 3)]! |= (levels[j]! >> 4) << (j & 7);
  putNibbles(out, at + 4);
}

export const quantiseQ40: Quantise = (data, out, where) => {
  for (let at = 0, from = 0; from < data.length; at += 18, from += 32) {
    putFloat16(out, at, levelsAroundZero(data, from, 8), where);
    putNibbles(out, at + 2);
  }
};

export const quantiseQ41: Quantise = (data, out, where) => {
  for (let at = 0, from = 0; from < data.length; at += 20, from += 32) {
    const { d, m } = levelsFromMinimum(data, from, 15);
    putFloat16(out, at, d, where);
    putFloat16(out, at + 2, m, where);
    putNibbles(out, at + 4);
  }
};

export const quantiseQ50: Quantise = (data, out, where) => {
  for (let at = 0, from = 0; from < data.length; at += 22, from += 32) {
    putFloat16(out, at, levelsAroundZero(data, from, 16), where);
    putFifths(out, at + 2);
  }
};

export const quantiseQ51: Quantise = (data, out, where) => {
  for (let at = 0, from = 0; from < data.length; at += 24, from += 32) {
    const { d, m } = levelsFromMinimum(data, from, 31);
    putFloat16(out, at, d, where);
    putFloat16(out, at + 2, m, where);
    putFifths(out, at + 4);
  }
};
