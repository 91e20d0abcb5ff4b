/**
 * A forward reader over an open file: little-endian numbers and texts, through a window that moves with it, so that what is
 * held in memory does not depend on the file's size.
 */

import { readFully } from '../files/io.js';

const WINDOW_BYTES = 2 ** 20;

export class ByteCursor {
  readonly #fd: number;
  readonly #sizeBytes: number;
  readonly #path: string;
  /** what to throw when fewer bytes are left than a value needs */
  readonly #tooShort: (position: number, needed: number) => Error;
  /** Byte of the file that the next read starts at. */
  position = 0;
  #window = new Uint8Array(0);
  #view = new DataView(this.#window.buffer);
  #windowStart = 0;

  constructor(fd: number, sizeBytes: number, path: string, tooShort: (position: number, needed: number) => Error) {
    this.#fd = fd;
    this.#sizeBytes = sizeBytes;
    this.#path = path;
    this.#tooShort = tooShort;
  }

  get remaining(): number {
    return this.#sizeBytes - this.position;
  }

  u8(): number {
    const at = this.#take(1);
    return this.#view.getUint8(at);
  }

  i8(): number {
    const at = this.#take(1);
    return this.#view.getInt8(at);
  }

  u16(): number {
    const at = this.#take(2);
    return this.#view.getUint16(at, true);
  }

  i16(): number {
    const at = this.#take(2);
    return this.#view.getInt16(at, true);
  }

  u32(): number {
    const at = this.#take(4);
    return this.#view.getUint32(at, true);
  }

  i32(): number {
    const at = this.#take(4);
    return this.#view.getInt32(at, true);
  }

  f32(): number {
    const at = this.#take(4);
    return this.#view.getFloat32(at, true);
  }

  u64(): bigint {
    const at = this.#take(8);
    return this.#view.getBigUint64(at, true);
  }

  i64(): bigint {
    const at = this.#take(8);
    return this.#view.getBigInt64(at, true);
  }

  f64(): number {
    const at = this.#take(8);
    return this.#view.getFloat64(at, true);
  }

  /** The next `count` bytes; they stay valid until the next read only. */
  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#window.subarray(at, at + count);
  }

  /** Makes the next `count` bytes part of the window; returns where they start in it. */
  #take(count: number): number {
    if (count > this.remaining) throw this.#tooShort(this.position, count);
    const end = this.#windowStart + this.#window.byteLength;
    if (this.position + count > end) {
      const length = Math.min(Math.max(count, WINDOW_BYTES), this.remaining);
      this.#window = new Uint8Array(length);
      this.#view = new DataView(this.#window.buffer);
      this.#windowStart = this.position;
      readFully(this.#fd, this.#window, this.position, this.#path);
    }
    const at = this.position - this.#windowStart;
    this.position += count;
    return at;
  }
}
