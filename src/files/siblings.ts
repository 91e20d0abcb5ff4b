/**
 * How an output takes the place of an earlier one, and what a kill leaves at each step. An output `out` is made in a hidden sibling
 * and becomes visible by a rename. Siblings carry their process in their names (process-identity.ts):
 *
 *     .out.tmp-PROCESS   being written, or no longer wanted: its content is nobody's
 *     .out.old-PROCESS   an earlier output, whole, moved aside for as long as the new one is not in its place
 *
 * A directory that replaces one, step by step, and what a kill behind each step leaves:
 *
 *     1. fill .out.tmp, sync it              out is the old one; a .tmp
 *     with an exchange of names (exchange.ts):
 *     2. exchange .out.tmp and out           out is the new one; the old one is a .tmp
 *     3. remove .out.tmp                     out is the new one
 *     without:
 *     2. rename out to .out.old              no out; .old is the old one
 *     3. rename .out.tmp to out              out is the new one; an .old that has served
 *     4. rename .out.old to another .tmp     out is the new one; a .tmp
 *     5. remove that .tmp                    out is the new one
 *
 * Who mends it: a reader that finds no out after step 2 waits a moment for a writer at work and then puts .old back
 * (`reappears`); so does the next writer. A .tmp, or an .old beside an out, is removed by the next writer once its process is gone
 * (`removeStaleSiblings`). An .old is never half of something, as it becomes a .tmp before it is removed. Putting back is safe
 * whoever is alive: a writer between 2 and 3 that finds out there again starts over with step 2.
 */

import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { LIMITS } from '../core/limits.js';
import { exchangePaths } from './exchange.js';
import { isLeftover, processTag, readProcessTag } from './process-identity.js';

type SiblingKind = 'tmp' | 'old';

/** A file system's names are 255 bytes at most; a sibling's tag takes some 40 of them. */
const MAX_STEM_BYTES = 200;

function prefixOf(path: string): string {
  const name = basename(path);
  const isShort = Buffer.byteLength(name) <= MAX_STEM_BYTES;
  return `.${isShort ? name : `${name.slice(0, 40)}-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`}.`;
}

/** A new name beside `path`. */
export function siblingOf(path: string, kind: SiblingKind): string {
  const full = resolve(path);
  return join(dirname(full), `${prefixOf(full)}${kind}-${processTag()}`);
}

interface Sibling {
  path: string;
  kind: SiblingKind;
  process: NonNullable<ReturnType<typeof readProcessTag>>;
}

/** Whether a name is that of a sibling: nothing that somebody else has put there. */
export function isSiblingName(name: string): boolean {
  return /^\..+\.(tmp|old)-\d+(-[0-9a-z]+){0,3}$/.test(name);
}

function siblingsOf(path: string): Sibling[] {
  const full = resolve(path);
  const folder = dirname(full);
  const prefix = prefixOf(full);
  return namesIn(folder).flatMap((name): Sibling[] => {
    const [, kind, tag] = name.startsWith(prefix) ? (/^(tmp|old)-(.*)$/.exec(name.slice(prefix.length)) ?? []) : [];
    const process = tag === undefined ? null : readProcessTag(tag);
    return process === null ? [] : [{ path: join(folder, name), kind: kind as SiblingKind, process }];
  });
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // whoever writes or reads there says what is wrong
  }
}

/**
 * For a writer of `path`: removes what killed runs left beside it, and puts back an earlier output that was moved aside and not
 * replaced. Siblings of running processes stay, and those of another container or machine while they change.
 */
export function removeStaleSiblings(path: string): void {
  const siblings = siblingsOf(path);
  if (siblings.some(({ kind }) => kind === 'old')) putBack(path);
  for (const { path: leftover, process } of siblings) {
    if (isLeftover(process, lastChange(leftover))) discardTree(leftover, path);
  }
}

/** When a file, or anything in a directory, was last written. */
function lastChange(path: string): number {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return 0;
  const inner = stats.isDirectory() ? namesIn(path).map((name) => lastChange(join(path, name))) : [];
  return Math.max(stats.mtimeMs, ...inner);
}

/** Where `path` is absent and was moved aside: the newest of those. */
function asideOf(path: string): string | undefined {
  const changed = ({ path }: Sibling) => lstatSync(path, { throwIfNoEntry: false })?.ctimeMs ?? 0;
  const aside = siblingsOf(path).filter(({ kind }) => kind === 'old');
  return aside.sort((a, b) => changed(b) - changed(a))[0]?.path;
}

function putBack(path: string): void {
  const aside = existsSync(path) ? undefined : asideOf(path);
  if (aside !== undefined) renameOver(aside, resolve(path));
}

/** @returns false where there is something at `to` that a rename does not replace, or nothing at `from` */
function renameOver(from: string, to: string, attempt = 1): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (attempt < LIMITS.replacedReads && ['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(code)) return false;
    throw error;
  }
}

/**
 * For a reader that found nothing at `path`: whether it is there after all, since a run is replacing the output that it belongs to,
 * or was killed while it did. A file system that cannot be written leaves it absent.
 */
export function reappears(path: string): boolean {
  let missing = resolve(path);
  while (!existsSync(dirname(missing)) && dirname(missing) !== missing) missing = dirname(missing);
  for (
    let waited = 0;
    waited < LIMITS.replacedGapMs && asideOf(missing) !== undefined && !existsSync(missing);
    waited++
  ) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  }
  try {
    putBack(missing);
  } catch {}
  return existsSync(path);
}

/**
 * Puts the directory `made` at `path`, where another may be.
 *
 * @param refuse throws where what lies at `path` may not be replaced; asked again whenever that may be something else
 * @returns where the earlier one is now, for `discardTree`; undefined where there was none
 */
export function replaceDirectory(made: string, path: string, refuse: () => void): string | undefined {
  for (let attempt = 1; ; attempt++) {
    refuse();
    if (!existsSync(path)) {
      if (renameOver(made, path, attempt)) return undefined;
    } else if (exchangePaths(made, path)) {
      return made;
    } else {
      const aside = siblingOf(path, 'old');
      if (!renameOver(path, aside, attempt)) continue;
      try {
        if (renameOver(made, path, attempt)) return aside;
      } catch (error) {
        renameOver(aside, path);
        throw error;
      }
    }
  }
}

/**
 * Removes a file or directory that others may look for: at once by its name, then what is in it. What cannot be removed is left to
 * the next run.
 */
export function discardTree(tree: string, path = tree): void {
  const unwanted = siblingOf(path, 'tmp');
  const remove = (what: string) => rmSync(what, { recursive: true, force: true });
  try {
    if (renameOver(tree, unwanted)) remove(unwanted);
  } catch {
    try {
      remove(tree); // where it cannot be moved aside, it goes part by part
    } catch {}
  }
}

/** Which directory lies at `path`: another string when it was replaced. */
export function directoryVersion(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false });
  // With its birth, as a number is given again once its directory is gone.
  return stats === undefined ? 'absent' : `${stats.dev}:${stats.ino}:${stats.birthtimeMs}`;
}

/**
 * Reads several files of one output directory: all of the old one or all of the new one. What fails, or was read while the directory
 * was replaced, is read again.
 *
 * @param read opens what it needs; what it returns is closed where it has `close`
 */
export function readUnreplaced<T extends object>(dir: string, read: () => T): T {
  for (let attempt = 1; ; attempt++) {
    const before = directoryVersion(dir);
    const isSettled = () => attempt === LIMITS.replacedReads || directoryVersion(dir) === before;
    let result: T;
    try {
      result = read();
    } catch (error) {
      if (isSettled()) throw error;
      continue;
    }
    if (isSettled()) return result;
    if ('close' in result && typeof result.close === 'function') result.close();
  }
}
