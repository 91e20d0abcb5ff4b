/** Runs the units of a build on an engine, or goes on with a run whose coordinator is gone; and waits for their end. */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CrayonError, reasonOf } from '../core/errors.js';
import { abridge, lastLines } from '../core/format.js';
import { ensureDirectory } from '../files/atomic.js';
import { removePath } from '../files/io.js';
import { isJsonObject, readOptionalJson, writeJson } from '../files/json.js';
import { lock, unlock } from '../files/lock.js';
import { type Engine, type EngineKind, type Handle, type Job, type JobState, jobName, type Work } from './engine.js';

export interface RunOptions {
  engine: Engine;
  kind: Pick<EngineKind, 'name' | 'pollMs'>;
  work: Work;
  /** What the shared directory says. */
  isDone: (job: Job) => boolean;
  /** @param done units @param note what the engine says of the others */
  onProgress?: ((done: number, total: number, note: string) => void) | undefined;
  /** cancels what was submitted */
  signal?: AbortSignal | undefined;
}

const RECORD = 'engine.json';
/** A file system of several machines shows a result somewhat after its job has ended. */
const GRACE_POLLS = 10;
const TAIL_LINES = 6;

/**
 * @returns when all units and what comes after them are done
 * @throws CrayonError `jobs-failed` naming what failed with its last words, `jobs-unavailable`, `interrupted`, `output-exists` while
 *   another coordinator is at work
 */
export async function runWork(run: RunOptions): Promise<void> {
  const { engine, work, signal } = run;
  await engine.check();
  const place = join(work.dir, 'coordinator');
  ensureDirectory(place);
  lock(place, 'build');
  try {
    const handle = (await earlier(run)) ?? (await submit(run));
    await follow(run, handle).catch(async (error) => {
      if (signal?.aborted) await engine.cancel(handle, work);
      throw error;
    });
    removePath(join(work.dir, RECORD));
  } finally {
    unlock(place);
  }
}

async function submit({ engine, kind, work }: RunOptions): Promise<Handle> {
  const handle = await engine.submit(work);
  writeJson(join(work.dir, RECORD), { engine: kind.name, handle });
  return handle;
}

/** What an earlier coordinator has submitted, while any of it is waiting or running. */
async function earlier({ engine, kind, work }: RunOptions): Promise<Handle | undefined> {
  const record = readOptionalJson(join(work.dir, RECORD));
  if (record?.engine !== kind.name || !isJsonObject(record.handle)) return undefined;
  const states = await engine.poll(record.handle, work);
  return states.some(isActive) ? record.handle : undefined;
}

const isActive = ({ state }: JobState) => state === 'waiting' || state === 'running';

async function follow(run: RunOptions, handle: Handle): Promise<void> {
  const { engine, kind, work, isDone, onProgress, signal } = run;
  for (let idle = 0; ; ) {
    const states = await engine.poll(handle, work);
    if (isDone('last')) return;
    const left = work.indices.filter((index) => !isDone(index));
    onProgress?.(work.indices.length - left.length, work.indices.length, describe(states));
    const failed = states.filter(({ job, state }) => state === 'failed' && (job === 'last' || left.includes(job)));
    idle = states.some(isActive) ? 0 : idle + 1;
    if (idle > 0 && (failed.length > 0 || idle > GRACE_POLLS)) throw await failure(run, handle, failed, left);
    await sleep(kind.pollMs, undefined, signal && { signal }).catch(() => {}); // looked at below
    if (signal?.aborted) {
      throw new CrayonError('interrupted', `stopped with ${left.length} of ${work.indices.length} units left`, {
        hint: 'The same command goes on with them.',
      });
    }
  }
}

/** `2 running (units 0, 3), 5 waiting (Resources)` */
function describe(states: readonly JobState[]): string {
  return (['running', 'waiting', 'failed'] as const)
    .flatMap((state) => {
      const those = states.filter((one) => one.state === state);
      if (those.length === 0) return [];
      const detail =
        state === 'waiting'
          ? those[0]!.detail
          : abridge(
              those.map(({ job }) => jobName(job)),
              4,
              ', ',
            );
      return `${those.length} ${state}${detail ? ` (${detail})` : ''}`;
    })
    .join(', ');
}

async function failure(
  { engine, work }: RunOptions,
  handle: Handle,
  failed: readonly JobState[],
  left: readonly Job[],
) {
  const first = failed[0]?.job ?? left[0] ?? 'last';
  const said = lastLines(await engine.log(handle, work, first).catch((error) => reasonOf(error)), TAIL_LINES);
  const names = failed.map(({ job, detail }) => `${jobName(job)}${detail ? ` (${detail})` : ''}`);
  const ended = names.length === 0 ? `${jobName(first)} ended without a result` : `failed: ${abridge(names, 8, ', ')}`;
  return new CrayonError('jobs-failed', `${ended}${said.length === 0 ? '' : `; ${jobName(first)} said last:`}`, {
    said,
    hint: `All that they said is in ${join(work.dir, 'logs')}. The same command tries those again that are not done.`,
  });
}
