/** A copy of a file with some bytes changed, for what this process alone needs and only for a moment: it is not synced. */

import { closeSync, copyFileSync, openSync, rmSync, writeSync } from 'node:fs';
import { readFully, writeError } from './io.js';

/** Some bytes of a file. */
export interface Piece {
  at: number;
  bytes: number;
}

/**
 * @param to is replaced; gone where this fails
 * @param patch changes a piece in place
 * @throws CrayonError `file-not-found`, `file-unreadable`, `disk-full`, `write-failed`
 */
export function patchedCopy(
  from: string,
  to: string,
  pieces: readonly Piece[],
  patch: (data: Uint8Array<ArrayBuffer>, piece: number) => void,
): void {
  try {
    copyFileSync(from, to);
    const fd = openSync(to, 'r+');
    try {
      const buffer = new Uint8Array(pieces.reduce((most, { bytes }) => Math.max(most, bytes), 0));
      for (const [i, { at, bytes }] of pieces.entries()) {
        const data = buffer.subarray(0, bytes);
        readFully(fd, data, at, to);
        patch(data, i);
        for (let done = 0; done < bytes; ) done += writeSync(fd, data, done, bytes - done, at + done);
      }
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    rmSync(to, { force: true });
    throw writeError(to, error);
  }
}
