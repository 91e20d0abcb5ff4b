/** What lies at a path, and small changes to it: the questions that formats ask before they open anything. */

import { existsSync, readdirSync, realpathSync, rmdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { readError } from './errors.js';

/** Whether something is there, a link's target included. */
export function exists(path: string): boolean {
  return existsSync(path);
}

export function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

export function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/**
 * Names in a directory, in the system's order.
 *
 * @throws CrayonError `file-not-found`, `file-unreadable`
 */
export function entriesOf(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    throw readError(dir, error);
  }
}

/** The path without links; it must exist. */
export function realPath(path: string): string {
  return realpathSync(path);
}

/** Marks a file as used just now. */
export function touch(path: string): void {
  const now = new Date();
  utimesSync(path, now, now);
}

/** Removes a file or a whole directory; what is not there is no failure. */
export function removePath(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

export function removeIfEmpty(dir: string): void {
  if (existsSync(dir) && readdirSync(dir).length === 0) rmdirSync(dir);
}
