import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../../src/files/digest.js';
import { PartialFile } from '../../src/files/partial.js';
import { processTag, thisProcess } from '../../src/files/process-identity.js';
import { temporaryDir } from '../helpers/files.js';

const bytes = (text: string) => Buffer.from(text);

describe('PartialFile', () => {
  it('appends, says its digest and takes its name when it is complete', () => {
    const dir = join(temporaryDir(), 'made', 'on', 'demand');
    const part = new PartialFile(dir, 'x');
    part.append(bytes('wrong'));
    part.restart();
    part.append(bytes('one '));
    part.append(bytes('two'));
    expect(part.size).toBe(7);
    expect(part.digest()).toBe(sha256('one two'));
    part.finish(join(dir, 'done'));
    part.release();
    expect(readdirSync(dir)).toEqual(['done']);
    expect(readFileSync(join(dir, 'done'), 'utf8')).toBe('one two');
  });

  it('is gone on with by the next one that wants it, and by one at a time', () => {
    const dir = temporaryDir();
    const first = new PartialFile(dir, 'x');
    first.append(bytes('one '));
    const other = new PartialFile(dir, 'x');
    expect(other.size).toBe(0);
    other.release();
    first.release();
    expect(readdirSync(dir)).toEqual(['x.free']);
    const next = new PartialFile(dir, 'x');
    expect(next.size).toBe(4);
    next.append(bytes('two'));
    next.finish(join(dir, 'done'));
    expect(readFileSync(join(dir, 'done'), 'utf8')).toBe('one two');
  });

  it('takes over what a process that was killed had, and leaves that of others', () => {
    const dir = temporaryDir();
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    const { space } = thisProcess();
    writeFileSync(join(dir, `x.${pid}-1-${space}-abcdef`), 'left');
    writeFileSync(join(dir, `y.${processTag()}`), 'at work');
    writeFileSync(join(dir, 'xy.free'), 'another');
    expect(new PartialFile(dir, 'x').size).toBe(4);
    expect(new PartialFile(dir, 'y').size).toBe(0);
  });

  it('says what cannot be written', () => {
    const dir = temporaryDir();
    const part = new PartialFile(dir, 'x');
    expect(() => part.finish(join(dir, 'no', 'such'))).toThrow(/does not exist/);
  });
});
