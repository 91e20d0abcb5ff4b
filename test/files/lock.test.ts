import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LOCK_FILE, lock, refuseLocked, unlock } from '../../src/files/lock.js';
import { thisProcess } from '../../src/files/process-identity.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { inNewNamespace, TSX } from '../helpers/processes.js';

const MODULE = JSON.stringify(new URL('../../src/files/lock.ts', import.meta.url).href);
/** How long a test watches the lock of somebody who is not there. */
const SHORT_MS = 200;

/** A process that takes the lock, says so and is busy: its main thread turns no event loop. */
async function holder(dir: string, command: readonly string[] = []) {
  const code = `
    const { lock } = await import(${MODULE});
    lock(${JSON.stringify(dir)}, 'run');
    process.stdout.write('locked');
    setTimeout(() => { for (;;); }, 200);`;
  const [program, ...args] = [...command, process.execPath, '--import', TSX, '--input-type=module', '-e', code];
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.on('close', resolve));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return {
    pid: Number.parseInt(readFileSync(join(dir, LOCK_FILE), 'utf8'), 10),
    kill: () => {
      child.kill('SIGKILL');
      return ended;
    },
  };
}

const write = (dir: string, pid: number, more: object | null) =>
  writeFileSync(join(dir, LOCK_FILE), `${pid}\n${more === null ? '' : `${JSON.stringify(more)}\n`}`);

describe('a lock', () => {
  it('is held by one, in the same process too, until it is given back', () => {
    const dir = temporaryDir();
    lock(dir, 'run');
    expect(errorOf(() => lock(dir, 'run')).code).toBe('output-exists');
    expect(Number.parseInt(readFileSync(join(dir, LOCK_FILE), 'utf8'), 10)).toBe(process.pid); // for earlier versions
    unlock(dir);
    expect(readdirSync(dir)).toEqual([]);
    lock(dir, 'run');
    unlock(dir);
  });

  it('is refused with the number and the file while its process works, and free once it is killed', async () => {
    const dir = temporaryDir();
    const other = await holder(dir);
    for (const take of [refuseLocked, lock]) {
      const error = errorOf(() => take(dir, 'output'));
      expect(error.code).toBe('output-exists');
      expect(error.message).toBe(`${dir}: process ${other.pid} is at work on the same output`);
      expect(error.hint).toContain(`delete ${join(dir, LOCK_FILE)}`);
    }
    await other.kill();
    lock(dir, 'output');
    unlock(dir);
    expect(readdirSync(dir)).toEqual([]);
  });

  it('of a number that another process has now is free at once', () => {
    const { start, space } = thisProcess();
    for (const pid of [process.pid, process.ppid]) {
      const dir = temporaryDir();
      write(dir, pid, { start: `${start}0`, space, host: 'here' });
      expect(() => lock(dir, 'run')).not.toThrow();
      unlock(dir);
    }
  });

  it.runIf(inNewNamespace !== null)(
    'of another container is respected while that works, and free soon after its end',
    { tags: 'slow' },
    async () => {
      const dir = temporaryDir();
      const other = await holder(dir, inNewNamespace![0]);
      expect(other.pid).toBeLessThan(10);
      const error = errorOf(() => lock(dir, 'run'));
      expect(error.message).toMatch(/process \d of another container or machine \(.+\) is at work/);
      expect(error.hint).toContain(join(dir, LOCK_FILE));
      await other.kill();
      const started = performance.now();
      lock(dir, 'run');
      expect(performance.now() - started).toBeLessThan(15_000);
      unlock(dir);
    },
  );

  it('of another boot, machine or container that nobody touches is taken over, whatever the clocks say', () => {
    for (const hours of [-24, 0, 24]) {
      const dir = temporaryDir();
      write(dir, 1, { start: '1', space: '00000000', host: 'gone' });
      const time = Date.now() / 1000 + hours * 3600;
      utimesSync(join(dir, LOCK_FILE), time, time);
      lock(dir, 'run', SHORT_MS);
      unlock(dir);
    }
  });

  it('of an earlier version is respected while its number is in use, and free when that is another, later process', () => {
    const dir = temporaryDir();
    write(dir, process.ppid, null);
    expect(errorOf(() => refuseLocked(dir, 'run')).message).toContain(`process ${process.ppid} is at work`);
    utimesSync(join(dir, LOCK_FILE), 1e9, 1e9);
    expect(() => refuseLocked(dir, 'run')).not.toThrow();
    write(dir, process.pid, null);
    expect(() => refuseLocked(dir, 'run')).not.toThrow();
  });

  it.each(['', 'no number', '-5\n', '\0'])('that says %j is nobody’s once nobody touches it', (text) => {
    const dir = temporaryDir();
    writeFileSync(join(dir, LOCK_FILE), text);
    lock(dir, 'run', SHORT_MS);
    unlock(dir);
  });

  it('that was taken from us is not ours to remove', () => {
    const dir = temporaryDir();
    lock(dir, 'run');
    write(dir, process.ppid, null);
    unlock(dir);
    expect(existsSync(join(dir, LOCK_FILE))).toBe(true);
  });

  it('is one process’s of many that find it left behind', { tags: 'slow' }, async () => {
    const dir = temporaryDir();
    write(dir, 999_999_999, { ...thisProcess(), host: 'here' });
    const code = `
      const { lock } = await import(${MODULE});
      try { lock(${JSON.stringify(dir)}, 'run'); process.stdout.write('mine'); setTimeout(() => {}, 3000); }
      catch (error) { process.stdout.write(error.code); }`;
    const said = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const args = ['--import', TSX, '--input-type=module', '-e', code];
        const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
        let text = '';
        for await (const part of child.stdout) text += part;
        return text;
      }),
    );
    expect(said.sort()).toEqual(['mine', ...Array(4).fill('output-exists')]);
  });
});
