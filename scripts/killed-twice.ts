/**
 * A pool built in one go, and the same pool built by a process that is killed twice: the same bytes?
 *
 *     npx tsx scripts/killed-twice.ts --out DIR -- <options of crayon build-pool but --pool>
 *
 * for example, on a real base and 1,200 real examples, two epochs, six adapters:
 *
 *     npx tsx scripts/killed-twice.ts --out /tmp/killed -- --model SmolLM2-135M-Instruct.Q4_1.gguf \
 *         --data configs/o-lora-train.yaml --data-dir data/o-lora --limit 100 --clusters 6 --epochs 2 --max-length 128 --long skip
 *
 * kill -9 falls at a third and at two thirds of the steps, wherever the step is; checkpoints are written every five seconds. Prints
 * what was killed when, the times, and whether every file of both pools has the same SHA-256; exit status 1 where one differs.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { SafetensorsFile } from '../src/safetensors/read.js';

const { values, positionals } = parseArgs({ options: { out: { type: 'string' } }, allowPositionals: true });
if (values.out === undefined || positionals.length === 0) {
  console.error('usage: npx tsx scripts/killed-twice.ts --out DIR -- <options of crayon build-pool but --pool>');
  process.exit(2);
}
const out = values.out;
const ENTRY = fileURLToPath(new URL('../bin/crayon.ts', import.meta.url));
const POLL_MS = 200;

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const whole = join(out, 'whole');
const killed = join(out, 'killed');
await finish('in one go', start(whole));
const { training } = JSON.parse(readFileSync(join(whole, 'pool.json'), 'utf8')) as { training: { steps: number } };
for (const share of [1 / 3, 2 / 3]) {
  const child = start(killed);
  const step = await reached(killed, Math.ceil(share * training.steps), child);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  console.log(`killed: behind the checkpoint of step ${step} of ${training.steps}`);
}
await finish('continued', start(killed));

const ours = digests(whole);
const theirs = digests(killed);
const names = [...new Set([...ours.keys(), ...theirs.keys()])];
const different = names.filter((name) => ours.get(name) !== theirs.get(name));
console.log(
  `${names.length} files, ${different.length} differ${different.length > 0 ? `: ${different.join(', ')}` : ''}`,
);
process.exitCode = different.length === 0 ? 0 : 1;

function start(pool: string): ChildProcess {
  const args = ['build-pool', ...positionals, '--pool', pool, '--checkpoint-seconds', '5', '--quiet'];
  return spawn(process.execPath, [...process.execArgv, ENTRY, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function finish(what: string, child: ChildProcess): Promise<void> {
  const started = performance.now();
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new Error(`build-pool ended with ${code}`);
  console.log(`${what}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
}

/** Waits until a checkpoint holds at least so many steps. @returns how many */
async function reached(pool: string, steps: number, child: ChildProcess): Promise<number> {
  const checkpoint = join(`${pool}.building`, 'training.safetensors');
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (child.exitCode !== null) throw new Error(`build-pool ended with ${child.exitCode} before step ${steps}`);
    if (!existsSync(checkpoint)) continue;
    const file = SafetensorsFile.open(checkpoint);
    const [done] = file.info('losses').shape as [number];
    file.close();
    if (done >= steps) return done;
  }
}

/** SHA-256 of every file, by its path within the directory. */
function digests(dir: string): Map<string, string> {
  const paths = readdirSync(dir, { recursive: true, encoding: 'utf8' }).map((name) => join(dir, name));
  const files = paths.filter((path) => statSync(path).isFile());
  return new Map(
    files.map((path) => [relative(dir, path), createHash('sha256').update(readFileSync(path)).digest('hex')]),
  );
}
