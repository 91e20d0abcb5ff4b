/**
 * Plain quantisers for tests: the nearest value on each block's grid, without the searches by which llama.cpp finds better
 * scales. What is read back from them is a lower bound of what real files give.
 */

import assert from 'node:assert';
import { GGML_TYPES, type GgmlType } from '../../src/gguf/format.js';
import { float16Value, float32ToFloat16 } from '../../src/safetensors/half-floats.js';

/** `data` holds whole blocks. */
export function quantiseForTest(type: GgmlType, data: Float32Array): Uint8Array {
  const quantise = { Q8_0: q80, Q4_0: q40, Q4_K: kQuant4, Q5_K: kQuant5, Q6_K: q6K }[type as 'Q8_0'];
  const { block, bytes } = GGML_TYPES[type];
  assert(quantise !== undefined && data.length % block === 0, `${type} of ${data.length} elements`);
  const out = new Uint8Array((data.length / block) * bytes);
  for (let i = 0; i < data.length / block; i++) {
    quantise(data.subarray(i * block, (i + 1) * block), out.subarray(i * bytes, (i + 1) * bytes));
  }
  return out;
}

type Quantise = (x: Float32Array, out: Uint8Array) => void;

/** Stores a scale as float16; returns the value that was stored. */
function half(value: number, out: Uint8Array, at: number): number {
  const bits = new Uint16Array(1);
  float32ToFloat16(Float32Array.of(value), bits);
  out[at] = bits[0]! & 0xff;
  out[at + 1] = bits[0]! >> 8;
  return float16Value(bits[0]!);
}

const nearest = (x: number, step: number, least: number, most: number): number =>
  step === 0 ? Math.max(least, 0) : Math.min(most, Math.max(least, Math.round(x / step)));

const largest = (x: Float32Array): number => x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

const q80: Quantise = (x, out) => {
  const d = half(largest(x) / 127, out, 0);
  for (let j = 0; j < 32; j++) out[2 + j] = nearest(x[j]!, d, -127, 127) & 255;
};

const q40: Quantise = (x, out) => {
  // The value of the largest size becomes -8, as in ggml.
  const extreme = x.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
  const d = half(extreme / -8, out, 0);
  const q = Array.from(x, (value) => nearest(value, d, -8, 7) + 8);
  for (let j = 0; j < 16; j++) out[2 + j] = q[j]! | (q[j + 16]! << 4);
};

/** Scales and minima of eight groups in 12 bytes, then levels 0 to `most` of each element. */
function kLevels(x: Float32Array, out: Uint8Array, most: number): number[] {
  const groups = Array.from({ length: 8 }, (_, g) => {
    const part = x.subarray(32 * g, 32 * g + 32);
    const low = Math.min(0, ...part);
    return { minimum: -low, scale: (Math.max(...part) - low) / most };
  });
  const d = half(Math.max(...groups.map(({ scale }) => scale)) / 63, out, 0);
  const dmin = half(Math.max(...groups.map(({ minimum }) => minimum)) / 63, out, 2);
  const scales = groups.map(({ scale }) => nearest(scale, d, 0, 63));
  const minima = groups.map(({ minimum }) => nearest(minimum, dmin, 0, 63));
  for (let j = 0; j < 4; j++) {
    out[4 + j] = scales[j]! | ((scales[j + 4]! >> 4) << 6);
    out[8 + j] = minima[j]! | ((minima[j + 4]! >> 4) << 6);
    out[12 + j] = (scales[j + 4]! & 15) | ((minima[j + 4]! & 15) << 4);
  }
  return Array.from(x, (value, i) => {
    const g = i >> 5;
    return nearest(value + dmin * minima[g]!, d * scales[g]!, 0, most);
  });
}

const kQuant4: Quantise = (x, out) => {
  const q = kLevels(x, out, 15);
  for (let i = 0; i < 128; i++) {
    const from = (i >> 5) * 64 + (i & 31);
    out[16 + i] = q[from]! | (q[from + 32]! << 4);
  }
};

const kQuant5: Quantise = (x, out) => {
  const q = kLevels(x, out, 31);
  for (let i = 0; i < 128; i++) {
    const from = (i >> 5) * 64 + (i & 31);
    out[48 + i] = (q[from]! & 15) | ((q[from + 32]! & 15) << 4);
  }
  for (const [i, level] of q.entries()) out[16 + (i & 31)]! |= (level >> 4) << (i >> 5);
};

const q6K: Quantise = (x, out) => {
  const groups = Array.from({ length: 16 }, (_, g) => largest(x.subarray(16 * g, 16 * g + 16)) / 31);
  const d = half(Math.max(...groups) / 127, out, 208);
  const scales = groups.map((scale) => nearest(scale, d, 0, 127));
  for (const [g, scale] of scales.entries()) out[192 + g] = scale;
  for (const [i, value] of x.entries()) {
    const q = nearest(value, d * scales[i >> 4]!, -32, 31) + 32;
    const [half128, pair, l] = [i >> 7, (i >> 5) & 3, i & 31];
    out[half128 * 64 + (pair & 1) * 32 + l]! |= (q & 15) << (pair >> 1 ? 4 : 0);
    out[128 + half128 * 32 + l]! |= (q >> 4) << (2 * pair);
  }
};
