/**
 * A model's trial run: llama.cpp ends the whole process where a file breaks one of its assertions, so that a file is first loaded, and
 * asked for a token, in a process of its own. What has passed is remembered.
 *
 * Serving from such a process would be a wall too, but each token would have to cross it: docs/serving.md has what that costs.
 */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { CrayonError, type ErrorCode } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { childScript } from '../../core/long-work.js';
import { ensureDirectory } from '../../files/atomic.js';
import { exists, touch } from '../../files/io.js';
import { writeJson } from '../../files/json.js';
import { defaultCacheDir } from '../../gguf/cache.js';
import type { GgufFile } from '../../gguf/read.js';
import type { CacheType } from './memory.js';
import { type Gpu, llamaVersion } from './runtime.js';

/** Goes up when a trial tries more than it did. */
const TRIAL_VERSION = 1;

/** What is tried: all of it is in the child's arguments. */
export interface TrialOptions {
  /** a GGUF file */
  model: string;
  /** GGUF LoRAs of others, which requests will ask for */
  adapters?: readonly string[];
  /** default `auto` */
  gpu?: Gpu;
  /** tokens of prompt and answer together; null is the model's own, at most 4096 */
  contextTokens?: number | null;
  /** number type of keys and values in the cache (default F16) */
  cacheType?: CacheType;
}

/** The child's last line. */
export type TrialReply = { ok: true } | { ok: false; code: ErrorCode | null; message: string; hint?: string };

/**
 * @param files the model and the adapters, open, for their digests
 * @param cacheDir where it is remembered that they have passed; null: nowhere
 * @throws CrayonError `gguf-unsupported` where llama.cpp ended the process, with what it said; what loading or the token threw
 */
export async function tryInChild(
  options: TrialOptions,
  files: readonly GgufFile[],
  cacheDir: string | null = defaultCacheDir(),
): Promise<void> {
  const hash = createHash('sha256').update(
    JSON.stringify([TRIAL_VERSION, await llamaVersion(), options.gpu ?? 'auto']),
  );
  // The header whole, the weights as samples: an assertion is about shapes and kinds, and reading gigabytes would cost more than the trial.
  for (const file of files)
    for (const part of [`\n${file.sizeBytes}\n`, ...file.sample(64, 4096, 2 ** 20)]) hash.update(part);
  const passed = cacheDir && join(cacheDir, `${hash.digest('hex').slice(0, 16)}.passed`);
  if (passed !== null && exists(passed)) {
    try {
      touch(passed); // as with models made there
    } catch {}
    return;
  }
  await inChild(options);
  try {
    if (passed === null) return;
    ensureDirectory(cacheDir!);
    writeJson(passed, { model: options.model });
  } catch {} // a cache that cannot be written costs the next start a trial
}

/** @param script the arguments of `node`, for tests */
export function inChild(options: TrialOptions, script = childScript(import.meta.url, 'trial-child')): Promise<void> {
  const args = [...script, JSON.stringify(options)];
  const { NODE_OPTIONS: _, ...env } = process.env; // may hold a debugger's port
  const settings = {
    timeout: LIMITS.trialMs,
    killSignal: 'SIGKILL',
    maxBuffer: LIMITS.trialOutputBytes,
    // ggml would start a debugger for a list of its functions.
    env: { ...env, GGML_NO_BACKTRACE: '1' },
  } as const;
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, args, settings, (error, stdout, stderr) => {
      process.removeListener('exit', end);
      const reply = parsed(stdout);
      if (reply?.ok === true) resolve();
      else if (reply !== null) reject(thrownThere(reply, options.model));
      // No process can be had here at all: then there is no wall, as before there was one.
      else if (error !== null && 'syscall' in error) resolve();
      else reject(aborted(options, child.signalCode, child.exitCode, stderr));
    });
    const end = (): void => void child.kill('SIGKILL');
    process.once('exit', end);
  });
}

function parsed(stdout: string): TrialReply | null {
  try {
    return JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as TrialReply;
  } catch {
    return null;
  }
}

function thrownThere({ code, message, hint }: Extract<TrialReply, { ok: false }>, model: string): Error {
  if (code === null) return new Error(message);
  return new CrayonError(code, message.includes(model) ? message : `${model}: ${message}`, { hint });
}

/** What llama.cpp said last before it ended the process. */
function aborted(
  options: TrialOptions,
  signal: NodeJS.Signals | null,
  code: number | null,
  stderr: string,
): CrayonError {
  const { model, adapters = [] } = options;
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const said =
    lines.findLast((line) => /GGML_ASSERT|GGML_ABORT|fatal error|terminate called|what\(\)/.test(line)) ?? lines.at(-1);
  const how = signal === 'SIGKILL' ? 'was killed, for time or memory' : `ended with ${signal ?? `exit code ${code}`}`;
  const what = said === undefined ? 'and said nothing' : `and said: ${said.trim().slice(0, 300)}`;
  const files = [model, ...adapters].join(', ');
  return new CrayonError('gguf-unsupported', `${files}: llama.cpp ${how} in a trial run ${what}`, {
    hint: 'The file is damaged, or made by or for a program that writes what llama.cpp does not expect: fetch it again, or convert the model anew.',
  });
}
