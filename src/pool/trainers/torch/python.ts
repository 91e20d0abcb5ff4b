/** The Python that an external trainer runs in: whether it is there with its packages, its run, what it says, and how it ends. */

import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { CrayonError } from '../../../core/errors.js';
import { LIMITS } from '../../../core/limits.js';
import { isJsonObject, type JsonObject } from '../../../files/json.js';
import { shippedPath } from '../../../files/package.js';

/** What the script needs, as versions' first numbers; it says them too. */
const NEEDED = { python: [3, 10], torch: [2, 4], transformers: [5, 0], safetensors: [0, 4] } as const;
/** What is kept of its standard error, to say why it ended. */
const TAIL_CHARS = 8_000;
/** That a time without a word is counted in. */
const WATCH_STEPS = 10;
const NAME_IT = 'Name a Python that has them with --python or CRAYON_PYTHON';

export const trainerScript = () => shippedPath('scripts', 'trainers', 'torch_trainer.py');

export type Versions = Record<keyof typeof NEEDED, string>;

/** @throws CrayonError `trainer-unavailable` where there is no such Python, or it lacks a package or has one that is too old */
export async function pythonVersions(python: string): Promise<Versions> {
  const { error, stdout, stderr } = await output(python, [trainerScript(), '--versions']);
  const found = documentOf(stdout.trim());
  if (found === undefined) {
    const isMissing = error !== null && 'code' in error && error.code === 'ENOENT';
    const why = isMissing ? 'no such program' : lastWords(stderr) || error?.message || 'it says nothing';
    throw new CrayonError('trainer-unavailable', `${python}: ${why}`, {
      hint: `${NAME_IT}: torch, transformers and safetensors, on Python ${NEEDED.python.join('.')} or later.`,
      cause: error ?? undefined,
    });
  }
  const lacking = Object.entries(NEEDED)
    .filter(([name, least]) => isBelow(found[name], least))
    .map(
      ([name, least]) =>
        `${name} ${found[name] ?? 'is missing'}${found[name] ? `, expected ${least.join('.')} or later` : ''}`,
    );
  if (lacking.length === 0) return found as Versions;
  const packages = Object.entries(NEEDED).filter(([name]) => name !== 'python');
  const wanted = packages.map(([name, least]) => `"${name}>=${least.join('.')}"`).join(' ');
  throw new CrayonError('trainer-unavailable', `${python}: ${lacking.join('; ')}`, {
    hint: `${python} -m pip install ${wanted}. ${NAME_IT}.`,
  });
}

function output(program: string, args: string[]) {
  return new Promise<{ error: Error | null; stdout: string; stderr: string }>((resolve) => {
    const limits = { timeout: LIMITS.trainerVersionsMs, maxBuffer: 2 ** 20 };
    execFile(program, args, limits, (error, stdout, stderr) => resolve({ error, stdout, stderr }));
  });
}

function isBelow(found: unknown, [major, minor]: readonly [number, number]): boolean {
  const [a = 0, b = 0] = typeof found === 'string' ? found.split('.').map((part) => Number.parseInt(part, 10)) : [];
  return a < major || (a === major && b < minor);
}

export interface TrainerRun {
  python: string;
  /** all arguments after the program */
  args: readonly string[];
  onEvent: (event: JsonObject) => void;
  signal?: AbortSignal | undefined;
  silenceMs?: number;
  stopMs?: number;
}

/**
 * Runs a trainer until it ends. Its standard input stays open for as long as it is wanted: it stops, with a checkpoint, when that
 * ends, by the signal or because this process is gone.
 *
 * @throws CrayonError `trainer-failed` with its last words; `out-of-memory`
 */
export async function runTrainer(run: TrainerRun): Promise<void> {
  const { python, args, onEvent, signal, silenceMs = LIMITS.trainerSilenceMs, stopMs = LIMITS.trainerStopMs } = run;
  // A group of its own: Ctrl-C is for this process, which then asks; and torchrun's children end with it.
  const hasGroups = process.platform !== 'win32';
  const child = spawn(python, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: hasGroups });
  const kill = () => {
    try {
      if (hasGroups && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      else child.kill('SIGKILL');
    } catch {
      // It is gone.
    }
  };
  let isSilent = false;
  let watch: NodeJS.Timeout | undefined;
  const endAfter = (ms: number, silent: boolean) => {
    clearInterval(watch);
    // In steps: time in which this process itself stood still (Ctrl-Z, a debugger) is one step, and no silence of the trainer.
    let left = WATCH_STEPS;
    watch = setInterval(() => {
      if (--left > 0) return;
      clearInterval(watch);
      isSilent = silent;
      kill();
    }, ms / WATCH_STEPS);
  };
  const stop = () => {
    child.stdin.end();
    endAfter(stopMs, false);
  };
  child.stdin.on('error', () => {}); // it ended before it was asked to
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-TAIL_CHARS);
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!signal?.aborted) endAfter(silenceMs, true);
    const event = documentOf(line);
    if (event !== undefined) onEvent(event);
  });
  endAfter(silenceMs, true);
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  process.once('exit', kill);
  try {
    const end = await new Promise<{ code: number | null; kill: NodeJS.Signals | null; error?: Error }>((resolve) => {
      child.once('error', (error) => resolve({ code: null, kill: null, error }));
      child.once('close', (code, kill) => resolve({ code, kill }));
    });
    if (end.code === 0 || signal?.aborted) return;
    throw failure(python, end, words, isSilent ? silenceMs : undefined);
  } finally {
    clearInterval(watch);
    process.off('exit', kill);
    signal?.removeEventListener('abort', stop);
  }
}

const GOES_ON = 'The same command continues from the last checkpoint.';

function failure(
  python: string,
  { code, kill, error }: { code: number | null; kill: string | null; error?: Error },
  words: string,
  silenceMs: number | undefined,
): CrayonError {
  const last = lastWords(words);
  if (silenceMs !== undefined) {
    const message = `${python}: the trainer said nothing for ${silenceMs / 1000} s and was ended${last && `: ${last}`}`;
    return new CrayonError('trainer-failed', message, { hint: `Smaller batches say more often. ${GOES_ON}` });
  }
  const isKilled = kill === 'SIGKILL' || /Signal 9/.test(words);
  if (isKilled || /out of memory|OutOfMemoryError|not enough memory/i.test(words)) {
    const message = `${python}: the trainer ${isKilled ? 'was killed, as a system does that has no memory left' : `ended: ${last}`}`;
    const hint = 'Give a smaller --batch-size with more --gradient-accumulation, or --trainer-dtype bfloat16.';
    return new CrayonError('out-of-memory', message, { hint });
  }
  const how = error?.message ?? `${kill ?? `exit code ${code}`}${last && `: ${last}`}`;
  return new CrayonError('trainer-failed', `${python}: the trainer ended with ${how}`, { hint: GOES_ON, cause: words });
}

/** The last lines of what a program said: of a Python error, what is wrong. */
function lastWords(text: string): string {
  return text.trim().split('\n').slice(-3).join(' ').replace(/\s+/g, ' ').slice(-600);
}

function documentOf(line: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
