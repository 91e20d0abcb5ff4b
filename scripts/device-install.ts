/**
 * Installs this clone as a device has it, which blends and serves on its processor and neither trains nor has a GPU:
 *
 *     npm run device -- /opt/crayon [--check]
 *
 * It packs the clone and installs the package in the folder by the command of docs/install.md, which it prints. `--check` then runs what
 * a device runs, and says what it takes: megabytes, and seconds from a process's start.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { llamaPackages } from '../src/engine/llama/runtime.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
/** What a device installation may take. */
const MOST_MEGABYTES = 250;
const START_MS = 60_000;

function npm(args: string[], cwd: string): string {
  console.log(`$ npm ${args.join(' ')}`);
  const { status, stdout, stderr } = spawnSync('npm', args, {
    cwd,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  if (status !== 0) throw new Error(`npm ended with ${status}: ${stderr.trim()}`);
  return stdout.trim();
}

function install(folder: string): void {
  const packed = mkdtempSync(join(tmpdir(), 'crayon-pack-'));
  try {
    npm(['pack', '--silent', '--pack-destination', packed], ROOT);
    const [tarball] = readdirSync(packed) as [string];
    mkdirSync(folder, { recursive: true });
    copyFileSync(join(packed, tarball), join(folder, tarball)); // stays: package-lock.json names it
    const manifest = join(folder, 'package.json');
    if (!existsSync(manifest)) writeFileSync(manifest, `${JSON.stringify({ private: true })}\n`);
    npm(['install', '--omit=optional', '--ignore-scripts', `./${tarball}`, ...llamaPackages()], folder);
  } finally {
    rmSync(packed, { recursive: true });
  }
}

/** Bytes on the disk below a folder: whole blocks, as `du` counts them. */
function bytesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(join(folder, name), { throwIfNoEntry: false }))
    .reduce((sum, found) => sum + (found === undefined ? 0 : (found.blocks ?? found.size / 512) * 512), 0);
}

/** Every package's folder with its megabytes, the largest first. */
function sizes(modules: string): Array<[name: string, megabytes: number]> {
  const names = readdirSync(modules).flatMap((name) =>
    name.startsWith('@') ? readdirSync(join(modules, name)).map((inner) => `${name}/${inner}`) : [name],
  );
  return names
    .filter((name) => statSync(join(modules, name)).isDirectory())
    .map((name): [string, number] => [name, bytesOf(join(modules, name)) / 1e6])
    .sort(([, a], [, b]) => b - a);
}

const start = (entry: string, args: string[]) =>
  spawn(process.execPath, [entry, ...args], { stdio: ['ignore', 'pipe', 'pipe'], cwd: dirname(entry) });

/** Runs a command to its end. */
async function seconds(entry: string, args: string[]): Promise<number> {
  const started = performance.now();
  const child = start(entry, args);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text));
  const code = await new Promise((done) => child.on('close', done));
  if (code !== 0) throw new Error(`crayon ${args[0]} ended with ${code}: ${said}`);
  return (performance.now() - started) / 1000;
}

/** Starts a server, and gives its address and how long it took to listen. */
async function serve(entry: string, args: string[]): Promise<{ child: ChildProcess; url: string; listens: number }> {
  const started = performance.now();
  const child = start(entry, ['serve-edge', '--port', '0', ...args]);
  let said = '';
  const url = await new Promise<string>((done, failed) => {
    child.stderr.on('data', (text) => {
      said += text;
      const [, found] = /Listens +(http\S+)/.exec(said) ?? [];
      if (found !== undefined) done(found);
    });
    child.on('close', () => failed(new Error(`serve-edge ended: ${said}`)));
    setTimeout(() => failed(new Error(`serve-edge does not listen: ${said}`)), START_MS).unref();
  });
  return { child, url, listens: (performance.now() - started) / 1000 };
}

async function post(url: string, body: object): Promise<number> {
  const started = performance.now();
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}: ${await answer.text()}`);
  await answer.json();
  return (performance.now() - started) / 1000;
}

async function check(folder: string): Promise<void> {
  const modules = join(folder, 'node_modules');
  const crayon = join(modules, 'crayon-edge');
  const entry = join(crayon, 'dist', 'bin', 'crayon.js');
  const scratch = mkdtempSync(join(tmpdir(), 'crayon-device-'));
  const pool = join(crayon, 'models', 'crayon-edge-pool');
  const rows: Array<[string, string]> = [];
  const took = (what: string, time: number) => rows.push([what, `${time.toFixed(2)} s`]);
  try {
    took('--version', await seconds(entry, ['--version']));
    took('inspect (pool)', await seconds(entry, ['inspect', pool]));
    const examples = join(crayon, 'suite', 'examples', 'bank.jsonl');
    const blended = join(scratch, 'blended');
    took('blend', await seconds(entry, ['blend', '--pool', pool, '--examples', examples, '--out', blended]));
    const model = ['--model', join(crayon, 'models', 'crayon-edge'), '--adapter', blended, '--mode', 'only_on_device'];
    const places = [...model, '--gpu', 'false', '--cache-dir', join(scratch, 'cache')];
    for (const what of ['first start of serve-edge', 'later start']) {
      const { child, url, listens } = await serve(entry, places);
      took(what, listens);
      const messages = [{ role: 'user', content: 'Once upon a time' }];
      const request = { model: 'crayon-edge', messages, max_tokens: 16 };
      if (what === 'later start') took('one request', await post(`${url}/v1/chat/completions`, request));
      child.kill();
      await new Promise((done) => child.on('close', done));
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const packages = sizes(modules);
  const megabytes = packages.reduce((sum, [, size]) => sum + size, 0);
  for (const [name, size] of packages.slice(0, 8)) rows.push([name, `${size.toFixed(1)} MB`]);
  rows.push([`all ${packages.length} packages`, `${megabytes.toFixed(1)} MB of ${MOST_MEGABYTES}`]);
  for (const [what, value] of rows) console.log(`${what.padEnd(36)} ${value.padStart(10)}`);
  if (megabytes > MOST_MEGABYTES) process.exitCode = 1;
}

const { values, positionals } = parseArgs({ options: { check: { type: 'boolean' } }, allowPositionals: true });
const [folder] = positionals;
if (folder === undefined) throw new Error('which folder? npm run device -- /opt/crayon');
install(resolve(folder));
if (values.check) await check(resolve(folder));
