import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, parse } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AtomicDirectory, writeDirectoryAtomic, writeFileAtomic } from '../../src/files/atomic.js';
import { errorOf, temporaryDir } from '../helpers/files.js';

describe('writeFileAtomic', () => {
  it('writes a new file, and replaces an old one', () => {
    const dir = temporaryDir();
    const path = join(dir, 'a.txt');
    writeFileAtomic(path, 'one');
    writeFileAtomic(path, 'zwölf');
    expect(readFileSync(path, 'utf8')).toBe('zwölf');
    expect(readdirSync(dir)).toEqual(['a.txt']);
  });

  it('says write-failed for a folder that is missing or is a file', () => {
    const dir = temporaryDir();
    writeFileSync(join(dir, 'file'), '');
    expect(errorOf(() => writeFileAtomic(join(dir, 'none', 'a'), 'x')).code).toBe('write-failed');
    expect(errorOf(() => writeFileAtomic(join(dir, 'file', 'a'), 'x')).code).toBe('write-failed');
  });
});

describe('an output directory', () => {
  const fill = (text: string) => (dir: string) => writeFileSync(join(dir, 'marker.json'), text);

  it('is made with its parents', () => {
    const path = join(temporaryDir(), 'a', 'b', 'out');
    writeDirectoryAtomic(path, {}, fill('1'));
    expect(readdirSync(path)).toEqual(['marker.json']);
  });

  it('is refused before any work when it exists, and replaced with force', () => {
    const path = join(temporaryDir(), 'out');
    writeDirectoryAtomic(path, {}, fill('1'));
    let isFilled = false;
    const error = errorOf(() =>
      writeDirectoryAtomic(path, {}, () => {
        isFilled = true;
      }),
    );
    expect(error.code).toBe('output-exists');
    expect(isFilled).toBe(false);
    writeDirectoryAtomic(path, { force: true, marker: 'marker.json' }, fill('2'));
    expect(readFileSync(join(path, 'marker.json'), 'utf8')).toBe('2');
  });

  it('may exist when it is empty', () => {
    const path = join(temporaryDir(), 'out');
    mkdirSync(path);
    writeDirectoryAtomic(path, {}, fill('1'));
    expect(readdirSync(path)).toEqual(['marker.json']);
  });

  it('is not replaced, even with force, when it does not look like an earlier output', () => {
    const path = join(temporaryDir(), 'thesis');
    mkdirSync(path);
    writeFileSync(join(path, 'chapter.txt'), 'years of work');
    const error = errorOf(() => writeDirectoryAtomic(path, { force: true, marker: 'marker.json' }, fill('2')));
    expect(error.code).toBe('output-exists');
    expect(existsSync(join(path, 'chapter.txt'))).toBe(true);
  });

  it('is never the root, the working directory, the home directory or one above them, or a file', () => {
    const dir = temporaryDir();
    writeFileSync(join(dir, 'file'), '');
    symlinkSync(process.cwd(), join(dir, 'link'));
    for (const path of [
      parse(process.cwd()).root,
      process.cwd(),
      join(process.cwd(), '..'),
      join(dir, 'file'),
      join(dir, 'link'),
    ]) {
      expect(errorOf(() => new AtomicDirectory(path, { force: true })).code, path).toMatch(
        /output-exists|write-failed/,
      );
    }
    expect(existsSync(process.cwd())).toBe(true);
  });

  it('leaves nothing, and the old output as it was, when filling fails', () => {
    const dir = temporaryDir();
    const path = join(dir, 'out');
    writeDirectoryAtomic(path, {}, fill('1'));
    expect(() =>
      writeDirectoryAtomic(path, { force: true }, (temporary) => {
        fill('2')(temporary);
        throw new RangeError('broken');
      }),
    ).toThrow();
    expect(readdirSync(dir)).toEqual(['out']);
    expect(readFileSync(join(path, 'marker.json'), 'utf8')).toBe('1');
  });

  it('that another process made meanwhile is not overwritten', () => {
    const path = join(temporaryDir(), 'out');
    const output = new AtomicDirectory(path);
    writeFileSync(join(output.dir, 'mine'), '');
    mkdirSync(path);
    writeFileSync(join(path, 'theirs'), '');
    expect(errorOf(() => output.commit()).code).toBe('output-exists');
    expect(readdirSync(path)).toEqual(['theirs']);
    expect(existsSync(output.dir)).toBe(false);
  });
});
