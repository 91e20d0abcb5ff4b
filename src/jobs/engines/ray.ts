/**
 * Ray, by the Jobs REST API of its head: nothing of Python's on crayon's side. Ray places every job by the resources that it asks for; it
 * knows neither an array of so many at a time nor what comes after it, nor retries. These are this engine's, from `poll`: while the
 * coordinator is gone, what runs goes on, and what is not submitted waits for the command to be repeated.
 *
 * A job's id tells its run, unit and attempt, so that whoever has the run's number finds again what became of it.
 */

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { CrayonError, reasonOf } from '../../core/errors.js';
import { parseBytes } from '../../core/format.js';
import { LIMITS } from '../../core/limits.js';
import { threadVariables } from '../../core/threads.js';
import { matching, text, variableName, whole } from '../../files/schema.js';
import {
  argumentsOf,
  type Engine,
  engineKind,
  type Handle,
  isWorthRetrying,
  type Job,
  type JobState,
  jobName,
  shellLine,
  type Work,
} from '../engine.js';
import { keepLog, keptLog } from '../kept-log.js';
import { TRIES } from '../options.js';
import { RayHead, type RayJob, type RaySubmission } from './ray-head.js';

const HEADER = /^([\w-]+): *(.*)$/;
const amount = z.coerce.number().min(0, 'a number from 0');
const seconds = (most: number) => z.coerce.number().pipe(z.number().min(0.1, 'a number from 0.1').max(most));

const OPTIONS = z.strictObject({
  address: matching(/^https?:\/\/\S+$/, 'an address such as http://head:8265')
    .optional()
    .describe("Of the head's dashboard; RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265, when left out."),
  cpus: amount.optional().describe('Processors that a unit asks for; as many as it has threads when left out.'),
  gpus: amount.default(0).describe('GPUs that a unit asks for; less than one shares it.'),
  memory: z
    .union([whole(1), text])
    .transform((value) => (typeof value === 'number' || /^\d+$/.test(value) ? Number(value) : parseBytes(value)))
    .pipe(whole(1))
    .optional()
    .describe('Memory that a unit asks for, such as 8GB.'),
  resources: z.record(z.string(), z.number()).optional().describe("Ray's own resources that a unit asks for (YAML)."),
  program: text.optional().describe('What runs crayon on the nodes; the same paths as here when left out.'),
  token_env: variableName.describe(
    "The name of an environment variable that holds the head's token, sent as a bearer token. Never the token itself. RAY_AUTH_TOKEN when left out.",
  ),
  headers: z
    .union([z.record(z.string(), z.string()), matching(HEADER, 'a header such as "X-Team: us"')])
    .default({})
    .describe('Headers of every request: one, or a map of them (YAML).'),
  tries: TRIES,
  timeout: seconds(3600).default(30).describe('Seconds that the head may take for an answer.'),
  patience: seconds(86_400).default(60).describe('Seconds for which a head that does not answer is asked again.'),
});
type Options = z.output<typeof OPTIONS>;

export const rayEngine = engineKind({
  name: 'ray',
  title: "jobs of Ray, by its head's REST API",
  options: OPTIONS,
  pollMs: 2000,
  open: (options) => new RayEngine(options),
});

/** A job that found no room within Ray's own time-out has not been begun. */
const NO_ROOM = 'JOB_SUPERVISOR_ACTOR_START_TIMEOUT';
/** between two looks at jobs that are asked to end */
const STOP_POLL_MS = 500;

/** What is known of a unit, or of what comes after them. */
interface Track {
  job: Job;
  /** the last one that was submitted; 0: none */
  attempt: number;
  /** attempts that were begun and have failed */
  spent: number;
  state: JobState['state'];
  detail?: string | undefined;
  /** whether the last attempt is in Ray's hands */
  isOut: boolean;
}

class RayEngine implements Engine {
  readonly #options: Options;
  readonly #head: RayHead;
  readonly #address: string;
  /** of the run that this coordinator follows */
  #tracks: { run: string; all: Track[] } | undefined;

  constructor(options: Options) {
    const { address, token_env, timeout, patience } = options;
    const { RAY_API_SERVER_ADDRESS: named } = process.env;
    this.#options = options;
    this.#address = (address ?? (named || 'http://127.0.0.1:8265')).replace(/\/+$/, '');
    const token = process.env[token_env ?? 'RAY_AUTH_TOKEN'];
    if (token_env !== null && !token) {
      throw new CrayonError('bad-option', `token_env: the environment variable ${token_env} is not set`);
    }
    const headers = { ...headersOf(options.headers), ...(token && { authorization: `Bearer ${token}` }) };
    const times = { timeoutMs: timeout * 1000, patienceMs: patience * 1000 };
    this.#head = new RayHead({ address: this.#address, headers, ...times });
  }

  print(work: Work): string {
    const jobs = [...work.indices, 'last' as const].map((job) => {
      return `POST ${this.#address}/api/jobs/\n${JSON.stringify(this.#submission(work, '<run>', job, 1), null, 2)}`;
    });
    return [`# ${work.workers} at a time; the last one when all others are done`, ...jobs].join('\n');
  }

  async check(): Promise<void> {
    await this.#head.version();
  }

  async submit(work: Work): Promise<Handle> {
    const handle = { run: `${work.name.slice(0, 80)}-${randomBytes(4).toString('hex')}` };
    this.#tracks = { run: handle.run, all: tracksOf(work) };
    try {
      await this.#advance(work, this.#tracks);
    } catch (error) {
      await this.cancel(handle, work).catch(() => {});
      throw error;
    }
    return handle;
  }

  async poll(handle: Handle, work: Work): Promise<JobState[]> {
    const run = runOf(handle);
    if (this.#tracks?.run === run) {
      const { all } = this.#tracks;
      await Promise.all(all.filter(({ isOut }) => isOut).map((track) => this.#look(work, run, track)));
      await this.#advance(work, this.#tracks);
    } else {
      const all = tracksOf(work);
      for (const track of all) await this.#find(work, run, track);
      // What nothing is left of that waits or runs is over: who begins again begins a run of its own.
      if (!all.some(({ isOut }) => isOut)) return all.filter(({ attempt }) => attempt > 0).map(failedOrEnded);
      this.#tracks = { run, all };
      await this.#advance(work, this.#tracks);
    }
    const { all } = this.#tracks;
    const canFinish = all.every(({ job, state }) => job === 'last' || state !== 'failed');
    return all
      .filter(({ job, attempt }) => job !== 'last' || attempt > 0 || canFinish)
      .map(({ job, state, detail }) => ({ job, state, detail }));
  }

  /** Submits what is to be begun, or again, while there is room. */
  async #advance(work: Work, { run, all }: { run: string; all: Track[] }): Promise<void> {
    const units = all.filter(({ job }) => job !== 'last');
    for (const track of units) {
      if (units.filter(({ isOut }) => isOut).length >= work.workers) break;
      if (track.state === 'waiting' && !track.isOut) await this.#begin(work, run, track);
    }
    const last = all.find(({ job }) => job === 'last')!;
    const areDone = units.every(({ state }) => state === 'ended');
    if (areDone && last.state === 'waiting' && !last.isOut) await this.#begin(work, run, last);
  }

  async #begin(work: Work, run: string, track: Track): Promise<void> {
    await this.#head.submit(this.#submission(work, run, track.job, track.attempt + 1));
    track.attempt++;
    track.isOut = true;
  }

  /** What has become of attempts that an earlier coordinator has submitted. */
  async #find(work: Work, run: string, track: Track): Promise<void> {
    for (;;) {
      const found = await this.#head.job(idOf(run, track.job, track.attempt + 1));
      if (found === undefined) return;
      track.attempt++;
      this.#take(track, found);
      if (!track.isOut && keptLog(work, track.job) === '') await this.#keep(work, run, track);
      if (track.state === 'ended') return;
    }
  }

  async #look(work: Work, run: string, track: Track): Promise<void> {
    this.#take(track, await this.#head.job(idOf(run, track.job, track.attempt)));
    // once a pool is finished, its work directory is gone
    if (!track.isOut && !(track.job === 'last' && track.state === 'ended')) await this.#keep(work, run, track);
  }

  #keep(work: Work, run: string, { job, attempt }: Track): Promise<void> {
    return keepLog(work, job, () => this.#head.logs(idOf(run, job, attempt)));
  }

  /** @param found undefined for a job that was submitted and is not known any more: its head has been started anew */
  #take(track: Track, found: RayJob | undefined): void {
    const status = found?.status;
    track.isOut = status === 'PENDING' || status === 'RUNNING';
    track.detail = found === undefined ? 'no longer known' : detailOf(found);
    if (status === 'PENDING') track.state = 'waiting';
    else if (status === 'RUNNING') track.state = 'running';
    else if (status === 'SUCCEEDED') track.state = 'ended';
    else if (status === 'STOPPED') track.state = 'failed';
    else if (found?.error_type === NO_ROOM) track.state = 'waiting';
    else {
      const isOver = ++track.spent >= this.#options.tries || !isWorthRetrying(exitCodeOf(found));
      track.state = isOver ? 'failed' : 'waiting';
    }
  }

  #submission(work: Work, run: string, job: Job, attempt: number): RaySubmission {
    const { cpus = work.threads, gpus, memory, resources, program } = this.#options;
    const words = [...(program?.split(/\s+/) ?? work.program), ...argumentsOf(work, job)];
    return {
      submission_id: idOf(run, job, attempt),
      entrypoint: `exec ${shellLine(words)}`, // so that signals and exit codes are crayon's
      entrypoint_num_cpus: cpus,
      entrypoint_num_gpus: gpus,
      entrypoint_memory: memory,
      entrypoint_resources: resources,
      runtime_env: {
        env_vars: {
          ...threadVariables(work.threads),
          // Ray kills what has not ended by then: time for a step and a checkpoint
          RAY_JOB_STOP_WAIT_TIME_S: String(LIMITS.trainerStopMs / 1000),
        },
      },
      metadata: { crayon_pool: work.name, crayon_job: jobName(job) },
    };
  }

  /** From Ray where it still knows it, else from what was kept. */
  async log(handle: Handle, work: Work, job: Job): Promise<string> {
    const run = runOf(handle);
    const attempt = this.#tracks?.all.find((track) => track.job === job)?.attempt ?? 0;
    const said = attempt === 0 ? '' : await this.#head.logs(idOf(run, job, attempt)).catch(reasonOf);
    return keptLog(work, job) || said;
  }

  /** Waits until they have ended, so that whoever begins again meets none of them. */
  async cancel(handle: Handle, work: Work): Promise<void> {
    const run = runOf(handle);
    const out = (this.#tracks?.run === run ? this.#tracks.all : []).filter(({ isOut }) => isOut);
    for (const { job, attempt } of out) await this.#head.stop(idOf(run, job, attempt));
    const until = performance.now() + LIMITS.trainerStopMs;
    while (out.some(({ isOut }) => isOut) && performance.now() < until) {
      await sleep(STOP_POLL_MS);
      await Promise.all(out.filter(({ isOut }) => isOut).map((track) => this.#look(work, run, track)));
    }
  }
}

const tracksOf = ({ indices }: Work): Track[] =>
  [...indices, 'last' as const].map((job) => ({ job, attempt: 0, spent: 0, state: 'waiting', isOut: false }));

const failedOrEnded = ({ job, state, detail }: Track): JobState => ({
  job,
  state: state === 'ended' ? 'ended' : 'failed',
  detail,
});

const idOf = (run: string, job: Job, attempt: number): string => `${run}-${jobName(job)}-${attempt}`;

function runOf({ run }: Handle): string {
  if (typeof run === 'string' && /^[\w-]+$/.test(run)) return run;
  throw new CrayonError('jobs-failed', 'the record of an earlier coordinator names no run of Ray', {
    hint: 'Remove engine.json from the work directory, and run the command again.',
  });
}

/** Null where a signal has ended it (Python writes its number below 0), or its node is gone. */
function exitCodeOf(found: RayJob | undefined): number | null {
  const code = found?.driver_exit_code ?? null;
  return code === null || code < 0 ? null : code;
}

function detailOf({ status, error_type, driver_exit_code, message }: RayJob): string | undefined {
  if (status === 'RUNNING' || status === 'SUCCEEDED') return undefined;
  if (status === 'STOPPED') return 'stopped';
  if (status === 'FAILED' && driver_exit_code != null) return `exit code ${driver_exit_code}`;
  const words = message?.split('\n')[0]?.trim();
  return status === 'PENDING' ? words : [error_type, words].filter(Boolean).join(': ') || 'failed';
}

function headersOf(given: Options['headers']): Record<string, string> {
  if (typeof given !== 'string') return given;
  const [, name, value] = HEADER.exec(given)!;
  return { [name!]: value! };
}
