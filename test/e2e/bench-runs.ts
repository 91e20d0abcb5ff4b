/** What tests of `crayon bench` read off a run directory, and a run to be stopped. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cell, RunManifest } from '../../src/bench/types.js';
import { start } from './helpers.js';

/** What `crayon bench --json` says of a run. */
export interface RunDocument {
  manifest: RunManifest;
  cells: Cell[];
  reused: number;
}

/** Every file of a run that is a result, without the times in it. */
export function resultsOf(run: string): Record<string, string> {
  const files = ['cells', 'answers'].flatMap((part) => readdirSync(join(run, part)).map((name) => join(part, name)));
  return Object.fromEntries(files.sort().map((name) => [name, withoutTimes(readFileSync(join(run, name), 'utf8'))]));
}

export const withoutTimes = (text: string) =>
  text
    .replaceAll(/"(customisationMs|latencyMs)": ?[\d.e+-]+/g, '"$1":0')
    .replaceAll(/"latencyMs": \{[^}]*\}/g, '"latencyMs":{}')
    .replaceAll(/"(started|finished|commit)": [^,\n]+/g, '"$1":0');

export const cellsOf = (run: string) => (existsSync(join(run, 'cells')) ? readdirSync(join(run, 'cells')) : []);

/** Starts a run as a child and waits for its cells: two of them, or as many as are given. */
export async function startCells(run: string, args: string[], cells = 2) {
  const child = start(args);
  let over = false;
  void child.ended.then(() => {
    over = true;
  });
  while (cellsOf(run).filter((name) => name.endsWith('.json') && !name.startsWith('.')).length < cells) {
    if (over) throw new Error(`ended before its second cell: ${child.stderr()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return child;
}
