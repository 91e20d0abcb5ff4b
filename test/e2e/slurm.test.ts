/**
 * `build-pool --engine slurm` under a real Slurm: an installed one, or Debian's packages unpacked into a cache by
 * scripts/private-slurm.sh. Where neither can be had the tests are skipped, and say so.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildArgs, digests, ROOT, records, scratch, start, succeed, writeJsonl } from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const SCRIPT = join(ROOT, 'scripts', 'private-slurm.sh');
const place = at('slurm');
const started =
  process.platform === 'linux'
    ? spawnSync(SCRIPT, ['start', place, '2'], { encoding: 'utf8', timeout: 100_000 })
    : null;
const isThere = started?.status === 0;
if (!isThere)
  console.warn(`No Slurm, so its tests are skipped: ${started?.stderr.trim().split('\n').at(-1) ?? 'not on Linux'}`);
const env: NodeJS.ProcessEnv = isThere
  ? Object.fromEntries([...started.stdout.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]))
  : {};
afterAll(() => void spawnSync(SCRIPT, ['stop', place]));

const slurm = (program: string, ...args: string[]) => {
  const { stdout } = spawnSync(program, args, { env: { ...process.env, ...env }, encoding: 'utf8' });
  return stdout.trim();
};
const data = writeJsonl(at('train.jsonl'), records(24));
const args = (pool: string, ...more: string[]) =>
  buildArgs(data, pool, '--mode', 'separate', '--epochs', '60', '--checkpoint-seconds', '0.2', ...more);
const build = (pool: string) =>
  start(args(pool, '--engine', 'slurm', '--workers', '2', '--engine-options', 'cpus=1'), { env });

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 50));
}
const read = (path: string) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

describe.skipIf(!isThere)('build-pool --engine slurm', () => {
  let whole: Record<string, string>;
  beforeAll(async () => {
    await succeed(args(at('whole')));
    whole = digests(at('whole'));
  });

  it('makes the bytes of one process, though a worker and the coordinator are killed', {
    timeout: 240_000,
  }, async () => {
    const pool = at('killed');
    const unit = join(`${pool}.building`, 'units', '0');
    const first = build(pool);
    await until(() => read(join(unit, 'training.safetensors')) !== '');
    process.kill(Number.parseInt(read(join(unit, 'process')), 10), 'SIGKILL');
    const { handle } = JSON.parse(read(join(`${pool}.building`, 'engine.json'))) as { handle: { units: string } };
    first.process.kill('SIGKILL');
    // put back into the queue by its script; Slurm lets two minutes go by, which are not waited for here
    const task = `${handle.units}_0`;
    await until(() => slurm('squeue', '-h', '-r', '-o', '%i %T').includes(`${task} PENDING`));
    await until(() => slurm('scontrol', 'update', `JobId=${task}`, 'StartTime=now') === '');
    const again = build(pool);
    const { code, stderr } = await again.ended;
    expect([code, stderr]).toEqual([0, expect.not.stringContaining('Error')]);
    expect(digests(pool)).toEqual(whole);
    // what was submitted by the first one was followed by the second
    const arrays = new Set(slurm('scontrol', '-o', 'show', 'job').match(/ArrayJobId=\d+/g));
    expect([...arrays]).toEqual([`ArrayJobId=${handle.units}`]);
  });

  it('cancels its jobs at Ctrl-C, which keep their checkpoints, and goes on when repeated', {
    timeout: 240_000,
  }, async () => {
    const pool = at('stopped');
    const first = build(pool);
    await until(() => read(join(`${pool}.building`, 'units', '1', 'training.safetensors')) !== '');
    first.process.kill('SIGINT');
    expect((await first.ended).code).toBe(130);
    await until(() => slurm('squeue', '-h', '-r') === '');
    expect(read(join(`${pool}.building`, 'logs', 'unit-1.log'))).toContain('[interrupted]');
    expect((await build(pool).ended).code).toBe(0);
    expect(digests(pool)).toEqual(whole);
  });
});
