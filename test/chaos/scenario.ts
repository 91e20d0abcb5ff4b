/** What chaos is brought upon: commands that replace an earlier output, and what a user sees of it. */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exists } from '../../src/files/io.js';

export interface Scenario {
  name: string;
  /** Makes the inputs and an earlier output. */
  prepare(dir: string): Promise<void>;
  /** The words behind `crayon`, or a job of jobs.ts, which replaces that output. */
  command(dir: string): { argv: string[] } | { job: string };
  /** What lies at the output, as a reader of crayon finds it; without times. Throws where it is not whole. */
  output(dir: string): string;
  /** The output's name, which is there at every instant where names can be exchanged. */
  path?: string;
  /** koffi is not installed: two renames in place of an exchange. */
  withoutKoffi?: boolean;
  /** The output comes in parts, a line of it each, and the command goes on with those that are there. */
  grows?: boolean;
}

/** SHA-256 over the names and contents of all files at `path`. */
export function digestOf(path: string, clean: (text: string) => string = (text) => text): string {
  if (!exists(path)) return 'absent';
  const hash = createHash('sha256');
  for (const name of filesIn(path)) hash.update(`${name}\n${clean(readFileSync(join(path, name), 'latin1'))}\n`);
  return hash.digest('hex').slice(0, 16);
}

export function digestOfFile(path: string): string {
  return exists(path) ? createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16) : 'absent';
}

/** Files and directories below a folder, sorted. */
export function filesIn(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
    .sort();
}

export function namesIn(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort();
}
