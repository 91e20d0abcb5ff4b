/**
 * A pool built by jobs of a real Ray head on loopback:
 *
 *     python -m venv ray && ray/bin/pip install "ray[default]"
 *     CRAYON_RAY=ray/bin/ray npx vitest run test/e2e/ray.test.ts
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digests, ROOT, records, scratch, start, succeed, writeJsonl } from './helpers.js';

const { CRAYON_RAY } = process.env;
if (!CRAYON_RAY) console.warn('No builds by Ray are tried: CRAYON_RAY does not name its program.');

const dir = scratch();
/** Ray's sockets are below it, and their paths may be 107 bytes long. */
const home = mkdtempSync(join(tmpdir(), 'ray-'));
let head: ChildProcess;
let address: string;

const data = writeJsonl(join(dir, 'train.jsonl'), records(36));
const build = (name: string, ...more: string[]) => [
  ...['build-pool', '--model', join(ROOT, 'models', 'crayon-edge'), '--data', data, '--pool', join(dir, name)],
  ...['--mode', 'separate', '--clusters', '2', '--rank', '2', '--batch-size', '8', '--backend', 'wasm', ...more],
];
const onRay = (name: string, ...more: string[]) =>
  build(name, '--engine', 'ray', '--workers', '2', '--engine-options', `address=${address},cpus=1`, ...more);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface RayJob {
  submission_id: string;
  status: string;
  driver_exit_code: number | null;
}

/** Jobs of a pool, by the ends of their ids. */
async function jobsOf(name: string): Promise<Record<string, RayJob>> {
  const jobs = (await (await fetch(`${address}/api/jobs/`)).json()) as RayJob[];
  const those = jobs.filter(({ submission_id }) => submission_id?.startsWith(`crayon-${name}-`));
  return Object.fromEntries(those.map((job) => [/(unit-\d+|finish)-\d+$/.exec(job.submission_id)![0], job]));
}

async function until<T>(look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The process that trains a cluster, once it has its lock. */
const workerOf = (name: string, cluster: number) =>
  until(() => {
    const lock = join(dir, `${name}.building`, 'units', String(cluster), 'process');
    const pid = existsSync(lock) ? Number.parseInt(readFileSync(lock, 'utf8'), 10) : 0;
    return pid > 0 ? pid : undefined;
  });

describe.skipIf(!CRAYON_RAY)('a pool built by Ray', { timeout: 600_000 }, () => {
  beforeAll(async () => {
    const [port, dashboard, client, agent] = [await freePort(), await freePort(), await freePort(), await freePort()];
    address = `http://127.0.0.1:${dashboard}`;
    const ports = [`--port=${port}`, `--dashboard-port=${dashboard}`, `--ray-client-server-port=${client}`];
    const own = [`--dashboard-agent-listen-port=${agent}`, '--min-worker-port=0', '--max-worker-port=0'];
    const size = ['--num-cpus=2', '--num-gpus=0', '--object-store-memory=80000000', `--temp-dir=${home}`];
    const flags = [
      '--head',
      '--block',
      '--node-ip-address=127.0.0.1',
      '--dashboard-host=127.0.0.1',
      '--disable-usage-stats',
    ];
    head = spawn(CRAYON_RAY!, ['start', ...flags, ...ports, ...own, ...size], { stdio: 'ignore', detached: true });
    await until(async () => {
      if (head.exitCode !== null) throw new Error(`ray start ended with exit code ${head.exitCode}`);
      const answer = await fetch(`${address}/api/jobs/`).catch(() => undefined);
      return answer?.ok ? true : undefined;
    });
    await succeed(build('one'));
  }, 300_000);

  afterAll(async () => {
    if (head?.pid !== undefined && head.exitCode === null) {
      const ended = new Promise((resolve) => head.once('close', resolve));
      head.kill('SIGTERM'); // it ends what it has started
      await ended;
      try {
        process.kill(-head.pid, 'SIGKILL'); // what is left of its group
      } catch {} // nothing is
    }
    rmSync(home, { recursive: true, force: true });
  }, 60_000);

  it('has the bytes of one built in one process, when a worker is killed too, whose cluster is begun again', async () => {
    const built = start(onRay('killed'));
    process.kill(await workerOf('killed', 1), 'SIGKILL');
    const { code, stderr } = await built.ended;
    expect(code, stderr).toBe(0);
    expect(digests(join(dir, 'killed'))).toEqual(digests(join(dir, 'one')));
    const jobs = await jobsOf('killed');
    expect(jobs['unit-1-1']).toMatchObject({ status: 'FAILED', driver_exit_code: -9 });
    expect(jobs['unit-1-2']).toMatchObject({ status: 'SUCCEEDED' });
  });

  it('has them when the coordinator is killed and the command repeated', async () => {
    const built = start(onRay('orphan', '--workers', '1'));
    await workerOf('orphan', 0);
    built.process.kill('SIGKILL');
    await built.ended;
    const again = start(onRay('orphan', '--workers', '1'));
    const { code, stderr } = await again.ended;
    expect(code, stderr).toBe(0);
    expect(digests(join(dir, 'orphan'))).toEqual(digests(join(dir, 'one')));
    // What the first had submitted was followed, not submitted again; the other cluster had still to wait for it.
    expect(Object.keys(await jobsOf('orphan')).sort()).toEqual(['finish-1', 'unit-0-1', 'unit-1-1']);
  });

  it('is given up at a signal, with its jobs, and goes on from there', async () => {
    const built = start(onRay('stopped'));
    await workerOf('stopped', 0);
    built.process.kill('SIGINT');
    expect((await built.ended).code).toBe(130);
    const first = Object.values(await jobsOf('stopped'));
    expect(first.map(({ status }) => status)).not.toContain('RUNNING');
    const { code, stderr } = await start(onRay('stopped')).ended;
    expect(code, stderr).toBe(0);
    expect(digests(join(dir, 'stopped'))).toEqual(digests(join(dir, 'one')));
  });
});
