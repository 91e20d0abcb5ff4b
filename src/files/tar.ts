/**
 * A few small files as one, in POSIX's ustar form (pax, IEEE 1003.1): an adapter's directory in one answer, which `tar x` unpacks as
 * well. Written without times and owners, so that the same files give the same bytes; read as whatever a stranger may have sent.
 */

import assert from 'node:assert';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { AtomicFileStream } from './atomic.js';
import { entriesOf, openRegularFile, readFully } from './io.js';

const BLOCK = 512;
const CHUNK_BYTES = 2 ** 20;
const NAME = /^[\w.-]{1,99}$/;

/** Packs the files of a directory, by name. @returns the archive's size */
export function packDirectory(dir: string, out: string): void {
  const file = new AtomicFileStream(out);
  try {
    for (const name of entriesOf(dir).sort()) {
      const { fd, sizeBytes } = openRegularFile(join(dir, name));
      try {
        file.write(header(name, sizeBytes));
        copy(fd, join(dir, name), 0, sizeBytes, file);
        file.write(new Uint8Array(padding(sizeBytes)));
      } finally {
        closeSync(fd);
      }
    }
    file.write(new Uint8Array(2 * BLOCK));
    file.finish();
  } catch (error) {
    file.abort();
    throw error;
  }
}

/**
 * Unpacks into a directory.
 *
 * @param names those that there may be, each once
 * @throws CrayonError `server-invalid` for what is none of ours: another name or kind of entry, a wrong checksum, an end within a file
 */
export function unpackInto(path: string, dir: string, names: readonly string[]): void {
  const left = new Set(names);
  const { fd, sizeBytes } = openRegularFile(path);
  const refuse = (problem: string) =>
    new CrayonError('server-invalid', `${path}: ${problem}, so no adapter as serve-pool sends it`);
  try {
    const block = Buffer.alloc(BLOCK);
    let at = 0;
    for (;;) {
      if (at + BLOCK > sizeBytes) throw refuse('ends without an end');
      readFully(fd, block, at, path);
      at += BLOCK;
      if (block.every((byte) => byte === 0)) return;
      const name = block.toString('latin1', 0, 100).replace(/\0.*$/s, '');
      const size = Number.parseInt(block.toString('latin1', 124, 136), 8);
      const sum = Number.parseInt(block.toString('latin1', 148, 156), 8);
      if (sum !== checksum(block)) throw refuse('has a wrong checksum');
      if (block[156] !== 0x30 || !left.delete(name)) throw refuse(`has an entry ${JSON.stringify(name.slice(0, 40))}`);
      if (!(size >= 0 && at + size <= sizeBytes)) throw refuse('ends within a file');
      const file = new AtomicFileStream(join(dir, name), size);
      copy(fd, path, at, size, file);
      file.finish();
      at += size + padding(size);
    }
  } finally {
    closeSync(fd);
  }
}

function header(name: string, size: number): Buffer {
  assert(NAME.test(name) && size < 8 ** 11, `${name}: no name or size for an archive`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;
  block.write(name, 0, 'latin1');
  block.write(octal(0o644, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(0, 11), 136);
  block.write('0', 156);
  block.write('ustar\x0000', 257, 'latin1');
  block.write(`${octal(checksum(block), 6)} `, 148);
  return block;
}

/** The sum of a header's bytes, its own place counted as spaces. */
function checksum(block: Buffer): number {
  return block.reduce((sum, byte, i) => sum + (i >= 148 && i < 156 ? 0x20 : byte), 0);
}

const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK;

function copy(fd: number, path: string, from: number, size: number, to: AtomicFileStream): void {
  const buffer = new Uint8Array(Math.min(CHUNK_BYTES, size));
  for (let done = 0; done < size; done += buffer.byteLength) {
    const chunk = buffer.subarray(0, Math.min(buffer.byteLength, size - done));
    readFully(fd, chunk, from + done, path);
    to.write(chunk);
  }
}
