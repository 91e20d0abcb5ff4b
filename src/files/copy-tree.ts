/** A file or directory once more: a copy, or the same files under another name where the file system has that. */

import { constants, copyFileSync, linkSync, lstatSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { writeError } from './io.js';

/**
 * @param options.link the files are never written in place, so they may be the same ones; else they are copied
 * @throws CrayonError `file-unreadable` for a link or a device, `disk-full`, `write-failed`
 */
export function copyTree(from: string, to: string, { link = false }: { link?: boolean } = {}): void {
  const stats = lstatSync(from, { throwIfNoEntry: false });
  if (stats === undefined) throw new CrayonError('file-not-found', `${from}: no such file or directory`);
  try {
    if (stats.isDirectory()) {
      mkdirSync(to);
      for (const name of readdirSync(from)) copyTree(join(from, name), join(to, name), { link });
    } else if (stats.isSymbolicLink() && statSync(from).isFile()) {
      copyFileSync(from, to, constants.COPYFILE_EXCL); // what it leads to
    } else if (!stats.isFile()) {
      throw new CrayonError('file-unreadable', `${from}: neither a file nor a directory`);
    } else if (!link || !linked(from, to)) {
      copyFileSync(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    }
  } catch (error) {
    throw writeError(to, error);
  }
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch {
    return false; // copied then, which says what is wrong if that does not work either
  }
}
