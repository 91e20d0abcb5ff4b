/**
 * This machine: so many worker processes, each with its share of the GPUs where they are named. A worker that is
 * killed has its unit taken up again; one whose coordinator is gone ends by itself, with a checkpoint.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import * as z from 'zod';
import { LIMITS } from '../../core/limits.js';
import { threadVariables } from '../../core/threads.js';
import { ensureDirectory } from '../../files/atomic.js';
import { closeFile, openLog } from '../../files/io.js';

import {
  ATTACHED_VARIABLE,
  argumentsOf,
  type Engine,
  engineKind,
  isWorthRetrying,
  type Job,
  type JobState,
  logPath,
  shellLine,
  type Work,
} from '../engine.js';
import { keptLog } from '../kept-log.js';
import { count, TRIES } from '../options.js';

const OPTIONS = z.strictObject({
  tries: TRIES,
  gpus: count(0, 1024)
    .default(0)
    .describe('GPUs of this machine, or of CUDA_VISIBLE_DEVICES, to be divided among the workers.'),
});
type Options = z.output<typeof OPTIONS>;

export const localEngine = engineKind({
  name: 'local',
  title: 'worker processes on this machine',
  options: OPTIONS,
  pollMs: 200,
  open: (options) => new LocalEngine(options),
});

class LocalEngine implements Engine {
  readonly #options: Options;
  readonly #states = new Map<Job, JobState>();
  readonly #children = new Map<Job, ChildProcess>();
  #isCancelled = false;

  constructor(options: Options) {
    this.#options = options;
  }

  print(work: Work): string {
    const lines = [...work.indices, 'last' as const].map((job) => {
      return shellLine([...work.program, ...argumentsOf(work, job)]);
    });
    const env = Object.entries(this.#environment(work, 0)).map(([name, value]) => `${name}=${value}`);
    return [
      `# ${work.workers} at a time, each with ${env.join(' ')}; the last one when all others are done`,
      ...lines,
    ].join('\n');
  }

  async check(): Promise<void> {}

  async submit(work: Work): Promise<Record<string, never>> {
    ensureDirectory(join(work.dir, 'logs'));
    for (const job of [...work.indices, 'last' as const]) this.#states.set(job, { job, state: 'waiting' });
    void this.#runAll(work);
    return {};
  }

  /** Those of this process: an earlier coordinator's workers have ended with it. */
  async poll(): Promise<JobState[]> {
    return [...this.#states.values()];
  }

  async log(_: unknown, work: Work, job: Job): Promise<string> {
    return keptLog(work, job);
  }

  async cancel(): Promise<void> {
    this.#isCancelled = true;
    await Promise.all([...this.#children.values()].map(stop));
  }

  async #runAll(work: Work): Promise<void> {
    const queue = [...work.indices];
    const worker = async (slot: number) => {
      for (let job = queue.shift(); job !== undefined && !this.#isCancelled; job = queue.shift()) {
        await this.#run(work, job, slot);
      }
    };
    const workers = Math.min(work.workers, Math.max(1, queue.length));
    await Promise.all(Array.from({ length: workers }, (_, slot) => worker(slot)));
    const areDone = work.indices.every((index) => this.#states.get(index)!.state === 'ended');
    if (areDone && !this.#isCancelled) await this.#run({ ...work, workers: 1 }, 'last', 0);
    else this.#states.delete('last'); // it waits for nothing any more
  }

  async #run(work: Work, job: Job, slot: number): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      this.#states.set(job, { job, state: 'running', detail: attempt === 1 ? undefined : `attempt ${attempt}` });
      const { code, detail } = await this.#child(work, job, slot);
      const isOver = attempt >= this.#options.tries || this.#isCancelled || !isWorthRetrying(code);
      if (code === 0 || isOver) {
        this.#states.set(job, { job, state: code === 0 ? 'ended' : 'failed', detail });
        return;
      }
    }
  }

  #child(work: Work, job: Job, slot: number) {
    const log = openLog(logPath(work, job));
    const [program, ...args] = [...work.program, ...argumentsOf(work, job)];
    const env = { ...process.env, ...this.#environment(work, slot), [ATTACHED_VARIABLE]: '1' };
    // A group of its own: Ctrl-C is for this process, which then asks.
    const child = spawn(program!, args, { env, stdio: ['pipe', log, log], detached: process.platform !== 'win32' });
    closeFile(log);
    child.stdin!.on('error', () => {}); // it ended before it was asked to
    this.#children.set(job, child);
    return new Promise<{ code: number | null; detail: string }>((resolve) => {
      const end = (code: number | null, detail: string) => {
        this.#children.delete(job);
        resolve({ code, detail });
      };
      child.once('error', (error) => end(1, error.message));
      child.once('close', (code, signal) => end(code, signal === null ? `exit code ${code}` : `ended by ${signal}`));
    });
  }

  #environment({ workers, threads }: Work, slot: number): Record<string, string> {
    const { gpus } = this.#options;
    const environment = threadVariables(threads);
    if (gpus === 0) return environment;
    const named = process.env.CUDA_VISIBLE_DEVICES?.split(',').filter((device) => device !== '');
    const devices = (named ?? Array.from({ length: gpus }, (_, i) => String(i))).slice(0, gpus);
    const share = devices.filter((_, i) => i % workers === slot);
    // with more workers than GPUs, some share one
    return {
      ...environment,
      CUDA_VISIBLE_DEVICES: (share.length > 0 ? share : [devices[slot % devices.length]]).join(),
    };
  }
}

/** Asks a worker to end with a checkpoint; one that does not is killed. */
async function stop(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('close', resolve));
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.stdin?.end();
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMITS.trainerStopMs);
  await ended;
  clearTimeout(timer);
}
