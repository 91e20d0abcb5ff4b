import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packDirectory, unpackInto } from '../../src/files/tar.js';
import { errorOf, temporaryDir } from '../helpers/files.js';

function packed(): { archive: string; bytes: Buffer; dir: string } {
  const dir = join(temporaryDir(), 'from');
  mkdirSync(dir);
  writeFileSync(join(dir, 'b.bin'), Buffer.alloc(3_000_000, 7));
  writeFileSync(join(dir, 'a.json'), '{}');
  writeFileSync(join(dir, 'empty'), '');
  const archive = join(temporaryDir(), 'x.tar');
  packDirectory(dir, archive);
  return { archive, bytes: readFileSync(archive), dir };
}

describe('packDirectory', () => {
  it('makes what tar unpacks, the same bytes each time', () => {
    const { archive, bytes, dir } = packed();
    const out = temporaryDir();
    expect(spawnSync('tar', ['xf', archive, '-C', out]).status).toBe(0);
    for (const name of ['a.json', 'b.bin', 'empty']) {
      expect(readFileSync(join(out, name)).equals(readFileSync(join(dir, name)))).toBe(true);
    }
    expect(packed().bytes.equals(bytes)).toBe(true);
  });
});

describe('unpackInto', () => {
  it('gives back what was packed, by us or by tar', () => {
    const { archive, dir } = packed();
    const other = join(temporaryDir(), 'y.tar');
    const names = ['a.json', 'b.bin', 'empty'];
    expect(spawnSync('tar', ['--format=ustar', '-cf', other, '-C', dir, ...names]).status).toBe(0);
    for (const path of [archive, other]) {
      const out = temporaryDir();
      unpackInto(path, out, [...names, 'more']);
      for (const name of names) expect(readFileSync(join(out, name)).equals(readFileSync(join(dir, name)))).toBe(true);
    }
  });

  const changed = (bytes: Buffer, text: string, at: number): Buffer => {
    bytes.write(text, at);
    return bytes;
  };
  const sealed = (bytes: Buffer): Buffer => {
    bytes.write('        ', 148);
    const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return bytes;
  };
  it.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
    [
      'a path that leads out',
      (bytes) => sealed(Buffer.concat([Buffer.from('../a\0\0'), bytes.subarray(6)])),
      /entry "..\/a"/,
    ],
    ['a link', (bytes) => sealed(changed(bytes, '2', 156)), /entry/],
    ['another checksum', (bytes) => changed(bytes, 'x', 0), /checksum/],
    ['an end within a file', (bytes) => bytes.subarray(0, 2000), /within a file/],
    ['no end', (bytes) => bytes.subarray(0, bytes.length - 1024), /without an end/],
    ['a file twice', (bytes) => Buffer.concat([bytes.subarray(0, 1024), bytes]), /entry "a.json"/],
    ['nothing', () => Buffer.alloc(0), /without an end/],
  ])('refuses %s', (_, spoil, message) => {
    const { archive, bytes } = packed();
    writeFileSync(archive, spoil(bytes));
    const out = join(temporaryDir(), 'out');
    mkdirSync(out);
    const error = errorOf(() => unpackInto(archive, out, ['a.json', 'b.bin', 'empty']));
    expect(error).toMatchObject({ code: 'server-invalid', message: expect.stringMatching(message) });
    expect(readdirSync(join(out, '..'))).toEqual(['out']);
  });
});
