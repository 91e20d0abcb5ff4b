/**
 * Real clients on a real server: each client's own package lists models, chats whole and streamed, asks a customisation, meets an
 * error, and, where the server has them, asks for JSON of a schema and for calls of functions.
 *
 *     npx tsx test/clients/main.ts [--only openai-python,ollama] [--url http://127.0.0.1:8080] [--install]
 *
 * Packages are looked for in $CRAYON_CLIENTS: node_modules, and a Python in venv; lm-eval's with $CRAYON_LM_EVAL_PYTHON too. A client
 * whose packages are not there is skipped, and said so. `--install` puts them there. Exits 1 when a client failed.
 */

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CLIENTS, type Client, findClient } from './clients.js';
import { startServer, type Task, taskFor, tidy } from './server.js';

/** A step of a client: `ok`, why it was skipped, or what went wrong. */
interface Step {
  step: string;
  ok?: boolean;
  skipped?: string;
  failed?: string;
}

export interface Row {
  name: string;
  version: string;
  outcome: 'passed' | 'skipped' | 'failed';
  words: string;
}

/** Runs one client's script to its end. @param found what `findClient` says of it */
export async function runClient(
  { name }: Client,
  found: ReturnType<typeof findClient>,
  folder: string | undefined,
  task: Task,
): Promise<Row> {
  if ('missing' in found) return { name, version: '', outcome: 'skipped', words: `not installed: ${found.missing}` };
  const [program, ...args] = found.command;
  const child = spawn(program!, args, {
    env: {
      ...process.env,
      CRAYON_CLIENTS: folder ?? '',
      CRAYON_CLIENT_TASK: JSON.stringify(task),
      ...{ HF_HUB_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'false', LANGSMITH_TRACING: 'false' },
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 300_000);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  const steps = stdout
    .split('\n')
    .filter((line) => line.startsWith('{"step"'))
    .map((line) => JSON.parse(line) as Step);
  const failed = steps.filter((step) => step.failed !== undefined);
  const passed = steps.filter(({ ok }) => ok).map(({ step }) => step);
  const skipped = steps.flatMap(({ step, skipped: why }) => (why === undefined ? [] : [`${step} (${why})`]));
  const words = [
    passed.join(', '),
    skipped.length > 0 ? `skipped: ${skipped.join(', ')}` : '',
    ...failed.map((step) => `FAILED ${step.step}: ${step.failed}`),
    code === 0 || failed.length > 0 ? '' : `ended with ${code}: ${stderr.trim().slice(-2000)}`,
  ];
  const outcome = code === 0 && failed.length === 0 && passed.length > 0 ? 'passed' : 'failed';
  return { name, version: found.version, outcome, words: words.filter(Boolean).join('; ') };
}

function install(folder: string): void {
  const run = (command: string, args: string[]) => {
    const { status } = spawnSync(command, args, { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] });
    if (status === 0) return;
    console.error(`${command} ${args.slice(0, 3).join(' ')} ... failed: what it brings is skipped`);
    process.exitCode = 1;
  };
  mkdirSync(folder, { recursive: true });
  const manifest = join(folder, 'package.json');
  if (!existsSync(manifest)) writeFileSync(manifest, '{"private":true}\n');
  const npm = new Set(CLIENTS.flatMap(({ packages }) => (Array.isArray(packages) ? packages : [])));
  run('npm', ['install', '--no-fund', '--no-audit', '--no-progress', ...npm]);
  const python = join(folder, 'venv', 'bin', 'python');
  if (!existsSync(python)) run('python3', ['-m', 'venv', 'venv']);
  // lm-eval brings PyTorch: it has a Python of its own.
  const pypi = CLIENTS.flatMap(({ name, packages }) =>
    name === 'lm-eval' || Array.isArray(packages) ? [] : Object.keys(packages),
  );
  run(python, ['-m', 'pip', 'install', '--quiet', '--retries', '0', ...pypi]);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { only: { type: 'string' }, url: { type: 'string' }, install: { type: 'boolean' } },
  });
  const folder = process.env.CRAYON_CLIENTS;
  if (values.install) {
    if (folder === undefined) throw new Error('CRAYON_CLIENTS names the folder to install into: set it');
    install(folder);
    return;
  }
  const names = values.only?.split(',');
  const unknown = names?.filter((name) => !CLIENTS.some((client) => client.name === name)) ?? [];
  if (unknown.length > 0) {
    throw new Error(`no client ${unknown.join(', ')}; there are ${CLIENTS.map(({ name }) => name).join(', ')}`);
  }
  const server = values.url === undefined ? await startServer() : { url: values.url, stop: () => {} };
  try {
    const task = await taskFor(server.url);
    for (const client of CLIENTS.filter(({ name }) => names === undefined || names.includes(name))) {
      const { name, version, outcome, words } = await runClient(client, findClient(client, folder), folder, task);
      console.log(`${name.padEnd(14)} ${version.padEnd(10)} ${outcome.padEnd(8)} ${words}`);
      if (outcome === 'failed') process.exitCode = 1;
    }
    await tidy(task);
  } finally {
    server.stop();
  }
}

if (process.argv[1] === import.meta.filename) await main();
