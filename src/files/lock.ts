/**
 * The lock of a directory that one process at a time may work in: a file that is there for as long as its owner works, with the
 * owner's identity (process-identity.ts), touched every second by a thread, whatever the owner's main thread is busy with.
 *
 * Within one container or machine the identity says whether the owner is alive, whoever has its number now. From another one nothing
 * is known but the touches: such a lock is watched, and taken over when nobody touches it. No clocks are compared. Where a number is
 * all that is known (a lock of an earlier version; no /proc) and there is such a process, the lock is respected, and the message names
 * the file to delete.
 */

import { closeSync, linkSync, lstatSync, openSync, renameSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { CrayonError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { errnoOf, readText, writeError, writeFully } from './io.js';
import { livenessOf, type ProcessIdentity, thisProcess } from './process-identity.js';
import { siblingOf } from './siblings.js';

/** The lock's file. A directory that has it alone is empty to its owner. */
export const LOCK_FILE = 'process';

const TOUCH_MS = 1_000;

type Owner = Pick<ProcessIdentity, 'pid'> & Partial<ProcessIdentity & { host: string }>;

/** The locks of this process, by their files. */
const held = new Map<string, { text: string; touching: Worker }>();

/**
 * @param what what is being worked on, for the message: `output`, `run`
 * @throws CrayonError `output-exists` while another process holds the lock; one that was killed holds none
 */
export function refuseLocked(dir: string, what: string, watchMs = LIMITS.lockWatchMs): void {
  const found = find(join(dir, LOCK_FILE));
  if (found !== null) refuseHeld(dir, what, found, watchMs);
}

/**
 * Takes the lock of an existing directory.
 *
 * @throws CrayonError `output-exists` as `refuseLocked`, `disk-full`, `write-failed`
 */
export function lock(dir: string, what: string, watchMs = LIMITS.lockWatchMs): void {
  const file = join(dir, LOCK_FILE);
  const { pid, start, space } = thisProcess();
  // The number alone in the first line, which is all that earlier versions read.
  const text = `${pid}\n${JSON.stringify({ start, space, host: hostname() })}\n`;
  for (let attempt = 1; !create(file, text); attempt++) {
    const found = find(file);
    if (found !== null)
      refuseHeld(dir, what, found, attempt < LIMITS.lockAttempts ? watchMs : Number.POSITIVE_INFINITY);
    if (found !== null) takeAway(file, found.text);
  }
  held.set(file, { text, touching: touch(file) });
}

/** Gives it back, after a failure too: what cannot be removed is known to be nobody's when this process has ended. */
export function unlock(dir: string): void {
  const file = join(dir, LOCK_FILE);
  const ours = held.get(file);
  held.delete(file);
  void ours?.touching.terminate();
  try {
    if (ours !== undefined && find(file)?.text === ours.text) rmSync(file, { force: true });
  } catch {}
}

/** @returns false where there is one already */
function create(file: string, text: string): boolean {
  try {
    const fd = openSync(file, 'wx');
    try {
      writeFully(fd, Buffer.from(text));
    } catch (error) {
      rmSync(file, { force: true });
      throw error;
    } finally {
      closeSync(fd);
    }
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw writeError(file, error);
  }
}

/** Removes a lock that nobody holds; not one that another process has put in its place meanwhile. */
function takeAway(file: string, text: string): void {
  const aside = siblingOf(file, 'tmp');
  try {
    renameSync(file, aside);
    if (readText(aside) !== text) linkSync(aside, file);
    rmSync(aside, { force: true });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'EEXIST') throw writeError(file, error);
  }
}

function touch(file: string): Worker {
  const code = `const { utimesSync } = require('node:fs');
    const { workerData } = require('node:worker_threads');
    setInterval(() => { try { utimesSync(workerData, new Date(), new Date()); } catch {} }, ${TOUCH_MS});`;
  const worker = new Worker(code, {
    eval: true,
    workerData: file,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 16 },
  });
  worker.unref();
  return worker;
}

interface FoundLock {
  text: string;
  /** null: a file without words, as one is for a moment when it is made */
  owner: Owner | null;
  touchedAt: number;
}

function find(file: string): FoundLock | null {
  try {
    const text = readText(file);
    return { text, owner: ownerOf(text), touchedAt: lstatSync(file).mtimeMs };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null;
    throw error;
  }
}

function ownerOf(text: string): Owner | null {
  const [first = '', second = ''] = text.split('\n');
  const pid = Number.parseInt(first, 10);
  if (!(pid > 0)) return null;
  try {
    const { start, space, host }: Record<string, unknown> = JSON.parse(second);
    if ([start, space, host].every((value) => typeof value === 'string')) return { pid, start, space, host } as Owner;
  } catch {} // an earlier version's
  return { pid };
}

function refuseHeld(dir: string, what: string, { owner, touchedAt }: FoundLock, watchMs: number): void {
  const file = join(dir, LOCK_FILE);
  const isForeign = owner === null || (owner.space !== undefined && owner.space !== thisProcess().space);
  if (isForeign ? !isTouched(file, touchedAt, watchMs) : livenessOf(owner, touchedAt) === 'dead') return;
  const number = `process ${owner?.pid ?? 'unknown'}`;
  const who = isForeign ? `${number} of another container or machine (${owner?.host ?? 'unknown'})` : number;
  const doubt = isForeign ? 'has ended' : 'is another program';
  throw new CrayonError('output-exists', `${dir}: ${who} is at work on the same ${what}`, {
    hint: `Wait for it, or choose another output. If ${number} ${doubt}, delete ${file}.`,
  });
}

/** Whether somebody touches or removes the file while it is watched. */
function isTouched(file: string, touchedAt: number, watchMs: number): boolean {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (const end = performance.now() + watchMs; performance.now() < end; ) {
    const found = find(file); // opened anew: a network file system asks its server then
    if (found === null || found.touchedAt !== touchedAt) return found !== null;
    Atomics.wait(pause, 0, 0, Math.min(100, watchMs));
  }
  return false;
}
