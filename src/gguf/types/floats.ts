/** Tensors that are stored as floats: F32, F16 and BF16. */

import { bytesOf } from '../../files/io.js';
import { bfloat16ToFloat32, float16ToFloat32, float32ToFloat16 } from '../../safetensors/half-floats.js';
import { tooLarge } from './half.js';

export function readF32(bytes: Uint8Array, target: Float32Array): void {
  new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes);
}

export function writeF32(data: Float32Array, out: Uint8Array): void {
  out.set(bytesOf(data));
}

export function readF16(bytes: Uint8Array, target: Float32Array): void {
  float16ToFloat32(words(bytes), target);
}

/** To nearest, ties to even. @throws CrayonError for a finite float32 beyond 65,504, which would silently become infinity */
export function writeF16(data: Float32Array, out: Uint8Array, where: string): void {
  const bits = new Uint16Array(data.length);
  float32ToFloat16(data, bits);
  const at = bits.findIndex((x, i) => (x & 0x7fff) === 0x7c00 && Number.isFinite(data[i]!));
  if (at !== -1) throw tooLarge(where, data[at]!);
  out.set(bytesOf(bits));
}

export function readBF16(bytes: Uint8Array, target: Float32Array): void {
  bfloat16ToFloat32(words(bytes), target);
}

/** 16-bit words of bytes that may start anywhere. */
function words(bytes: Uint8Array): Uint16Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 1);
}
