/** Tensors of the types of `types.ts`: their size, from float32 and to it. */

import assert from 'node:assert';
import { elementCount } from '../safetensors/read.js';
import { GGML_TYPES, type GgmlType, type GgufWriteType } from './types.js';

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
 * Encodes a tensor, a whole number of blocks.
 *
 * @param where names the tensor in errors
 * @throws CrayonError `tensor-not-finite` when a finite value, or a block's scale, does not fit into F16
 */
export function encodeGgufTensor(type: GgufWriteType, data: Float32Array, where: string): Uint8Array {
  const { block, bytes, quantise } = GGML_TYPES[type];
  const blocks = data.length / block;
  assert(Number.isInteger(blocks), `${data.length} elements are no whole blocks`);
  const out = new Uint8Array(blocks * bytes);
  quantise(data, out, where);
  return out;
}

/** Whether `dequantise` reads a type. */
export function canDequantise(type: string): type is GgmlType {
  return Object.hasOwn(GGML_TYPES, type);
}

/** Decodes `target.length` elements of `type` from the start of `bytes`. */
export function dequantise(type: GgmlType, bytes: Uint8Array, target: Float32Array): void {
  GGML_TYPES[type].dequantise(bytes.subarray(0, encodedBytes(type, target.length)), target);
}
