/** Programs of a test in the place of a queue's own, first on PATH; what they are called with is kept. */

import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { temporaryDir } from './files.js';

export interface FakePrograms {
  dir: string;
  /** Puts a program there that runs `script` (of a POSIX shell). */
  put(name: string, script: string): void;
  /** Lines of what was called. */
  calls(): string[];
}

export function fakePrograms(): FakePrograms {
  const dir = temporaryDir();
  const path = process.env.PATH!;
  mkdirSync(join(dir, 'bin'));
  process.env.PATH = `${join(dir, 'bin')}${delimiter}${path}`;
  onTestFinished(() => {
    process.env.PATH = path;
  });
  const put = (name: string, script: string) => {
    const program = join(dir, 'bin', name);
    writeFileSync(program, `#!/bin/sh\necho "${name} $*" >>"${dir}/calls"\ncd "${dir}"\n${script}\n`);
    chmodSync(program, 0o755);
  };
  const calls = () =>
    existsSync(join(dir, 'calls')) ? readFileSync(join(dir, 'calls'), 'utf8').trim().split('\n') : [];
  return { dir, put, calls };
}
