import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeDirectoryAtomic } from '../../src/files/atomic.js';
import { exchangePaths } from '../../src/files/exchange.js';
import { entriesOf, exists, isDirectory, readSmallFile } from '../../src/files/io.js';
import { thisProcess } from '../../src/files/process-identity.js';
import { isSiblingName, readUnreplaced, removeStaleSiblings, siblingOf } from '../../src/files/siblings.js';
import { temporaryDir, temporaryRoot } from '../helpers/files.js';
import { NO_KOFFI, TSX } from '../helpers/processes.js';

/** The number of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ['--version']).pid;
}

const fill = (text: string) => (dir: string) => {
  for (const name of ['a', 'b']) writeFileSync(join(dir, name), text);
};

/** A directory, or a file, that was last changed an hour ago. */
function aged(path: string): string {
  const before = Date.now() / 1000 - 3600;
  utimesSync(path, before, before);
  return path;
}

describe('what a killed run leaves', () => {
  const { pid, start, space } = thisProcess();
  const OTHER = { start: '1', space: 'ffffffff' };

  it.each([
    ['of a process that has ended', () => `tmp-${deadPid()}`, true],
    ['of one with our number, before us', () => `tmp-${pid}`, true],
    ['of one with our number that started at another time', () => `tmp-${pid}-${OTHER.start}-${space}-a1b2c3`, true],
    ['of one whose number another process has now', () => `tmp-${process.ppid}-${OTHER.start}-${space}-a1b2c3`, true],
    ['of this one, at work on it in another place', () => `tmp-${pid}-${start}-${space}-a1b2c3`, false],
    ['of one of which the number alone is known, and is in use', () => `tmp-${process.ppid}`, false],
    ['of another container or machine, which may be alive', () => `tmp-1-${OTHER.start}-${OTHER.space}-a1b2c3`, false],
    ['by name another file', () => 'tmp-note', false],
  ])('%s: is it removed by the next writer?', (_, tag, isRemoved) => {
    const dir = temporaryDir();
    const left = join(dir, `.out.${tag()}`);
    mkdirSync(left);
    writeFileSync(join(left, 'part'), 'x');
    mkdirSync(join(dir, `.other.tmp-${deadPid()}`));
    writeDirectoryAtomic(join(dir, 'out'), {}, fill('1'));
    expect(existsSync(left)).toBe(!isRemoved);
    expect(readdirSync(dir)).toHaveLength(isRemoved ? 2 : 3);
  });

  it('is put back when the old output had been moved aside and the new one was not there yet', () => {
    // Whoever did it: process 1 runs everywhere, and an earlier version left nothing but the number.
    for (const tag of [deadPid(), 1, `1-${OTHER.start}-${OTHER.space}-a1b2c3`, `${pid}-${start}-${space}-a1b2c3`]) {
      const dir = temporaryDir();
      mkdirSync(join(dir, `.out.old-${tag}`));
      writeFileSync(join(dir, `.out.old-${tag}`, 'old'), 'kept');
      removeStaleSiblings(join(dir, 'out'));
      expect(readFileSync(join(dir, 'out', 'old'), 'utf8')).toBe('kept');
      expect(readdirSync(dir)).toEqual(['out']);
    }
  });

  it('is put back by any reader that comes first, however it looks', () => {
    const reads: Array<[read: (out: string) => unknown, found: unknown]> = [
      [exists, true],
      [isDirectory, true],
      [entriesOf, ['sub']],
      [(out) => Buffer.from(readSmallFile(join(out, 'sub', 'old'), 10)).toString(), 'kept'],
      [(out) => exists(join(out, 'sub', 'old')), true],
    ];
    for (const [read, found] of reads) {
      const dir = temporaryDir();
      const aside = join(dir, `.out.old-${deadPid()}`);
      mkdirSync(join(aside, 'sub'), { recursive: true });
      writeFileSync(join(aside, 'sub', 'old'), 'kept');
      expect(read(join(dir, 'out'))).toEqual(found);
      expect(readdirSync(dir)).toEqual(['out']);
    }
    expect(exists(join(temporaryDir(), 'none', 'of', 'these'))).toBe(false);
  });

  it('is removed when the new output had already taken its place', () => {
    const dir = temporaryDir();
    mkdirSync(join(dir, `.out.old-${deadPid()}`));
    mkdirSync(join(dir, 'out'));
    removeStaleSiblings(join(dir, 'out'));
    expect(readdirSync(dir)).toEqual(['out']);
  });

  it('by a process that cannot be known is removed when nothing in it has changed for an hour', () => {
    const dir = temporaryDir();
    const file = join(dir, `.out.tmp-${process.ppid}`);
    writeFileSync(file, '');
    removeStaleSiblings(join(dir, 'out'));
    expect(existsSync(file)).toBe(true);
    aged(file);
    removeStaleSiblings(join(dir, 'out'));
    expect(existsSync(file)).toBe(false);
  });

  it('has names that are told from others', () => {
    const sibling = basename(siblingOf('some/out.gguf', 'tmp'));
    for (const name of [sibling, '.out.old-123', '.run.json.tmp-7']) expect(isSiblingName(name), name).toBe(true);
    for (const name of ['out', '.out', '.tmp-1', 'a.tmp-1', '.out.tmp-x', '.out.new-1']) {
      expect(isSiblingName(name), name).toBe(false);
    }
  });

  it('has a name that a file system takes, however long that of the output is', () => {
    for (const name of ['x'.repeat(255), 'ä'.repeat(127), `${'y'.repeat(254)}z`]) {
      const dir = temporaryDir();
      writeDirectoryAtomic(join(dir, name), {}, fill('1'));
      writeDirectoryAtomic(join(dir, name), { force: true }, fill('2'));
      expect(readFileSync(join(dir, name, 'a'), 'utf8')).toBe('2');
    }
  });
});

const WRITER = `
  const { writeDirectoryAtomic } = await import(${JSON.stringify(new URL('../../src/files/atomic.ts', import.meta.url).href)});
  const { writeFileSync } = await import('node:fs');
  for (let i = 1; i <= Number(process.argv[2]); i++) {
    writeDirectoryAtomic(process.argv[1], { force: true }, (dir) => {
      for (const name of ['a', 'b']) writeFileSync(dir + '/' + name, String(i));
    });
  }`;

const SWAPS = 300;

/** koffi is an optional dependency. */
function canExchange(): boolean {
  const root = temporaryRoot();
  const [a, b] = [join(root, 'a'), join(root, 'b')];
  for (const dir of [a, b]) mkdirSync(dir);
  const result = exchangePaths(a, b);
  rmSync(root, { recursive: true });
  return result;
}

describe.each([
  { way: 'an exchange', imports: [TSX], raw: true },
  { way: 'two renames', imports: [TSX, NO_KOFFI], raw: false },
])('a reader during swaps by $way', ({ imports, raw }) => {
  it.skipIf(raw && !canExchange())(
    'finds an output each time, and all of its files of one of them',
    { tags: 'slow' },
    async () => {
      const out = join(temporaryDir(), 'out');
      writeDirectoryAtomic(out, {}, fill('0'));
      const args = [
        ...imports.flatMap((url) => ['--import', url]),
        '--input-type=module',
        '-e',
        WRITER,
        out,
        `${SWAPS}`,
      ];
      const writer = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
      const ended = new Promise((resolve) => writer.on('close', resolve));
      let over = false;
      void ended.then(() => {
        over = true;
      });
      const seen = new Set<string>();
      let absent = 0;
      while (!over) {
        for (let i = 0; i < 200; i++) {
          if (raw && !existsSync(out)) absent++;
          const { a, b } = readUnreplaced(out, () => ({
            a: Buffer.from(readSmallFile(join(out, 'a'), 10)).toString(),
            b: Buffer.from(readSmallFile(join(out, 'b'), 10)).toString(),
          }));
          expect(b).toBe(a);
          seen.add(a);
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(await ended).toBe(0);
      expect(absent).toBe(0);
      expect(seen.size).toBeGreaterThan(20);
      expect(readFileSync(join(out, 'a'), 'utf8')).toBe(String(SWAPS));
      expect(readdirSync(join(out, '..'))).toEqual(['out']);
    },
  );
});

describe('a writer that finds its path taken again', () => {
  it('moves that aside too: a reader had put the old output back', () => {
    const dir = temporaryDir();
    const out = join(dir, 'out');
    writeDirectoryAtomic(out, {}, fill('0'));
    renameSync(out, join(dir, `.out.old-${process.ppid}`));
    writeDirectoryAtomic(out, { force: true }, (made) => {
      expect(existsSync(out)).toBe(true);
      fill('1')(made);
    });
    expect(readFileSync(join(out, 'a'), 'utf8')).toBe('1');
  });
});
