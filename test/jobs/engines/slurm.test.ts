/** What is said to Slurm and how its answers are read, with programs in the place of its own; test/e2e/slurm.test.ts has a real one. */

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { INDEX, type Work } from '../../../src/jobs/engine.js';
import { slurmEngine } from '../../../src/jobs/engines/slurm.js';
import { temporaryDir } from '../../helpers/files.js';

const PATH = process.env.PATH!;
let dir: string;
let work: Work;

/** Puts a program on the path that says `answer`; its arguments are kept. */
function program(name: string, answer: string, { error = '', code = 0 } = {}): void {
  const path = join(dir, 'bin', name);
  const print = (text: string, to: string) => (text === '' ? '' : `cat <<'END' >&${to}\n${text}\nEND\n`);
  writeFileSync(
    path,
    `#!/bin/sh\necho "${name} $*" >>"${dir}/calls"\n${print(answer, '1')}${print(error, '2')}exit ${code}\n`,
  );
  chmodSync(path, 0o755);
}
const calls = () => (existsSync(join(dir, 'calls')) ? readFileSync(join(dir, 'calls'), 'utf8').trim().split('\n') : []);
const INVALID = { error: 'slurm_load_jobs error: Invalid job id specified', code: 1 };
const DISABLED = { error: 'Slurm accounting storage is disabled', code: 1 };

beforeEach(() => {
  dir = temporaryDir();
  mkdirSync(join(dir, 'bin'));
  process.env.PATH = `${join(dir, 'bin')}${delimiter}${PATH}`;
  const unit = ['train', '--pool', '/a b/pool', '--cluster', INDEX];
  const [last, program] = [
    ['finish', '--pool', '/a b/pool'],
    ['node', 'crayon.js'],
  ];
  work = {
    name: 'crayon-pool',
    program,
    unit,
    indices: [0, 2, 5],
    last,
    dir: join(dir, 'work'),
    workers: 2,
    threads: 6,
  };
});
afterEach(() => {
  process.env.PATH = PATH;
});

describe.skipIf(process.platform === 'win32')('Slurm', () => {
  it('is given an array of the units that are left, and the end behind it', async () => {
    program('sbatch', '41;cluster');
    const engine = slurmEngine.open({ partition: 'gpu', gpus: '1', cpus: 4, mem: '8G', time: '2:00:00' });
    expect(await engine.submit(work)).toEqual({ units: '41', last: '41' });
    const [units, last] = calls();
    for (const flag of ['--array=0,2,5%2', '--requeue', '--partition=gpu', '--gpus=1', '--cpus-per-task=4', '--mem=8G'])
      expect(units).toContain(flag);
    expect(units).toMatch(
      /--output=\S+\/logs\/unit-%a\.log --chdir=.* --time=2:00:00 .*--signal=B:USR1@120 \S+slurm-units\.sh$/,
    );
    expect(last).toMatch(/--dependency=afterok:41 --kill-on-invalid-dep=yes .*slurm-finish\.sh$/);
    const script = readFileSync(join(work.dir, 'slurm-units.sh'), 'utf8');
    expect(script).toContain(`node crayon.js train --pool '/a b/pool' --cluster "$SLURM_ARRAY_TASK_ID" &`);
  });

  it('is given the end alone, without a dependency, where no unit is left', async () => {
    program('sbatch', '7');
    expect(await slurmEngine.open({}).submit({ ...work, indices: [] })).toEqual({ units: null, last: '7' });
    expect(calls()).toHaveLength(1);
    expect(calls()[0]).not.toContain('--dependency');
  });

  it('shows what it would be given, and is given nothing', () => {
    program('sbatch', '7');
    const shown = slurmEngine.open({ account: 'us' }).print(work);
    expect(shown).toMatch(/sbatch --parsable --job-name=crayon-pool --array=0,2,5%2 .*--account=us/);
    expect(shown).toContain("'--dependency=afterok:<job>'");
    expect(calls()).toEqual([]);
  });

  it('takes the array back where the job behind it is refused', async () => {
    program('sbatch', '');
    program('scancel', '');
    writeFileSync(
      join(dir, 'bin', 'sbatch'),
      `#!/bin/sh\ncase "$*" in *afterok*) printf 'sbatch: error: too many jobs\\nsbatch: go away\\n' >&2; exit 1 ;; esac\necho 12\n`,
    );
    await expect(slurmEngine.open({}).submit(work)).rejects.toMatchObject({
      code: 'jobs-failed',
      message: 'sbatch: sbatch: error: too many jobs',
      said: ['sbatch: go away'],
    });
    expect(calls()).toEqual(['scancel 12']);
  });

  it('is asked what is queued, and the accounting what has left the queue', async () => {
    program('squeue', '41_2|RUNNING|None\n41_5|PENDING|Resources\n42|PENDING|Dependency');
    program(
      'sacct',
      '41_0|COMPLETED|0:0\n41_2|NODE_FAIL|0:0\n41_3|CANCELLED by 0|0:15\n41_4|FAILED|3:0\n41_[5]|PENDING|0:0',
    );
    const states = await slurmEngine.open({}).poll({ units: '41', last: '42' }, work);
    expect(Object.fromEntries(states.map(({ job, state, detail }) => [job, [state, detail]]))).toEqual({
      0: ['ended', 'COMPLETED'],
      2: ['running', 'RUNNING'], // queued again behind its node's failure
      3: ['failed', 'CANCELLED by 0, 0:15'],
      4: ['failed', 'FAILED, 3:0'],
      5: ['waiting', 'PENDING, Resources'],
      last: ['waiting', 'PENDING, Dependency'],
    });
    expect(calls()).toContain('squeue -h -r -o %i|%T|%r -j 41,42');
  });

  it('is asked its controller where there is no accounting, until that has forgotten them', async () => {
    program('squeue', '', INVALID);
    program('sacct', '', DISABLED);
    program(
      'scontrol',
      'JobId=43 ArrayJobId=41 ArrayTaskId=2 JobName=x JobState=FAILED Reason=NonZeroExitCode ExitCode=5:0',
    );
    const engine = slurmEngine.open({});
    expect(await engine.poll({ units: '41', last: null }, work)).toEqual([
      { job: 2, state: 'failed', detail: 'FAILED, 5:0' },
    ]);
    program('scontrol', '', INVALID);
    expect(await engine.poll({ units: '41', last: '42' }, work)).toEqual([]);
  });

  it('that does not answer is no sign that jobs are gone', async () => {
    program('sacct', '', DISABLED);
    program('scontrol', '', INVALID);
    program('squeue', '', { error: 'Unable to contact slurm controller (connect failure)', code: 1 });
    await expect(slurmEngine.open({}).poll({ units: '41', last: '42' }, work)).rejects.toMatchObject({
      code: 'jobs-failed',
      message: expect.stringContaining('Unable to contact'),
    });
  });

  it('cancels the end before the units, and what is cancelled does not come back', async () => {
    program('scancel', '');
    mkdirSync(work.dir);
    await slurmEngine.open({}).cancel({ units: '41', last: '42' }, work);
    expect(calls()).toEqual(['scancel 42', 'scancel 41']);
    expect(existsSync(join(work.dir, 'slurm-cancelled'))).toBe(true);
  });

  it('that is not there is said', async () => {
    process.env.PATH = join(dir, 'bin');
    await expect(slurmEngine.open({}).check()).rejects.toMatchObject({ code: 'jobs-unavailable' });
  });
});

describe.skipIf(process.platform === 'win32')("a unit's script", () => {
  /** Runs it with a shell as Slurm does, crayon replaced by a shell that ends so. */
  async function ended(how: string, env: Record<string, string> = {}, options = {}) {
    program('sbatch', '41');
    program('scontrol', '', { code: 1 });
    await slurmEngine.open(options).submit({ ...work, program: ['sh', '-c', how, 'x'] });
    const { status } = spawnSync('sh', [join(work.dir, 'slurm-units.sh')], {
      env: { ...process.env, SLURM_ARRAY_JOB_ID: '41', SLURM_ARRAY_TASK_ID: '2', SLURM_JOB_ID: '43', ...env },
    });
    return { status, requeued: calls().filter((call) => call.startsWith('scontrol')) };
  }
  const AGAIN = ['scontrol requeue 41_2'];

  it.each([
    ['exit 0', 0, []],
    ['exit 4', 4, AGAIN],
    ['exit 130', 130, AGAIN],
    ['kill -9 $$', 137, AGAIN],
    ['exit 1', 1, []],
    ['exit 3', 3, []],
    ['exit 5', 5, []],
  ])('passes on %s and puts itself back where that may help', async (how, status, requeued) => {
    expect(await ended(how)).toEqual({ status, requeued });
  });

  it('comes to an end after so many tries', async () => {
    expect((await ended('exit 4', { SLURM_RESTART_COUNT: '1' }, { tries: 2 })).requeued).toEqual([]);
    expect((await ended('exit 4', { SLURM_RESTART_COUNT: '1' }, { tries: 3 })).requeued).toEqual(AGAIN);
  });

  it('passes on the signal that it alone gets before its time is over, and waits for the checkpoint', async () => {
    const how = "trap 'sleep 0.2; exit 130' TERM; kill -USR1 $PPID; while :; do sleep 0.05; done";
    expect(await ended(how)).toEqual({ status: 130, requeued: AGAIN });
  });

  it('has crayon compute with as many threads as the work says, whatever the job was given', async () => {
    const how = '[ "$CRAYON_THREADS" = 6 ] && [ "$2 $4 $5" = "/a b/pool 2 " ] || exit 9'; // $1 is --pool
    expect((await ended(`shift; ${how}`, { SLURM_CPUS_PER_TASK: '2' })).status).toBe(0);
  });
});
