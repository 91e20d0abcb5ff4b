/**
 * Kills and failing calls at chosen places of a command, and what must be true afterwards: the old output or the new one is there,
 * whole; the next run succeeds with the bytes of one that nothing happened to; and nothing else is left behind by it.
 */

import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createRandom } from '../../src/core/random.js';
import { TSX } from '../helpers/processes.js';
import { namesIn, type Scenario } from './scenario.js';
import { run } from './scenarios.js';

const FAULTS = new URL('faults.mjs', import.meta.url).href;
const KILLS = ['before', 'after', 'partial'] as const;
const ERRORS = ['ENOSPC', 'EIO', 'EROFS'] as const;
type How = (typeof KILLS)[number] | (typeof ERRORS)[number];

interface Call {
  count: number;
  name: string;
  what: string;
}

export interface Outcome {
  scenario: string;
  calls: number;
  kills: number;
  errors: number;
  /** what went wrong, with the order that shows it again */
  faults: string[];
}

export interface Plan {
  root: string;
  seed: number;
  kills: number;
  errors: number;
  /** what Node is given to start the command line */
  entry: readonly string[];
  progress?: (words: string) => void;
}

/** Brings one scenario's share of faults upon it. */
export async function torment(
  scenario: Scenario,
  { root, seed, kills, errors, entry, progress = () => {} }: Plan,
): Promise<Outcome> {
  const [dir, before] = [join(root, 'work'), join(root, 'before')];
  const restore = (): void => {
    rmSync(dir, { recursive: true, force: true });
    cpSync(before, dir, { recursive: true, preserveTimestamps: true });
  };
  rmSync(root, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  await scenario.prepare(dir);
  cpSync(dir, before, { recursive: true });
  const old = scenario.output(dir);

  const log = join(root, 'calls.jsonl');
  const whole = await start(scenario, dir, { log }, entry);
  if (whole.code !== 0) throw new Error(`${scenario.name}: ${whole.stdout} ${whole.stderr}`);
  const calls = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Call);
  const wanted = scenario.output(dir);
  const names = namesIn(dir).join('\n');

  const outcome: Outcome = { scenario: scenario.name, calls: calls.length, kills: 0, errors: 0, faults: [] };
  for (const { at, how } of chosen(calls, { kills, errors, seed: `${seed} ${scenario.name}` })) {
    restore();
    const { signal, code, stdout, stderr } = await start(scenario, dir, { at, how }, entry);
    if ((outcome.kills + outcome.errors) % 10 === 0) progress(`${scenario.name}: ${outcome.kills + outcome.errors}`);
    const { name, what } = calls[at - 1]!;
    const place = `${scenario.name}, ${how} call ${at} of ${calls.length} (${name} ${what})`;
    const complain = (problem: string): void => void outcome.faults.push(`${place}: ${problem}`);
    if (isKill(how)) outcome.kills++;
    else outcome.errors++;
    try {
      // How often a budget's sums are written depends on the time: a run may be over before.
      if (isKill(how) && signal !== 'SIGKILL' && !(scenario.grows && code === 0))
        complain(`not killed, ended with ${code}`);
      if (!isKill(how) && code !== 0 && !/"code": ?"(disk-full|write-failed)"/.test(stdout)) {
        complain(`ended with ${code} ${signal}: ${stdout.slice(-300)} ${stderr.slice(-300)}`);
      }
      if (scenario.path !== undefined && !scenario.withoutKoffi && !existsSync(join(dir, scenario.path)))
        complain('absent');
      const found = scenario.output(dir);
      if (scenario.grows) {
        const parts = new Set(wanted.split('\n'));
        const now = new Set(found.split('\n'));
        if (found !== '' && [...now].some((part) => !parts.has(part))) complain('a part that is none');
        if (
          isKill(how) &&
          stdout
            .trim()
            .split('\n')
            .some((line) => parts.has(line) && !now.has(line))
        )
          complain('forgot');
      } else if (found !== old && found !== wanted) complain(`neither the old output nor the new one: ${found}`);
      const next = await run(scenario.command(dir), dir);
      if (next.code !== 0) complain(`the next run: ${next.code} ${next.stderr.slice(0, 500)}`);
      else if (scenario.output(dir) !== wanted) complain('the next run made something else');
      else if (namesIn(dir).join('\n') !== names) complain(`left: ${namesIn(dir).filter((n) => !names.includes(n))}`);
    } catch (error) {
      complain(String(error));
    }
  }
  rmSync(root, { recursive: true, force: true });
  return outcome;
}

const isKill = (how: How): boolean => (KILLS as readonly string[]).includes(how);

/** Where names change, always, as there an output can be lost; of the rest a seeded choice. */
function chosen(calls: readonly Call[], { kills, errors, seed }: { kills: number; errors: number; seed: string }) {
  const random = createRandom(0, seed);
  const orders: Array<{ at: number; how: How }> = calls.flatMap(({ count: at, name }) =>
    KILLS.filter((how) => how !== 'partial' || name === 'writeSync').map((how) => ({ at, how })),
  );
  const isSwap = ({ at }: { at: number }) => /^(renameSync|exchange)$/.test(calls[at - 1]!.name);
  const first = random.shuffle(orders.filter(isSwap));
  const rest = random.shuffle(orders.filter((order) => !isSwap(order)));
  const failing = random.shuffle(calls.flatMap(({ count: at }) => ERRORS.map((how) => ({ at, how: how as How }))));
  return [...[...first, ...rest].slice(0, kills), ...failing.slice(0, errors)];
}

/** The command as a process of its own, under this order. */
function start({ command, withoutKoffi }: Scenario, dir: string, order: object, entry: readonly string[]) {
  const given = command(dir);
  const env = { ...process.env, CHAOS: JSON.stringify({ ...order, dir, koffi: !withoutKoffi }) };
  const words =
    'job' in given
      ? ['--import', TSX, '--import', FAULTS, join(import.meta.dirname, 'jobs.ts'), given.job, dir]
      : ['--import', FAULTS, ...entry, ...given.argv, '--json'];
  const child = spawn(process.execPath, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (text) => (said[name] += text));
  return new Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, ...said }));
  });
}
