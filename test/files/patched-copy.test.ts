/** Copies of which some bytes are changed. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { patchedCopy } from '../../src/files/patched-copy.js';
import { temporaryDir } from '../helpers/files.js';

it('changes its pieces alone, and the file that it is of not at all', () => {
  const dir = temporaryDir();
  const [from, to] = [join(dir, 'from'), join(dir, 'to')];
  writeFileSync(from, 'abcdefghij');
  const pieces = [
    { at: 1, bytes: 2 },
    { at: 8, bytes: 1 },
  ];
  const seen: string[] = [];
  patchedCopy(from, to, pieces, (data, i) => {
    seen.push(`${i}${Buffer.from(data)}`);
    data.fill('X'.charCodeAt(0));
  });
  expect(readFileSync(to, 'latin1')).toBe('aXXdefghXj');
  expect(readFileSync(from, 'latin1')).toBe('abcdefghij');
  expect(seen).toEqual(['0bc', '1i']);
});

it('is gone where it fails', () => {
  const dir = temporaryDir();
  const [from, to] = [join(dir, 'from'), join(dir, 'to')];
  writeFileSync(from, 'abc');
  const nothing = () => {};
  expect(() => patchedCopy(from, to, [{ at: 2, bytes: 5 }], nothing)).toThrow(/shorter than/);
  expect(existsSync(to)).toBe(false);
  const fails = () => {
    throw new Error('no');
  };
  expect(() => patchedCopy(from, to, [{ at: 0, bytes: 1 }], fails)).toThrow('no');
  expect(existsSync(to)).toBe(false);
  expect(() => patchedCopy(join(dir, 'none'), to, [], nothing)).toThrow();
});
