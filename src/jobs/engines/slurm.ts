/**
 * Slurm, by its own commands: the units are one job array, what comes after them is a job that depends on it (`afterok`), so that a pool
 * is finished though nobody waits for it. A unit that ends by what may be better another time is put back into the queue by its script,
 * one whose node fails or that is preempted by Slurm (`--requeue`); both go on from their checkpoint.
 */

import { join } from 'node:path';
import * as z from 'zod';
import { CrayonError } from '../../core/errors.js';
import { threadVariables } from '../../core/threads.js';
import { ensureDirectory, writeFileAtomic } from '../../files/atomic.js';
import { removePath } from '../../files/io.js';
import { text } from '../../files/schema.js';
import {
  type Engine,
  engineKind,
  type Handle,
  INDEX,
  type Job,
  type JobState,
  logPath,
  RETRIED_EXITS,
  shellLine,
  shellWord,
  type Work,
} from '../engine.js';
import { keptLog } from '../kept-log.js';
import { count, TRIES } from '../options.js';
import { runProgram } from '../program.js';

const OPTIONS = z.strictObject({
  partition: text.optional().describe("Where the jobs are queued; the cluster's default when left out."),
  account: text.optional().describe('Whom they are charged to.'),
  qos: text.optional().describe('Quality of service.'),
  constraint: text.optional().describe('Features that a node must have, such as one type of processor.'),
  time: text
    .optional()
    .describe('Limit of a unit as Slurm writes it, 2:00:00; a unit that meets it goes on in another job.'),
  cpus: count(1, 4096).optional().describe('Processors of a unit.'),
  gpus: count(1, 1024).optional().describe('GPUs of a unit.'),
  mem: text.optional().describe('Memory of a unit, 8G.'),
  tries: TRIES,
});
type Options = z.output<typeof OPTIONS>;

export const slurmEngine = engineKind({
  name: 'slurm',
  title: 'a job array of Slurm',
  options: OPTIONS,
  pollMs: 2000,
  open: (options) => new SlurmEngine(options),
});

/** Beside the scripts: what is cancelled does not put itself back into the queue. */
const CANCELLED = 'slurm-cancelled';
/** Seconds before the limit of its time at which a unit is told to end: for a step and a checkpoint. */
const TIME_LEFT = 120;

class SlurmEngine implements Engine {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  print(work: Work): string {
    const hasUnits = work.indices.length > 0;
    return this.#jobs(work, hasUnits ? '<job>' : undefined)
      .slice(hasUnits ? 0 : 1)
      .map(({ args, script, path }) => `# ${path}\n${script}\n${shellLine(['sbatch', ...args, path])}\n`)
      .join('\n');
  }

  async check(): Promise<void> {
    await slurm('sbatch', ['--version']);
  }

  async submit(work: Work): Promise<Handle> {
    ensureDirectory(join(work.dir, 'logs'));
    removePath(join(work.dir, CANCELLED));
    const submitted = work.indices.length === 0 ? undefined : await sbatch(this.#jobs(work, undefined)[0]);
    try {
      return { units: submitted ?? null, last: await sbatch(this.#jobs(work, submitted)[1]) };
    } catch (error) {
      if (submitted !== undefined) await slurm('scancel', [submitted]).catch(() => {});
      throw error;
    }
  }

  /** @param units the array's number, on which the last job depends; none where nothing is left to do but that */
  #jobs(work: Work, units: string | undefined): [units: SlurmJob, last: SlurmJob] {
    const { name, indices, workers, dir } = work;
    const common = [`--chdir=${process.cwd()}`, '--requeue', '--open-mode=append', ...this.#resources()];
    const array = `--array=${indices.join(',')}%${workers}`;
    const log = (job: Job) => logPath(work, job);
    const dependency = units === undefined ? [] : [`--dependency=afterok:${units}`, '--kill-on-invalid-dep=yes'];
    const path = (which: string) => join(dir, `slurm-${which}.sh`);
    const script = (words: string) => this.#script(work, words);
    const unitWords = work.unit.map((part) => (part === INDEX ? '"$SLURM_ARRAY_TASK_ID"' : shellWord(part)));
    return [
      {
        path: path('units'),
        script: script(`${shellLine(work.program)} ${unitWords.join(' ')}`),
        args: ['--parsable', `--job-name=${name}`, array, `--output=${log(0).replace(/0(?=\.log$)/, '%a')}`, ...common],
      },
      {
        path: path('finish'),
        script: script(shellLine([...work.program, ...work.last])),
        args: ['--parsable', `--job-name=${name}-finish`, ...dependency, `--output=${log('last')}`, ...common],
      },
    ];
  }

  #resources(): string[] {
    const { partition, account, qos, constraint, time, cpus, gpus, mem } = this.#options;
    const given = { partition, account, qos, constraint, time, 'cpus-per-task': cpus, gpus, mem };
    const flags = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : `--${name}=${value}`));
    // before its limit a unit is told to end with a checkpoint
    return time === undefined ? flags : [...flags, `--signal=B:USR1@${TIME_LEFT}`];
  }

  /**
   * Runs crayon, and puts the job back where that may help. The shell outlives the SIGTERM that Slurm sends to all of a job, and passes
   * the signal on that the shell alone gets before the job's time is over. What was cancelled stays so.
   */
  #script({ dir, threads }: Work, command: string): string {
    const retried = [...RETRIED_EXITS, '12[89]', '1[3-9]?', '2??'].join('|');
    return `#!/bin/sh
child= asked=
trap : TERM
trap 'asked=1; [ -z "$child" ] || kill -TERM "$child"' USR1
export ${Object.entries(threadVariables(threads))
      .map((pair) => pair.join('='))
      .join(' ')}
${command} &
child=$!
[ -z "$asked" ] || kill -TERM "$child"
wait "$child"
code=$?
while kill -0 "$child" 2>/dev/null; do # a signal ends \`wait\` too
  wait "$child"
  code=$?
done
case $code in
${retried})
  if [ "\${SLURM_RESTART_COUNT:-0}" -lt ${this.#options.tries - 1} ] && [ ! -e ${shellWord(join(dir, CANCELLED))} ]; then
    id="\${SLURM_ARRAY_JOB_ID:+\${SLURM_ARRAY_JOB_ID}_\${SLURM_ARRAY_TASK_ID}}"
    scontrol requeue "\${id:-$SLURM_JOB_ID}" && sleep 60 # until Slurm ends it
  fi ;;
esac
exit $code
`;
  }

  async poll(handle: Handle): Promise<JobState[]> {
    const { units, last } = numbersOf(handle);
    const ids = [units, last].filter((id) => id !== undefined);
    const queued = await slurm('squeue', ['-h', '-r', '-o', '%i|%T|%r', '-j', ids.join()]).catch(noSuchJob);
    const states = new Map<Job, JobState>();
    // What is no longer in the queue, by the accounting where there is one, else by what the controller still knows.
    for (const [id, state, code] of [...(await accounted(ids)), ...linesOf(queued)]) {
      const job = jobOf(id!, units);
      if (job === undefined) continue;
      states.set(job, {
        job,
        state: stateOf(state!),
        detail: code === '0:0' || code === 'None' ? state : `${state}, ${code}`,
      });
    }
    return [...states.values()];
  }

  async log(_: Handle, work: Work, job: Job): Promise<string> {
    return keptLog(work, job);
  }

  async cancel(handle: Handle, { dir }: Work): Promise<void> {
    const { units, last } = numbersOf(handle);
    writeFileAtomic(join(dir, CANCELLED), '');
    // The last one first, so that it never sees its dependency end.
    for (const id of [last, units]) if (id !== undefined) await slurm('scancel', [id]).catch(noSuchJob);
  }
}

interface SlurmJob {
  path: string;
  script: string;
  args: string[];
}

async function sbatch({ path, script, args }: SlurmJob): Promise<string> {
  writeFileAtomic(path, script);
  const answer = (await slurm('sbatch', [...args, path])).trim();
  const [, id] = /^(\d+)(;.*)?$/.exec(answer.split('\n').at(-1)!) ?? [];
  if (id !== undefined) return id;
  throw new CrayonError('jobs-failed', `sbatch answered "${answer}", expected the number of a job`);
}

function numbersOf({ units, last }: Handle): { units: string | undefined; last: string | undefined } {
  const number = (value: unknown) => (typeof value === 'string' && /^\d+$/.test(value) ? value : undefined);
  return { units: number(units), last: number(last) };
}

/** `12_3` is unit 3 of array 12; a number alone is the last job. */
function jobOf(id: string, units: string | undefined): Job | undefined {
  const [, array, index] = /^(\d+)(?:_(\d+))?$/.exec(id) ?? [];
  if (array === undefined) return undefined; // a step, or a part of an array that is not begun
  if (index === undefined) return array === units ? undefined : 'last';
  return array === units ? Number(index) : undefined;
}

const RUNNING = /^(RUNNING|COMPLETING|SUSPENDED|STAGE_OUT|SIGNALING|STOPPED)/;
const WAITING = /^(PENDING|CONFIGURING|REQUEUED?|REQUEUE_\w+|SPECIAL_EXIT|RESV_DEL_HOLD|RESIZING|REVOKED)/;

function stateOf(state: string): JobState['state'] {
  if (RUNNING.test(state)) return 'running';
  if (WAITING.test(state)) return 'waiting';
  return state.startsWith('COMPLETED') ? 'ended' : 'failed';
}

const linesOf = (text: string): string[][] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('|'));

/** Id, state and exit code of jobs that may have left the queue. */
async function accounted(ids: readonly string[]): Promise<string[][]> {
  try {
    return linesOf(await slurm('sacct', ['-X', '-n', '-P', '-o', 'JobID,State,ExitCode', '-j', ids.join()]));
  } catch {
    const shown = await Promise.all(ids.map((id) => slurm('scontrol', ['-o', 'show', 'job', id]).catch(noSuchJob)));
    return shown.flatMap((text) => text.split('\n').flatMap(shownJob));
  }
}

function shownJob(line: string): string[][] {
  const value = (key: string) => new RegExp(`(?:^| )${key}=(\\S+)`).exec(line)?.[1];
  const [id, array, index] = [value('JobId'), value('ArrayJobId'), value('ArrayTaskId')];
  const [state, code] = [value('JobState'), value('ExitCode')];
  if (id === undefined || state === undefined) return [];
  return [[array === undefined ? id : `${array}_${index}`, state, code ?? '']];
}

/** Slurm forgets jobs some minutes after their end, and then calls their number invalid. */
function noSuchJob(error: unknown): string {
  if (error instanceof CrayonError && [error.message, ...error.said].some((line) => /invalid job id/i.test(line)))
    return '';
  throw error;
}

const slurm = (program: string, args: readonly string[]): Promise<string> =>
  runProgram(program, args, {
    missing: ['so no Slurm here', 'Run this where jobs are submitted, or choose --engine local.'],
  });
