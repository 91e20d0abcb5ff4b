/**
 * `crayon serve-edge` as a process of its own, so that what is measured shares neither event loop nor heap with what
 * measures. It is stopped in every case: asked first, then ended; and with this process, should that be killed.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { on } from 'node:events';
import { join, resolve } from 'node:path';
import { CrayonError } from '../../core/errors.js';
import { readText } from '../../files/io.js';
import { writeJson } from '../../files/json.js';
import { PATH_KEYS } from '../../serve/config.js';

export interface LiveServerOptions {
  /** what starts crayon: program and first arguments */
  command: readonly string[];
  /** the keys of its YAML (configs/edge.yaml); relative paths start at the working directory */
  config: Record<string, unknown>;
  /** an existing directory for it */
  dir: string;
  name: string;
  /** more than this in main memory ends it */
  memoryBytes?: number | undefined;
  /** how long it may take to stop when it is asked to, before it is ended */
  stopMs?: number;
  /** the child's environment, where keys are looked up */
  env?: NodeJS.ProcessEnv;
  signal?: AbortSignal | undefined;
}

export interface LiveServer {
  /** up to /v1 */
  baseUrl: string;
  port: number;
  model: string;
  pid: number;
  /** fires when the server is over before it was stopped; the reason is a CrayonError */
  failed: AbortSignal;
  /** the most memory it has used, where the system says */
  peakBytes(): number | null;
  stop(): Promise<void>;
}

const START_MS = 120_000;
const STOP_MS = 5_000;
const MEMORY_MS = 100;
/** What is kept of its standard error, to say why it ended. */
const TAIL_CHARS = 4_000;

/**
 * Starts a server and waits until it listens with its model loaded.
 *
 * @throws CrayonError `server-failed` with its own last words, `server-timeout`, `out-of-memory`, `interrupted`
 */
export async function startServer(options: LiveServerOptions): Promise<LiveServer> {
  const { command, config, dir, name, memoryBytes = Infinity, stopMs = STOP_MS, env = process.env, signal } = options;
  const file = join(dir, `${name}.yaml`);
  const keys = { host: '127.0.0.1', port: 0, log: { level: 'error' }, ...withWholePaths(config) };
  writeJson(file, keys); // JSON is YAML
  const [program, ...first] = command as [string, ...string[]];
  const child = spawn(program, [...first, 'serve-edge', '--config', file, '--json', '--quiet', '--stop-seconds', '1'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env,
  });
  // This process may end in ways that run no `finally`.
  const endWithUs = () => void child.kill('SIGKILL');
  process.once('exit', endWithUs);

  let words = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-TAIL_CHARS);
  });
  const failed = new AbortController();
  const over = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let isStopping = false;
  let peak: number | null = null;
  const fail = (error: CrayonError) => {
    if (!isStopping && !failed.signal.aborted) failed.abort(error);
  };
  child.once('error', (error) => fail(ended(name, error.message)));
  child.once('close', (code, kill) => fail(ended(name, `${words.trim()} (exit ${code ?? kill})`)));

  const watch = setInterval(() => {
    const memory = child.pid === undefined ? null : processMemory(child.pid);
    if (memory === null) return;
    peak = memory.peakBytes;
    if (memory.bytes <= memoryBytes) return;
    fail(tooLarge(name, memory.bytes, memoryBytes));
    child.kill('SIGKILL');
  }, MEMORY_MS);

  const stop = async () => {
    isStopping = true;
    clearInterval(watch);
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), stopMs);
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) await over;
    clearTimeout(force);
    process.off('exit', endWithUs);
  };

  try {
    const { url, port, model } = await announced(child, failed.signal, name, signal);
    const found = { baseUrl: `${url}/v1`, port, model, pid: child.pid! };
    return { ...found, failed: failed.signal, stop, peakBytes: () => peak };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Starts a server, works with it, and stops it. */
export async function withServer<T>(options: LiveServerOptions, work: (server: LiveServer) => Promise<T>): Promise<T> {
  const server = await startServer(options);
  try {
    return await work(server);
  } catch (error) {
    // A server that has ended fails every answer; why it ended is the reason.
    throw server.failed.aborted ? server.failed.reason : error;
  } finally {
    await server.stop();
  }
}

/** Relative paths would start at the file's own folder. */
function withWholePaths(config: Record<string, unknown>): Record<string, unknown> {
  const isPath = (key: string, value: unknown): value is string => PATH_KEYS.includes(key) && typeof value === 'string';
  const entries = Object.entries(config).map(([key, value]) => [key, isPath(key, value) ? resolve(value) : value]);
  return Object.fromEntries(entries);
}

/** The JSON document that a server prints when it is ready. */
type Announced = Pick<LiveServer, 'port' | 'model'> & { url: string };

async function announced(
  child: ChildProcess,
  failed: AbortSignal,
  name: string,
  stopped: AbortSignal | undefined,
): Promise<Announced> {
  const late = AbortSignal.timeout(START_MS);
  const signal = AbortSignal.any([failed, late, stopped].filter((one) => one !== undefined));
  let text = '';
  try {
    for await (const [piece] of on(child.stdout!.setEncoding('utf8'), 'data', { signal })) {
      text += piece;
      const document = parsed(text);
      if (document !== null) return document;
    }
  } catch (error) {
    if (failed.aborted) throw failed.reason;
    if (stopped?.aborted) throw new CrayonError('interrupted', `stopped while ${name} was starting`);
    if (!late.aborted) throw error;
  }
  throw new CrayonError('server-timeout', `${name}: not ready within ${START_MS / 1000} s`);
}

/** null for a text that is not the whole of the document yet. */
function parsed(text: string): Announced | null {
  try {
    const document = JSON.parse(text);
    return ['url', 'port', 'model'].every((key) => document[key] !== undefined) ? document : null;
  } catch {
    return null;
  }
}

function ended(name: string, why: string): CrayonError {
  return new CrayonError('server-failed', `${name}: ended: ${why.replace(/\s+/g, ' ').slice(-1000)}`);
}

function tooLarge(name: string, bytes: number, limit: number): CrayonError {
  const mib = (n: number) => Math.ceil(n / 2 ** 20);
  const message = `${name}: uses ${mib(bytes)} MiB, more than the ${mib(limit)} MiB of its device`;
  return new CrayonError('out-of-memory', message, {
    hint: 'Give the device more memory, a smaller context or a smaller quantisation of the base.',
  });
}

export interface ProcessMemory {
  /** in main memory now, and the most it ever was */
  bytes: number;
  peakBytes: number;
}

/** @returns null where the process is gone, or the system has no /proc */
export function processMemory(pid: number): ProcessMemory | null {
  let status: string;
  try {
    status = readText(`/proc/${pid}/status`);
  } catch {
    return null;
  }
  const of = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
  const [bytes, peakBytes] = [of('VmRSS'), of('VmHWM')];
  return Number.isNaN(bytes) || Number.isNaN(peakBytes) ? null : { bytes, peakBytes };
}
