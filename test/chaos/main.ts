/**
 * Chaos: kills, failing disks, swaps under readers, and servers under faults and floods; all from one seed.
 *
 *     npx tsx test/chaos/main.ts [--seed 1] [--kills 500] [--errors 150] [--swaps 2000] [--seconds 60] [--only blend,servers]
 */

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../helpers/fixtures.js';
import { TSX } from '../helpers/processes.js';
import { tormentDisks } from './disks.js';
import { torment } from './kills.js';
import { SCENARIOS } from './scenarios.js';
import { tormentServers } from './servers.js';
import { readDuringSwaps } from './swaps.js';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    kills: { type: 'string', default: '500' },
    errors: { type: 'string', default: '150' },
    swaps: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '60' },
    only: { type: 'string' },
    built: { type: 'boolean', default: existsSync(join(ROOT, 'dist', 'bin', 'crayon.js')) },
  },
});
const seed = Number(values.seed);
/** dist/, which starts sooner, where it is there. */
const entry = values.built
  ? [join(ROOT, 'dist', 'bin', 'crayon.js')]
  : ['--import', TSX, join(ROOT, 'bin', 'crayon.ts')];
const only = values.only?.split(',');
const isWanted = (name: string): boolean => only === undefined || only.includes(name);
const root = mkdtempSync(join(tmpdir(), 'crayon-chaos-'));
const totals = { kills: 0, faults: 0 };

function report(name: string, words: string, faults: readonly string[], started: number): void {
  totals.faults += faults.length;
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${name.padEnd(32)} ${words}, ${faults.length} faults (${seconds} s)`);
  for (const fault of faults) console.log(`    ${fault}`);
}

/** On a terminal, a line that is overwritten. */
const progress = (words: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r${words.padEnd(60)}`);
};

const scenarios = SCENARIOS.filter(({ name }) => isWanted(name));
const share = (of: string): number => Math.ceil(Number(of) / scenarios.length);
for (const scenario of scenarios) {
  const started = performance.now();
  const plan = {
    root: join(root, 'scenario'),
    seed,
    entry,
    kills: share(values.kills),
    errors: share(values.errors),
    progress,
  };
  const { calls, kills, errors, faults } = await torment(scenario, plan);
  totals.kills += kills;
  report(scenario.name, `${calls} calls, ${kills} kills, ${errors} failing calls`, faults, started);
}
if (isWanted('disks')) {
  const started = performance.now();
  const { words, faults } = await tormentDisks(join(root, 'disks'));
  report('disks', words, faults, started);
}
for (const withExchange of [true, false].filter(() => isWanted('swaps'))) {
  const started = performance.now();
  const { reads, seen, absent, faults } = await readDuringSwaps(
    join(root, 'swaps'),
    Number(values.swaps),
    withExchange,
  );
  const name = `swaps ${withExchange ? 'with' : 'without'} an exchange`;
  report(
    name,
    `${values.swaps} swaps, ${reads} reads of ${seen}, absent to the system ${absent} times`,
    faults,
    started,
  );
}
if (isWanted('servers')) {
  const started = performance.now();
  const plan = { root: join(root, 'servers'), seed, seconds: Number(values.seconds), entry };
  const { answers, faults, slowestHealthMs } = await tormentServers(plan);
  const all = Object.values(answers).reduce((sum, n) => sum + n, 0);
  report('servers', `${all} answers, /health within ${slowestHealthMs.toFixed(0)} ms`, faults, started);
  for (const [answer, n] of Object.entries(answers).sort(([, a], [, b]) => b - a)) console.log(`    ${n} ${answer}`);
}
rmSync(root, { recursive: true, force: true });
console.log(`${totals.kills} kills, ${totals.faults} faults`);
process.exitCode = totals.faults > 0 ? 1 : 0;
