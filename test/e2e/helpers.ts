/** Runs the command line, in this process or as a child, on the tiny fixture models and a made-up training set. */

import assert from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll } from 'vitest';
import { main } from '../../src/cli/main.js';
import type { ErrorCode } from '../../src/core/errors.js';
import { fixture } from '../helpers/fixtures.js';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const LLAMA = fixture('models', 'llama');
export const OTHER = fixture('models', 'llama-linear');

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** A folder for a whole test file, removed at its end. */
export function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'crayon-e2e-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Runs one command line in this process, with streams that are no terminals. */
export async function crayon(argv: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const out: string[] = [];
  const err: string[] = [];
  const sink = (into: string[]) =>
    ({
      write(text: string) {
        into.push(text);
        return true;
      },
    }) as unknown as NodeJS.WritableStream;
  const code = await main(argv, { stdout: sink(out), stderr: sink(err), env });
  return { code, stdout: out.join(''), stderr: err.join('') };
}

/** Runs one command line that must succeed. */
export async function succeed(argv: readonly string[]): Promise<Outcome> {
  const outcome = await crayon(argv);
  assert.equal(outcome.code, 0, outcome.stderr);
  return outcome;
}

/** Runs one command line with `--json` and returns its document. */
export async function document<T = Record<string, unknown>>(argv: readonly string[]): Promise<T> {
  const { stdout } = await succeed([...argv, '--json']);
  return JSON.parse(stdout) as T;
}

export interface Refusal {
  code: ErrorCode | 'internal';
  message: string;
  hint?: string;
  exit: number;
}

/** Runs one command line that must fail, and returns its one JSON document. */
export async function refusal(argv: readonly string[]): Promise<Refusal> {
  const { code, stdout } = await crayon([...argv, '--json']);
  const { error } = JSON.parse(stdout) as { error: Omit<Refusal, 'exit'> };
  // To read all messages of the suite with the eyes of a user: CRAYON_ERROR_LOG=errors.txt npx vitest run test/e2e
  const log = process.env.CRAYON_ERROR_LOG;
  if (log) appendFileSync(log, `[${error.code}] ${error.message}\n    -> ${error.hint ?? '(no hint)'}\n`);
  return { ...error, exit: code };
}

export interface Child {
  process: ChildProcess;
  /** Text on stderr so far. */
  stderr(): string;
  /** Resolves when stderr has a match. */
  seen(pattern: RegExp): Promise<void>;
  ended: Promise<Outcome & { signal: NodeJS.Signals | null }>;
}

/** Where a server listens, once it does. */
export async function addressOf(server: Child): Promise<string> {
  await server.seen(/Listens +http/);
  return /Listens +(http\S+)/.exec(server.stderr())![1]!;
}

/** What makes Node run TypeScript. */
export const TSX = pathToFileURL(join(ROOT, 'node_modules', 'tsx', 'dist', 'loader.mjs')).href;

/** What starts the command line: built from the sources at the start of the run (test/helpers/built.ts). */
export const ENTRY = [process.env.CRAYON_ENTRY!];

/** In place of the user's own: servers keep customisations there. */
const STATE = mkdtempSync(join(tmpdir(), 'crayon-e2e-state-'));
process.once('exit', () => rmSync(STATE, { recursive: true, force: true }));

/** Starts the command line as one child process (no wrapper in between, so that signals reach it). */
export function start(
  argv: readonly string[],
  options: { env?: NodeJS.ProcessEnv; entry?: string[]; stdout?: number } = {},
): Child {
  const entry = options.entry ?? ENTRY;
  const env = { ...process.env, XDG_STATE_HOME: STATE, ...options.env };
  const child = spawn(process.execPath, [...entry, ...argv], {
    env,
    cwd: ROOT,
    stdio: ['ignore', options.stdout ?? 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (text) => {
    stdout += text;
  });
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  const ended = new Promise<Outcome & { signal: NodeJS.Signals | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code: code ?? -1, signal, stdout, stderr }));
  });
  const seen = async (pattern: RegExp) => {
    let over = false;
    void ended.then(() => {
      over = true;
    });
    while (!pattern.test(stderr)) {
      if (over) throw new Error(`ended before ${pattern}: ${stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  return { process: child, stderr: () => stderr, seen, ended };
}

const TOPICS = [
  { name: 'weather', words: ['rain', 'sun', 'snow'], answers: [' wet', ' dry', ' white'] },
  { name: 'animals', words: ['cat', 'dog', 'cow'], answers: [' meow', ' woof', ' moo'] },
  { name: 'sums', words: ['1+1=', '2+2=', '1+2='], answers: [' 2', ' 4', ' 3'] },
];

export interface RecordOfTask {
  prompt: string;
  completion: string;
  choices?: string[];
  answer?: number;
}

/** `count` examples of three topics in turn, or of one. */
export function records(count: number, { topic, choices = false }: { topic?: number; choices?: boolean } = {}) {
  return Array.from({ length: count }, (_, i): RecordOfTask => {
    const { name, words, answers } = TOPICS[topic ?? i % 3]!;
    const answer = Math.floor(i / 3) % 3;
    const record = { prompt: `${name} ${words[answer]} ${i}:`, completion: answers[answer]! };
    return choices ? { ...record, choices: answers, answer } : record;
  });
}

/** Writes records as JSONL; a string stands for a line as it is. */
export function writeJsonl(path: string, lines: ReadonlyArray<unknown>): string {
  writeFileSync(path, lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''));
  return path;
}

/** The arguments of a small build: 24 examples, three adapters of rank 2. */
export function buildArgs(data: string, pool: string, ...more: string[]): string[] {
  const small = ['--clusters', '3', '--rank', '2', '--batch-size', '8', '--backend', 'wasm'];
  return ['build-pool', '--model', LLAMA, '--data', data, '--pool', pool, ...small, ...more];
}

/** SHA-256 of every file below a folder, by relative path. */
export function digests(dir: string): Record<string, string> {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
  return Object.fromEntries(paths.map((path) => [path.slice(dir.length + 1), sha256(path)]));
}

/** A copy of a directory that a test may spoil. */
export function copyOf(source: string, target: string): string {
  cpSync(source, target, { recursive: true });
  return target;
}

/** Changes a JSON file. */
export function editJson<T>(path: string, change: (value: T) => void): void {
  const value = JSON.parse(readFileSync(path, 'utf8')) as T;
  change(value);
  writeFileSync(path, JSON.stringify(value, null, 2));
}

/** Overwrites element `index` of an F32 tensor in a safetensors file. */
export function pokeF32(path: string, tensor: string, index: number, value: number): void {
  const bytes = readFileSync(path);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString());
  assert.equal(header[tensor].dtype, 'F32');
  bytes.writeFloatLE(value, 8 + headerBytes + header[tensor].data_offsets[0] + 4 * index);
  writeFileSync(path, bytes);
}
