import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isLeftover, livenessOf, processTag, readProcessTag, thisProcess } from '../../src/files/process-identity.js';
import { inNewNamespace, TSX } from '../helpers/processes.js';

const self = thisProcess();
const hasProc = process.platform === 'linux';
const MODULE = JSON.stringify(new URL('../../src/files/process-identity.ts', import.meta.url).href);

/** What another process says of itself. */
function identityOf(command: readonly string[]): { identity: typeof self; liveness: string } {
  const code = `
    const { livenessOf, thisProcess } = await import(${MODULE});
    const identity = thisProcess();
    process.stdout.write(JSON.stringify({ identity, liveness: livenessOf(JSON.parse(process.argv[1])) }));`;
  const [program, ...args] = [...command, process.execPath, '--import', TSX, '--input-type=module', '-e', code];
  const { stdout, stderr } = spawnSync(program!, [...args, JSON.stringify(self)], { encoding: 'utf8' });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

describe('a process', () => {
  it('is alive while it runs, and dead afterwards', async () => {
    expect(livenessOf(self)).toBe('alive');
    const { identity, liveness } = identityOf([]);
    expect(identity).toMatchObject({ space: self.space });
    expect(identity.start).not.toBe(self.start);
    expect(liveness).toBe('alive');
    expect(livenessOf(identity)).toBe('dead');
  });

  it.runIf(hasProc)('is told from a later one of the same number by its start', () => {
    expect(livenessOf({ ...self, start: 'zz' })).toBe('dead');
    expect(livenessOf({ pid: process.ppid, start: 'zz', space: self.space })).toBe('dead');
  });

  it.runIf(hasProc)('that was killed and not waited for is dead', async () => {
    // The shell replaces itself by a program that waits for nobody.
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const pid = await new Promise<number>((resolve) => parent.stdout.once('data', (text) => resolve(Number(text))));
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    const child = { pid, start: Number(stat[19]).toString(36), space: self.space };
    expect(livenessOf(child)).toBe('alive');
    process.kill(pid, 'SIGKILL');
    while (!/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8')));
    expect(livenessOf(child)).toBe('dead');
    parent.kill('SIGKILL');
  });

  it('of another boot or container is unknown, whatever number it has', () => {
    expect(livenessOf({ ...self, space: '00000000' })).toBe('unknown');
    expect(livenessOf({ pid: 1, start: '1', space: '00000000' })).toBe('unknown');
  });

  it.runIf(inNewNamespace !== null)('of another pid namespace is unknown, from either side', () => {
    for (const command of inNewNamespace!) {
      const { identity, liveness } = identityOf(command);
      expect(identity.pid).toBeLessThan(10);
      expect(liveness).toBe('unknown');
      expect(livenessOf(identity)).toBe('unknown');
    }
  });

  it.runIf(hasProc)('of which the number alone is known is another one where that started later', () => {
    expect(livenessOf({ pid: process.ppid })).toBe('unknown');
    expect(livenessOf({ pid: process.ppid }, Date.now())).toBe('unknown');
    expect(livenessOf({ pid: process.ppid }, Date.UTC(2020))).toBe('dead');
    expect(livenessOf({ pid: process.pid })).toBe('dead'); // written before us
  });
});

describe('what a process left', () => {
  it('may be removed when it is dead, or cannot be known and has long been still', () => {
    const foreign = { pid: 1, start: '1', space: '00000000' };
    expect(isLeftover(self, 0)).toBe(false);
    expect(isLeftover({ ...self, start: 'zz' }, Date.now())).toBe(true);
    expect(isLeftover(foreign, Date.now() - 60_000)).toBe(false);
    expect(isLeftover(foreign, Date.now() - 3_600_000)).toBe(true);
  });
});

describe('a tag', () => {
  it('is read as it was written, is never the same, and an earlier version’s number alone is one', () => {
    expect(readProcessTag(processTag())).toEqual(self);
    expect(processTag()).not.toBe(processTag());
    expect(readProcessTag('123')).toEqual({ pid: 123 });
    for (const text of ['', 'note', '12-', '12-ab-cd', '12-ab-00000000-xyz', '-1']) {
      expect(readProcessTag(text), text).toBeNull();
    }
  });
});
