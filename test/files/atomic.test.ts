import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, parse } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AtomicDirectory, removeStaleSiblings, writeDirectoryAtomic, writeFileAtomic } from '../../src/files/atomic.js';
import { errorOf, temporaryDir } from '../helpers/files.js';

/** The number of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ['--version']).pid;
}

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

describe('what a killed run leaves', () => {
  it('is removed by the next run, unless its process is alive', () => {
    const dir = temporaryDir();
    const dead = deadPid();
    mkdirSync(join(dir, `.out.tmp-${dead}`));
    writeFileSync(join(dir, `.out.tmp-${dead}`, 'part'), 'x');
    mkdirSync(join(dir, `.out.tmp-${process.ppid}`));
    writeFileSync(join(dir, `.other.tmp-${dead}`), 'x');
    writeFileSync(join(dir, '.out.tmp-note'), 'x');
    writeDirectoryAtomic(join(dir, 'out'), {}, (temporary) => writeFileSync(join(temporary, 'a'), ''));
    expect(readdirSync(dir).sort()).toEqual(
      [`.other.tmp-${dead}`, '.out.tmp-note', `.out.tmp-${process.ppid}`, 'out'].sort(),
    );
  });

  it('is put back when the old output had been moved aside and the new one was not there yet', () => {
    const dir = temporaryDir();
    const aside = join(dir, `.out.old-${deadPid()}`);
    mkdirSync(aside);
    writeFileSync(join(aside, 'old'), 'kept');
    removeStaleSiblings(join(dir, 'out'));
    expect(readFileSync(join(dir, 'out', 'old'), 'utf8')).toBe('kept');
  });

  it('is removed when the new output had already taken its place', () => {
    const dir = temporaryDir();
    mkdirSync(join(dir, `.out.old-${deadPid()}`));
    mkdirSync(join(dir, 'out'));
    removeStaleSiblings(join(dir, 'out'));
    expect(readdirSync(dir)).toEqual(['out']);
  });

  it('is a hidden sibling, never a part of the output, when the process is killed while filling', () => {
    const dir = temporaryDir();
    const module = new URL('../../src/files/atomic.ts', import.meta.url).href;
    const script = `
      import { writeFileSync } from 'node:fs';
      const { AtomicDirectory } = await import(${JSON.stringify(module)});
      const output = new AtomicDirectory(${JSON.stringify(join(dir, 'out'))});
      writeFileSync(output.dir + '/half', 'x');
      process.kill(process.pid, 'SIGKILL');`;
    const { signal } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script]);
    expect(signal).toBe('SIGKILL');
    expect(readdirSync(dir)).toEqual([expect.stringMatching(/^\.out\.tmp-\d+$/)]);
    writeDirectoryAtomic(join(dir, 'out'), {}, (temporary) => writeFileSync(join(temporary, 'whole'), ''));
    expect(readdirSync(dir)).toEqual(['out']);
    expect(readdirSync(join(dir, 'out'))).toEqual(['whole']);
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
