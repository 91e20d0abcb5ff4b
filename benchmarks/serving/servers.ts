/** Servers in processes of their own: `crayon serve-edge`, and llama.cpp's own server as the Python package xllamacpp brings it. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const START_MS = 300_000;

export interface RunningServer {
  /** up to the path */
  base: string;
  pid: number;
  /** resident memory now, MiB */
  residentMib(): number;
  stop(): Promise<void>;
}

/** A server whose standard output names its address. @throws Error with what the process wrote, where it does not start */
export async function startServer(command: readonly [string, ...string[]], address: RegExp): Promise<RunningServer> {
  const [file, ...args] = command;
  const child = spawn(file, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const base = await new Promise<string>((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`${command.join(' ')}: ${why}: ${said.slice(-2000)}`));
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail(`said no address within ${START_MS / 1000} s`);
    }, START_MS);
    const listen = (chunk: Buffer) => {
      said += chunk.toString();
      const found = address.exec(said)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.once('exit', (code) => fail(`ended with ${code}`));
  });
  said = '';
  child.once('exit', (code, signal) => {
    if (signal !== 'SIGTERM' && code !== 0)
      console.error(`${command.join(' ')} ended with ${signal ?? code}: ${said.slice(-2000)}`);
  });
  return { base, pid: child.pid!, residentMib: () => residentMib(child.pid!), stop: () => stopped(child) };
}

/** @param config as in configs/edge.yaml */
export function startCrayon(config: object): Promise<RunningServer> {
  const path = join(mkdtempSync(join(tmpdir(), 'crayon-bench-')), 'edge.yaml');
  writeFileSync(path, stringify({ port: 0, log: { level: 'silent' }, state_dir: false, ...config }));
  const entry = join(ROOT, 'bin/crayon.ts');
  return startServer(
    [process.execPath, '--import', 'tsx', entry, 'serve-edge', '--config', path],
    /Listens\s+(http:\/\/\S+)/,
  );
}

export interface PeerOptions {
  /** of an environment with xllamacpp */
  python: string;
  model: string;
  /** GGUF files, each at scale 1 where a request says nothing */
  adapters?: readonly string[];
  sequences: number;
  context: number;
  threads: number;
}

export function startLlamaServer(options: PeerOptions): Promise<RunningServer> {
  const { python, model, adapters = [], sequences, context, threads } = options;
  const settings = [sequences, context, threads].map(String);
  const script = join(ROOT, 'benchmarks/serving/llama_server.py');
  return startServer([python, script, model, ...settings, ...adapters], /(http:\/\/127\S+)/);
}

export const residentMib = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;

/** Processor time of a process and its children until now, milliseconds: what a server has worked, whatever else the machine does. */
export function processorMs(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const own = (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  return own + children.reduce((sum, child) => sum + processorMs(Number(child)), 0);
}

/** Linux counts processor time for /proc in hundredths of a second (proc(5), sysconf(_SC_CLK_TCK)). */
const TICK_MS = 10;

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await ended;
  clearTimeout(timer);
}
