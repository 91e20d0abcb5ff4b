/** `build-pool --engine local` as people run it: the bytes of one process, whoever is killed; and the verbs' words. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  buildArgs,
  crayon,
  digests,
  document,
  records,
  refusal,
  scratch,
  start,
  succeed,
  writeJsonl,
} from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const data = writeJsonl(at('train.jsonl'), records(24));
// Long enough to be hit in the middle, with a checkpoint every few steps.
const args = (pool: string, ...more: string[]) =>
  buildArgs(data, pool, '--mode', 'separate', '--epochs', '60', '--checkpoint-seconds', '0.2', ...more);
const onEngine = (pool: string) => args(pool, '--engine', 'local', '--workers', '2');
const verb = (name: string, pool: string, ...more: string[]) => ['build-pool', name, '--pool', pool, ...more];
let whole: Record<string, string>;

beforeAll(async () => {
  await succeed(args(at('whole')));
  whole = digests(at('whole'));
});

const exists = async (path: string, child: { ended: Promise<unknown>; stderr(): string }) => {
  let over = false;
  void child.ended.then(() => {
    over = true;
  });
  while (!existsSync(path)) {
    if (over) throw new Error(`ended before ${path}: ${child.stderr()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};
/** The process whose lock lies in a directory. */
const owner = (lock: string) => Number.parseInt(readFileSync(join(lock, 'process'), 'utf8'), 10);
const isThere = (pid: number) => existsSync(`/proc/${pid}`);

// Each starts some eight processes, seconds apiece where the machine is busy.
describe.skipIf(process.platform !== 'linux')('build-pool --engine local', { timeout: 300_000 }, () => {
  it('makes the bytes of one process, though a worker is killed', async () => {
    const pool = at('worker-killed');
    const child = start(onEngine(pool));
    const unit = join(`${pool}.building`, 'units', '1');
    await exists(join(unit, 'training.safetensors'), child);
    process.kill(owner(unit), 'SIGKILL');
    const { code, stdout, stderr } = await child.ended;
    expect(stderr).not.toContain('Error');
    expect(code).toBe(0);
    expect(stdout).toContain('Pool written');
    expect(digests(pool)).toEqual(whole);
    expect(existsSync(`${pool}.building`)).toBe(false);
  });

  it('goes on behind a coordinator that was killed; its workers end with it', async () => {
    const pool = at('coordinator-killed');
    const child = start(onEngine(pool));
    const unit = join(`${pool}.building`, 'units', '0');
    await exists(join(unit, 'training.safetensors'), child);
    const worker = owner(unit);
    child.process.kill('SIGKILL');
    await child.ended;
    while (isThere(worker)) await new Promise((resolve) => setTimeout(resolve, 20));
    const again = start(onEngine(pool));
    expect((await again.ended).code).toBe(0);
    expect(digests(pool)).toEqual(whole);
  });

  it('stops at Ctrl-C with checkpoints, and the verbs go on by hand', async () => {
    const pool = at('stopped');
    const child = start(onEngine(pool));
    const unit = join(`${pool}.building`, 'units', '0');
    await exists(join(unit, 'training.safetensors'), child);
    const worker = owner(unit);
    child.process.kill('SIGINT');
    const { code, stderr } = await child.ended;
    expect([code, isThere(worker)]).toEqual([130, false]);
    expect(stderr).toContain('[interrupted]');
    expect((await refusal(verb('finish', pool))).code).toBe('clusters-missing');
    for (const k of ['2', '1', '0']) {
      const trained = await document(verb('train', pool, '--cluster', k));
      expect(trained).toMatchObject({ cluster: Number(k), backend: 'wasm' });
    }
    expect(await document(verb('train', pool, '--cluster', '0'))).toMatchObject({ wasDone: true });
    expect(await document(verb('finish', pool))).toMatchObject({ manifest: { N: 3 } });
    expect(digests(pool)).toEqual(whole);
  });

  it('trains jointly behind the clusters as the last unit: the bytes of one process, though it is killed in the middle', async () => {
    const joint = ['--joint-fraction', '3'];
    await succeed(args(at('joint-whole'), ...joint));
    const pool = at('joint-killed');
    const child = start([...onEngine(pool), ...joint]);
    const unit = join(`${pool}.building`, 'units', 'joint');
    await exists(join(unit, 'joint.safetensors'), child);
    process.kill(owner(unit), 'SIGKILL');
    const { code, stderr } = await child.ended;
    expect([code, stderr]).toEqual([0, expect.not.stringContaining('Error')]);
    expect(digests(pool)).toEqual(digests(at('joint-whole')));
    const { stdout } = await succeed(['inspect', pool]);
    expect(stdout).toMatch(/joint phase +all of them together, 3 of mode joint's steps: \d+ steps, loss/);
  });

  it('names the cluster that fails, also where others were done before it began', async () => {
    const pool = at('damaged');
    await succeed(['build-pool', 'prepare', ...args(pool).slice(1)]);
    await succeed(verb('train', pool, '--cluster', '0'));
    writeFileSync(join(`${pool}.building`, 'units', '1', 'examples.safetensors'), 'damaged');
    const { code, stderr } = await start(onEngine(pool)).ended;
    expect(code).toBe(4);
    expect(stderr).toMatch(
      /failed: unit-1 \(exit code 3\).*\[jobs-failed\]\n( {2}\| .*\n)* {2}\| .*\[safetensors-invalid\]\n/,
    );
  });
});

describe('the command line of a build in parts', () => {
  it('shows what an engine would be given, and makes nothing', async () => {
    const pool = at('printed');
    const { stdout } = await succeed([...onEngine(pool), '--print']);
    expect(stdout.match(/build-pool train --pool \S+printed --cluster [012]$/gm)).toHaveLength(3);
    expect(stdout).toMatch(/build-pool finish --pool \S+printed$/m);
    expect(existsSync(`${pool}.building`)).toBe(false);
    const auto = await refusal([...onEngine(pool), '--clusters', 'auto', '--print']);
    expect(auto).toMatchObject({ code: 'bad-option', hint: expect.stringContaining('prepare') });
  });

  it.each([
    [['--engine-options', 'tries=2'], '--engine-options without --engine'],
    [['--print'], '--print without --engine'],
    [['--engine', 'pbs'], "'pbs' is invalid"],
  ])('refuses %j', async (more, words) => {
    const { code, stderr } = await crayon(args(at('refused'), ...more));
    expect([code, stderr]).toEqual([2, expect.stringContaining(words)]);
  });

  it.each([
    ['tries', /"tries" is not key=value/],
    ['tries=0', /tries is/],
    ['speed=9', /speed is not a known key/],
  ])('refuses the engine option %s', async (option, words) => {
    const found = await refusal([...onEngine(at('refused')), '--engine-options', option]);
    expect(found).toMatchObject({ code: 'bad-option', message: expect.stringMatching(words) });
  });

  it('needs its own options and not those of the verbs', async () => {
    const { code, stderr } = await crayon(['build-pool', '--pool', at('refused'), '--data', data]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("required option '--model <path>' not specified")]);
    expect((await refusal(verb('train', at('refused'), '--cluster', '0'))).code).toBe('file-not-found');
    expect((await crayon(['build-pool', 'train', '--cluster', '0'])).code).toBe(2);
  });

  it('takes the joint phase as a verb of its own, and only where it was asked for', async () => {
    const pool = at('joint-verbs');
    const { stdout } = await succeed(['build-pool', 'prepare', ...args(pool, '--joint-fraction', '0.25').slice(1)]);
    expect(stdout).toContain('Behind them a joint phase of 45 steps, by `train --joint` or `finish`.');
    expect((await refusal(verb('train', pool, '--joint'))).code).toBe('clusters-missing');
    const both = await crayon(verb('train', pool, '--joint', '--cluster', '0'));
    expect([both.code, both.stderr]).toEqual([2, expect.stringContaining('cannot be used with')]);
    const rate = await crayon(args(at('refused'), '--joint-learning-rate', '0.1'));
    expect([rate.code, rate.stderr]).toEqual([2, expect.stringContaining('without --joint-fraction')]);
    const mode = ['--mode', 'joint', '--joint-fraction', '0.25'];
    expect((await refusal([...buildArgs(data, at('refused')), ...mode])).code).toBe('bad-option');
  });

  it('says of a pool whose adapters share their steps that it is one unit', async () => {
    const pool = at('joint');
    const { stdout } = await succeed(['build-pool', 'prepare', ...buildArgs(data, pool).slice(1)]);
    expect(stdout).toContain('One unit: all clusters share their steps.');
    const found = await refusal(verb('train', pool, '--cluster', '1'));
    expect(found).toMatchObject({ code: 'bad-option', hint: expect.stringContaining('Leave --cluster out') });
    expect((await succeed(['build-pool', 'train', '--help'])).stdout).toContain(
      'is one\nunit, which is trained without --cluster',
    );
  });
});
