import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type LiveServer,
  type LiveServerOptions,
  processMemory,
  startServer,
} from '../../../src/bench/live/process.js';
import { temporaryDir } from '../../helpers/files.js';

const READY = `console.log(JSON.stringify({ url: 'http://127.0.0.1:9', port: 9, model: 'm' }, null, 2));`;
const STAY = 'setInterval(() => {}, 1000);';

/** Something in crayon's place: a program that prints, stays or fails as told. */
const start = (script: string, over: Partial<LiveServerOptions> = {}): Promise<LiveServer> =>
  startServer({ command: [process.execPath, '-e', script], config: {}, dir: temporaryDir(), name: 'edge', ...over });

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const aborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((done) => {
    if (signal.aborted) done(signal.reason);
    else signal.addEventListener('abort', () => done(signal.reason), { once: true });
  });

describe('startServer', () => {
  it('waits for the document that says where it listens, and stops it', async () => {
    const server = await start(`setTimeout(() => { ${READY} }, 50); ${STAY}`);
    expect(server).toMatchObject({ baseUrl: 'http://127.0.0.1:9/v1', port: 9, model: 'm' });
    expect(isAlive(server.pid)).toBe(true);
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
    expect(server.failed.aborted).toBe(false);
  });

  it('gives it its configuration, whose paths it makes whole', async () => {
    const dir = temporaryDir();
    const script = `require('node:fs').writeFileSync(${JSON.stringify(join(dir, 'args'))}, JSON.stringify(process.argv.slice(1))); ${READY} ${STAY}`;
    const server = await start(script, { dir, config: { model: 'models/x', log: { level: 'warn' } } });
    await server.stop();
    const args = JSON.parse(readFileSync(join(dir, 'args'), 'utf8')) as string[];
    expect(args.slice(0, 3)).toEqual(['serve-edge', '--config', join(dir, 'edge.yaml')]);
    expect(JSON.parse(readFileSync(args[2]!, 'utf8'))).toEqual({
      host: '127.0.0.1',
      port: 0,
      log: { level: 'warn' },
      model: resolve('models/x'),
    });
  });

  it('fails with the last words of one that ends before it is ready', async () => {
    const failing = start(`console.error('Error: no such model'); process.exitCode = 3;`);
    await expect(failing).rejects.toMatchObject({ code: 'server-failed' });
    await expect(failing).rejects.toThrow(/no such model.*exit 3/);
  });

  it('fails where there is no such program', async () => {
    const missing = startServer({ command: ['/nowhere/crayon'], config: {}, dir: temporaryDir(), name: 'edge' });
    await expect(missing).rejects.toMatchObject({ code: 'server-failed' });
  });

  it('tells when it ends later', async () => {
    const server = await start(`${READY} process.stdin.resume(); setTimeout(() => process.exit(7), 30);`);
    expect(await aborted(server.failed)).toMatchObject({ code: 'server-failed' });
    await server.stop();
  });

  it('ends one that does not stop when it is asked', async () => {
    const server = await start(`process.on('SIGTERM', () => {}); ${READY} ${STAY}`, { stopMs: 100 });
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
  });

  it('gives up at the signal, and leaves nothing behind', async () => {
    const stop = new AbortController();
    const starting = start(STAY, { signal: stop.signal });
    stop.abort();
    await expect(starting).rejects.toMatchObject({ code: 'interrupted' });
  });

  it.skipIf(processMemory(process.pid) === null)('ends one that takes more memory than its device has', async () => {
    const hungry = `${READY} const kept = []; setInterval(() => kept.push(Buffer.alloc(2 ** 24, 1)), 20);`;
    const server = await start(hungry, { memoryBytes: 150 * 2 ** 20 });
    expect(await aborted(server.failed)).toMatchObject({ code: 'out-of-memory' });
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
    expect(server.peakBytes()).toBeGreaterThan(150 * 2 ** 20);
  });
});

describe('processMemory', () => {
  it.skipIf(process.platform !== 'linux')('reads what a process uses', () => {
    const memory = processMemory(process.pid)!;
    expect(memory.bytes).toBeGreaterThan(20 * 2 ** 20);
    expect(memory.peakBytes).toBeGreaterThanOrEqual(memory.bytes);
    expect(Math.abs(memory.bytes - process.memoryUsage().rss) / memory.bytes).toBeLessThan(0.5);
  });
  it('is null for a process that is gone', () => {
    expect(processMemory(2 ** 30)).toBeNull();
  });
});
