/**
 * Writing GGUF files (github.com/ggml-org/ggml, docs/gguf.md, version 3) as a stream: memory is bounded by the largest
 * tensor, and there is no file under the final name until it is complete.
 */

import assert from 'node:assert';
import { LIMITS } from '../core/limits.js';
import { AtomicFileStream, refuseUnlessReplaceableFile } from '../files/atomic.js';
import { encodeGgufTensor, ggufTensorBytes } from './encodings.js';
import {
  GGUF_DEFAULT_ALIGNMENT,
  GGUF_MAGIC,
  GGUF_NUMBERS,
  GGUF_VALUE_TYPES,
  GGUF_VERSION,
  type GgufMetadata,
  type GgufNumber,
  type GgufNumberType,
  type GgufValue,
  type GgufValueType,
} from './format.js';
import { GGML_TYPES, type GgufWriteType } from './types.js';

export interface GgufTensorToWrite {
  /** at most 63 bytes */
  name: string;
  /** as in PyTorch, outermost first */
  shape: readonly number[];
  type: GgufWriteType;
  /**
   * The elements, row-major, or their bytes in `type`; called when the tensor's turn comes, so that only one needs to be in memory.
   */
  data: () => Float32Array | Uint8Array;
}

const MAGIC = Uint8Array.from(Buffer.from('GGUF'));

/**
 * Writes a whole file; the tensors' functions are called one by one, in order.
 *
 * @returns the size of the file
 * @throws CrayonError `output-exists`, `disk-full`, `write-failed`, `tensor-not-finite`, or what a `data` function throws;
 *   no file is left behind
 */
export function writeGguf(...file: Parameters<typeof writeGgufSteps>): { bytes: number } {
  return runToEnd(writeGgufSteps(...file));
}

/**
 * The same in steps, one before each tensor, for a caller who shares the process with timers and signals. A caller who
 * stops early (`return()`, or `break` out of a loop) leaves no file behind either.
 */
export function* writeGgufSteps(
  path: string,
  metadata: GgufMetadata,
  tensors: readonly GgufTensorToWrite[],
  options: { force?: boolean } = {},
): Generator<GgufStep, { bytes: number }> {
  assert.equal(new Set(tensors.map(({ name }) => name)).size, tensors.length, 'tensor names must be unique');
  refuseUnlessReplaceableFile(path, { ...options, magic: MAGIC });
  const sizes = tensors.map(({ type, shape }) => ggufTensorBytes(type, shape));
  const head = encodeHead(metadata, tensors, sizes);
  const bytes = head.length + sizes.reduce((sum, size) => sum + aligned(size), 0);
  const file = new AtomicFileStream(path, bytes);
  let isWritten = false;
  try {
    file.write(head);
    for (const [i, { name, type, data }] of tensors.entries()) {
      yield { done: i, total: tensors.length };
      const given = data();
      const isEncoded = given instanceof Uint8Array;
      const encoded = isEncoded ? given : encodeGgufTensor(type, given, `${path}: tensor "${name}"`);
      assert.equal(encoded.length, sizes[i], `bytes of tensor "${name}"`);
      file.write(encoded);
      file.write(new Uint8Array(aligned(encoded.length) - encoded.length));
    }
    yield { done: tensors.length, total: tensors.length };
    isWritten = true;
  } finally {
    if (!isWritten) file.abort();
  }
  file.finish();
  return { bytes };
}

/** How many tensors have been written. */
export interface GgufStep {
  done: number;
  total: number;
}

/** Takes all steps at once. */
export function runToEnd<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

const aligned = (bytes: number): number => Math.ceil(bytes / GGUF_DEFAULT_ALIGNMENT) * GGUF_DEFAULT_ALIGNMENT;

/** Everything before the data section, padded to its alignment. */
function encodeHead(
  metadata: GgufMetadata,
  tensors: readonly GgufTensorToWrite[],
  sizes: readonly number[],
): Uint8Array {
  const out = new ByteWriter();
  out.uint32(GGUF_MAGIC);
  out.uint32(GGUF_VERSION);
  out.uint64(tensors.length);
  out.uint64(metadata.size);
  for (const [key, value] of metadata) {
    out.string(key);
    out.uint32(GGUF_VALUE_TYPES.indexOf(value.type));
    out.value(value);
  }
  let offset = 0;
  for (const [i, { name, shape, type }] of tensors.entries()) {
    assert(
      Buffer.byteLength(name) < LIMITS.ggufNameBytes,
      `tensor name "${name}" is as long as ${LIMITS.ggufNameBytes} bytes`,
    );
    out.string(name);
    out.uint32(shape.length);
    for (const size of [...shape].reverse()) out.uint64(size);
    out.uint32(GGML_TYPES[type].id);
    out.uint64(offset);
    offset += aligned(sizes[i]!);
  }
  out.pad(aligned(out.length));
  return out.bytes();
}

/** Little-endian values into a growing buffer. */
class ByteWriter {
  length = 0;
  #buffer = Buffer.alloc(2 ** 16);

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  number<T extends GgufNumberType>(type: T, x: GgufNumber<T>): void {
    const { bytes, write } = GGUF_NUMBERS[type];
    this.length = write(this.#room(bytes), this.length, x);
  }

  uint32(x: number): void {
    this.number('uint32', x);
  }

  uint64(x: number): void {
    this.number('uint64', BigInt(x));
  }

  string(text: string): void {
    const size = Buffer.byteLength(text);
    this.uint64(size);
    this.#room(size).write(text, this.length);
    this.length += size;
  }

  pad(length: number): void {
    this.#room(length - this.length).fill(0, this.length, length);
    this.length = length;
  }

  value(value: GgufValue): void {
    if (value.type === 'array') {
      this.uint32(GGUF_VALUE_TYPES.indexOf(value.of));
      this.uint64(value.value.length);
      for (const item of value.value) this.#scalar(value.of, item);
    } else this.#scalar(value.type, value.value);
  }

  #scalar(type: Exclude<GgufValueType, 'array'>, value: unknown): void {
    if (type === 'string') this.string(value as string);
    else if (type === 'bool') this.number('uint8', value ? 1 : 0);
    else this.number(type, value as number & bigint);
  }

  #room(bytes: number): Buffer {
    if (this.length + bytes > this.#buffer.length) {
      const larger = Buffer.alloc(2 * (this.length + bytes));
      this.#buffer.copy(larger, 0, 0, this.length);
      this.#buffer = larger;
    }
    return this.#buffer;
  }
}
