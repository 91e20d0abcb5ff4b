/**
 * Two paths exchanged in one step, which Node has no call for: renameat2 with RENAME_EXCHANGE on Linux (3.15), renamex_np with
 * RENAME_SWAP on macOS (10.12), through koffi, an optional dependency. Where it is absent, or the file system cannot (NFS, some
 * FUSE), siblings.ts takes two renames and readers look for what is between them.
 */

import { createRequire } from 'node:module';

const AT_FDCWD = -100;
/** RENAME_EXCHANGE of linux/fs.h, and RENAME_SWAP of macOS's stdio.h. */
const SWAP = 2;

type Exchange = (a: string, b: string) => boolean;

/** What is used of koffi. Its own types are not named: the sources compile without the package. */
interface Koffi {
  load(library: null): { func(prototype: string): (...values: Array<number | string>) => number };
}

let loaded: Exchange | undefined;

/** @returns whether they were exchanged; false: nothing has changed */
export function exchangePaths(a: string, b: string): boolean {
  loaded ??= load();
  return loaded(a, b);
}

function load(): Exchange {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const libc = koffi.load(null); // what Node itself is linked with: glibc, musl or libSystem
    if (process.platform === 'linux') {
      const call = libc.func('int renameat2(int, const char *, int, const char *, unsigned int)');
      return (a, b) => call(AT_FDCWD, a, AT_FDCWD, b, SWAP) === 0;
    }
    if (process.platform === 'darwin') {
      const call = libc.func('int renamex_np(const char *, const char *, unsigned int)');
      return (a, b) => call(a, b, SWAP) === 0;
    }
  } catch {} // not installed, or a libc before renameat2 (glibc 2.28)
  return () => false;
}
