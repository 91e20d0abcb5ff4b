/** A program that stands for a Python: a script of ours for Node, which is told what to say and how to end. */

import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const GOOD = { python: '3.12.1', torch: '2.11.0', transformers: '5.17.0', safetensors: '0.8.0' };

export interface FakePython {
  /** what `--versions` says; a good one's where left out */
  versions?: Record<string, string | null>;
  /** JavaScript run for a job; `say(event)` prints a line, `dir` is the job's directory */
  job?: string;
}

/** @returns the path of the program, in `dir` */
export function fakePython(dir: string, { versions = GOOD, job = '' }: FakePython = {}): string {
  const path = join(dir, 'fake-python');
  const script = `#!${process.execPath}
const say = (event) => console.log(JSON.stringify(event));
const dir = process.argv[process.argv.indexOf('--job') + 1];
if (process.argv.includes('--versions')) say(${JSON.stringify(versions)});
else { ${job} }
`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return path;
}
