import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hearingWarnings } from '../../../src/core/warning.js';
import {
  defaultStateDir,
  openUserFiles,
  type StoredUser,
  type StoredVersion,
} from '../../../src/serve/customizations/user-files.js';
import { temporaryDir } from '../../helpers/files.js';
import { closing } from '../helpers.js';

const version = (number: number): StoredVersion => ({
  ...{ version: number, created: 1_700_000_000 + number, pool: 'a'.repeat(64) },
  blend: {
    ...{
      form: 'scales',
      coefficients: [0.5, 0.5],
      similarities: null,
      coverage: null,
      examples: 0,
      notices: [],
      ms: 1,
    },
    ...{ choice: null, profile: null },
  },
});
const user = (digit: string, ...versions: number[]): StoredUser => ({
  ...{ id: digit.repeat(16), name: 'ann' },
  versions: versions.map(version) as StoredUser['versions'],
});
const opened = (dir: string) => closing(openUserFiles(dir), (files) => files.close());

describe('openUserFiles', () => {
  it('finds what was written, in the order in which it was made', () => {
    const dir = join(temporaryDir(), 'a', 'b');
    const files = opened(dir);
    for (const one of [user('b', 1), user('a', 3, 2)]) files.write(one);
    expect(files.load()).toMatchObject([user('b', 1), user('a', 3, 2)]);
    files.write(user('b', 2, 1));
    files.remove(user('a', 1).id);
    files.remove(user('c', 1).id);
    expect(files.load()).toMatchObject([user('b', 2, 1)]);
    expect(statSync(dir).mode & 0o077).toBe(0);
    expect(readdirSync(dir).filter((name) => name !== 'process')).toEqual([`${'b'.repeat(16)}.json`]);
  });

  it('lets one server at a time work in it', () => {
    const dir = temporaryDir();
    const files = openUserFiles(dir);
    expect(() => openUserFiles(dir)).toThrow(expect.objectContaining({ code: 'output-exists' }));
    files.close();
    openUserFiles(dir).close();
  });

  it('leaves out what is no customisation, by name, and goes on', () => {
    const dir = temporaryDir();
    const files = opened(dir);
    files.write(user('f', 1));
    const good = readFileSync(join(dir, `${'f'.repeat(16)}.json`), 'utf8');
    const changed = (change: object) => JSON.stringify({ ...JSON.parse(good), ...change });
    const bad = [
      ['1', ''],
      ['2', '{"format":'],
      ['3', good], // of another id
      ['4', changed({ id: '4'.repeat(16), versions: [] })],
      ['5', changed({ id: '5'.repeat(16), versions: [{ ...version(1), blend: { coefficients: ['x'] } }] })],
      ['6', changed({ id: '6'.repeat(16), formatVersion: 2 })],
      ['7', `${'['.repeat(100_000)}`],
      ['8', changed({ id: '8'.repeat(16), name: 'x'.repeat(65) })],
      ['9', ' '.repeat(5 * 2 ** 20)],
    ] as const;
    for (const [digit, text] of bad) writeFileSync(join(dir, `${digit.repeat(16)}.json`), text);
    mkdirSync(join(dir, `${'a'.repeat(16)}.json`));
    symlinkSync(join(dir, 'nowhere'), join(dir, `${'c'.repeat(16)}.json`));
    writeFileSync(join(dir, 'notes.txt'), 'not ours');
    const heard: string[] = [];
    const found = hearingWarnings(
      (text) => heard.push(text),
      () => files.load(),
    );
    expect(found).toMatchObject([user('f', 1)]);
    expect(heard).toHaveLength(bad.length + 2);
    for (const digit of ['1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'c']) {
      expect(heard.filter((text) => text.includes(`${digit.repeat(16)}.json`))).toHaveLength(1);
    }
  });
});

describe('defaultStateDir', () => {
  it('is another one for each pool and model', () => {
    const [a, b] = [temporaryDir(), temporaryDir()];
    const env = { XDG_STATE_HOME: '/state' };
    const dirs = [defaultStateDir(a, b, env), defaultStateDir(b, a, env), defaultStateDir(join(a, '.'), b, env)];
    expect(dirs[0]).toMatch(/^\/state\/crayon\/customizations\/[0-9a-f]{16}$/);
    expect([dirs[1] === dirs[0], dirs[2] === dirs[0]]).toEqual([false, true]);
  });
});
