import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { thisProcess } from '../../src/files/process-identity.js';
import { ScratchDirectory } from '../../src/files/scratch-directory.js';
import { temporaryDir } from '../helpers/files.js';

const { pid, start, space } = thisProcess();

describe('a scratch directory', () => {
  it('is this user’s alone, and gone when it is removed', () => {
    const parent = temporaryDir();
    const scratch = new ScratchDirectory(parent);
    writeFileSync(join(scratch.path, 'file'), '');
    expect(statSync(scratch.path).mode & 0o777).toBe(0o700);
    expect(new ScratchDirectory(parent).path).not.toBe(scratch.path); // which leaves the first one alone
    expect(existsSync(join(scratch.path, 'file'))).toBe(true);
    scratch.remove();
    expect(readdirSync(parent)).toHaveLength(1);
  });

  it.each([
    [
      'a process that has ended',
      () => `${spawnSync(process.execPath, ['--version']).pid}-${start}-${space}-a1b2c3`,
      true,
    ],
    ['one that had our number', () => `${pid}-1-${space}-a1b2c3`, true],
    ['one whose number another has now', () => `${process.ppid}-1-${space}-a1b2c3`, true],
    ['another container, which may be alive', () => `1-1-00000000-a1b2c3`, false],
    ['somebody else', () => 'notes', false],
  ])('of %s: is it removed by the next one?', (_, tag, isRemoved) => {
    const parent = temporaryDir();
    const left = join(parent, `crayon-scratch-${tag()}`);
    mkdirSync(left);
    writeFileSync(join(left, 'file'), '');
    new ScratchDirectory(parent).remove();
    expect(existsSync(left)).toBe(!isRemoved);
  });

  it('of another container is removed when nobody has touched it for long', () => {
    const parent = temporaryDir();
    const left = join(parent, 'crayon-scratch-1-1-00000000-a1b2c3');
    mkdirSync(left);
    utimesSync(left, 1e9, 1e9);
    new ScratchDirectory(parent).remove();
    expect(readdirSync(parent)).toEqual([]);
  });

  it('of an earlier version is known by the number in it', () => {
    const parent = temporaryDir();
    for (const [name, owner] of [
      ['a1', 999_999_999],
      ['b2', process.ppid],
    ] as const) {
      mkdirSync(join(parent, `crayon-scratch-${name}`));
      writeFileSync(join(parent, `crayon-scratch-${name}`, 'process.json'), JSON.stringify({ pid: owner }));
    }
    new ScratchDirectory(parent).remove();
    expect(readdirSync(parent)).toEqual(['crayon-scratch-b2']);
  });
});
