/**
 * What starting the command line takes: whole processes, in turn, beside an empty one.
 *
 *     npm run build && npx tsx benchmarks/start.ts [--other ../old/dist] [--rounds 15]
 *
 * `--other` is the dist/ of another checkout, run in the same rounds.
 */

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { other: { type: 'string' }, rounds: { type: 'string', default: '15' } },
});
const scratch = mkdtempSync(join(tmpdir(), 'crayon-start-'));
const empty = join(scratch, 'empty.mjs');
writeFileSync(empty, '');
const pool = 'models/crayon-edge-pool';
const blend = [
  'blend',
  '--pool',
  pool,
  '--examples',
  'suite/examples/bank.jsonl',
  '--out',
  join(scratch, 'out'),
  '--force',
];
const serve = ['serve-edge', '--model', 'models/crayon-edge', '--mode', 'only_on_device', '--port', '0'];

/** To a process's end, in milliseconds. */
function run(args: string[]): number {
  const started = performance.now();
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
  return performance.now() - started;
}

/** Until a server listens, in milliseconds. */
async function listen(args: string[]): Promise<number> {
  const started = performance.now();
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  await new Promise<void>((done, failed) => {
    child.stderr.on('data', (text) => {
      said += text;
      if (/Listens +http/.test(said)) done();
    });
    child.on('close', () => failed(new Error(said)));
  });
  const ms = performance.now() - started;
  child.kill();
  await new Promise((done) => child.on('close', done));
  return ms;
}

const builds = { here: 'dist', ...(values.other && { other: values.other }) };
const ways: Array<[string, () => number | Promise<number>]> = [['node, an empty module', () => run([empty])]];
for (const [what, args] of [
  ['--version', ['--version']],
  ['inspect', ['inspect', pool]],
  ['blend', blend],
  ['serve-edge, to listening', serve],
] as const) {
  for (const [name, dist] of Object.entries(builds)) {
    const words = [join(resolve(dist), 'bin', 'crayon.js'), ...args];
    ways.push([`${what} (${name})`, () => (args === serve ? listen(words) : run(words))]);
  }
}

const times = new Map(ways.map(([name]) => [name, [] as number[]]));
try {
  for (let round = 0; round <= Number(values.rounds); round++) {
    for (const [name, way] of ways) {
      const ms = await way();
      if (round > 0) times.get(name)!.push(ms); // the first fills the caches
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
const load = loadavg().map((n) => n.toFixed(1));
console.log(
  `${cpus()[0]?.model}, ${cpus().length} threads, Node ${process.version}, load ${load.join(' ')}; ${values.rounds} rounds; ms: smallest, median`,
);
for (const [name, all] of times) {
  all.sort((a, b) => a - b);
  console.log(
    `${name.padEnd(34)} ${all[0]!.toFixed(0).padStart(6)} ${all[Math.floor(all.length / 2)]!.toFixed(0).padStart(6)}`,
  );
}
