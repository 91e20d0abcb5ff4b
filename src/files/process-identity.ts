/**
 * Which process left something on a disk, so that it is told from a later one of the same number: the number, when that process
 * started, and the space in which its number counts.
 *
 * A number alone says little. A container's first process is 1 every time, numbers of one container mean nothing in another, and
 * after a reboot, or some days, they are given again. The space is a digest of the boot id and the pid namespace: within one, number
 * and start settle whether a process is alive; from another, nothing can be known, and signs of life decide: touches of a lock (lock.ts), changes of what is being written (`isLeftover`).
 *
 * Where there is no /proc (macOS, Windows) the host's name stands for the space, and of another process only the number is known.
 */

import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname, uptime } from 'node:os';
import { LIMITS } from '../core/limits.js';

export interface ProcessIdentity {
  pid: number;
  /** clock ticks since the boot (field 22 of /proc/PID/stat), in base 36; elsewhere seconds since 1970, behind a `u` */
  start: string;
  space: string;
}

/** `unknown`: of another container, machine or boot, or of a time when numbers were all that was kept. */
export type Liveness = 'alive' | 'dead' | 'unknown';

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
/** A clock that is set moves what is reckoned from it. */
const CLOCK_SLACK_MS = 10_000;

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null; // no /proc, another user's process with hidepid, or a process that has ended
  }
}

/** State and start of a process of this pid namespace. */
function procStat(pid: number | 'self'): { state: string; ticks: number } | null {
  const text = textOf(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The program's name, field 2, stands in parentheses and may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[19]);
  return Number.isSafeInteger(ticks) ? { state: fields[0]!, ticks } : null;
}

function namespaceOf(): string | null {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return null;
  }
}

/** Whether /proc shows the numbers of this process's own namespace: `unshare --pid` without a new /proc does not. */
function showsOwnNumbers(): boolean {
  try {
    return Number(readlinkSync('/proc/self')) === process.pid;
  } catch {
    return false;
  }
}

function identify(): ProcessIdentity {
  const boot = textOf('/proc/sys/kernel/random/boot_id');
  const namespace = namespaceOf();
  const stat = procStat('self');
  const place = boot !== null && namespace !== null ? `${boot.trim()} ${namespace}` : `host ${hostname()}`;
  return {
    pid: process.pid,
    start: stat?.ticks.toString(36) ?? `u${Math.round(Date.now() / 1000 - process.uptime()).toString(36)}`,
    space: createHash('sha256').update(place).digest('hex').slice(0, 8),
  };
}

let known: ProcessIdentity | undefined;

export function thisProcess(): ProcessIdentity {
  known ??= identify();
  return known;
}

/**
 * Whether the process that left something is alive.
 *
 * @param writtenAtMs when it was left, where its number is all that was kept: a process that started later is another one
 */
export function livenessOf(
  { pid, start, space }: Pick<ProcessIdentity, 'pid'> & Partial<ProcessIdentity>,
  writtenAtMs = Number.POSITIVE_INFINITY,
): Liveness {
  const self = thisProcess();
  if (space !== undefined && space !== self.space) return 'unknown';
  // With nothing but a number, our own is that of a process before us.
  if (pid === self.pid) return start === self.start ? 'alive' : 'dead';
  if (!hasProcess(pid)) return 'dead';
  const stat = showsOwnNumbers() ? procStat(pid) : null;
  if (stat === null) return 'unknown';
  if (stat.state === 'Z' || stat.state === 'X') return 'dead'; // killed, and nobody has asked how it ended
  if (start !== undefined) return stat.ticks.toString(36) === start ? 'alive' : 'dead';
  const startedMs = Date.now() - uptime() * 1000 + (stat.ticks / TICKS_PER_SECOND) * 1000;
  return startedMs > writtenAtMs + CLOCK_SLACK_MS ? 'dead' : 'unknown';
}

/** Whether what a process left, and changed last at `changedAtMs`, may be removed. */
export function isLeftover(owner: Parameters<typeof livenessOf>[0], changedAtMs: number): boolean {
  const liveness = livenessOf(owner, changedAtMs);
  return liveness === 'dead' || (liveness === 'unknown' && Date.now() - changedAtMs > LIMITS.abandonedMs);
}

function hasProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'; // EPERM: another user's
  }
}

/** This process in a file's name, a fresh one each time: `PID-START-SPACE-RANDOM`. */
export function processTag(): string {
  const { pid, start, space } = thisProcess();
  return `${pid}-${start}-${space}-${randomBytes(3).toString('hex')}`;
}

/** What `processTag` made, or an earlier version, which wrote the number alone. */
export function readProcessTag(tag: string): (Pick<ProcessIdentity, 'pid'> & Partial<ProcessIdentity>) | null {
  const [, pid, start, space] = /^(\d+)(?:-([0-9a-z]+)-([0-9a-f]{8})-[0-9a-f]{6})?$/.exec(tag) ?? [];
  if (pid === undefined) return null;
  return { pid: Number(pid), ...(start !== undefined && { start }), ...(space !== undefined && { space }) };
}
