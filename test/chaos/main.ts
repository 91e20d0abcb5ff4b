/**
 * `npm run chaos`: kills, failing disks, swaps under readers, and servers under faults and floods; all from one seed.
 *
 *     npm run chaos -- [--seed 1] [--kills 500] [--errors 150] [--swaps 2000] [--seconds 60] [--only blend,servers]
 */

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../helpers/fixtures.js';
import { torment } from './kills.js';
import { SCENARIOS } from './scenarios.js';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    kills: { type: 'string', default: '500' },
    errors: { type: 'string', default: '150' },
    only: { type: 'string' },
    built: { type: 'boolean', default: existsSync(join(ROOT, 'dist', 'bin', 'crayon.js')) },
  },
});
const only = values.only?.split(',');
const scenarios = SCENARIOS.filter(({ name }) => only === undefined || only.includes(name));
const share = (of: string): number => Math.ceil(Number(of) / scenarios.length);
const root = mkdtempSync(join(tmpdir(), 'crayon-chaos-'));
let faults = 0;
let kills = 0;
for (const scenario of scenarios) {
  const started = performance.now();
  const plan = { root: join(root, 'scenario'), seed: Number(values.seed), built: values.built };
  const outcome = await torment(scenario, { ...plan, kills: share(values.kills), errors: share(values.errors) });
  kills += outcome.kills;
  faults += outcome.faults.length;
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(
    `${scenario.name.padEnd(32)} ${outcome.calls} calls, ${outcome.kills} kills, ${outcome.errors} failing calls, ${outcome.faults.length} faults (${seconds} s)`,
  );
  for (const fault of outcome.faults) console.log(`    ${fault}`);
}
rmSync(root, { recursive: true, force: true });
console.log(`${kills} kills, ${faults} faults`);
process.exitCode = faults > 0 ? 1 : 0;
