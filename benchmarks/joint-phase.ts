/**
 * What a joint phase is worth behind adapters that were trained each by itself: users' accuracy beside joint training from the beginning,
 * the steps, and the processor time. The pools of a bench configuration and its ablation are built with their times taken, each cluster of
 * a seed once for all rows; then `crayon bench` answers over them.
 *
 *     npx tsx benchmarks/joint-phase.ts --out results/joint [--config configs/bench/joint.yaml] [--seeds 0,1,2]
 *         [--separate 5,5+0.25@0.005]
 *
 * Steps are updates: in mode separate, those of all clusters. A run that was stopped goes on; times are kept with their pools, in
 * `--out`. Differences to mode joint are paired by seed, with a t-interval over seeds.
 */

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { benchConfig } from '../src/bench/config.js';
import { benchPools } from '../src/bench/plan.js';
import { readRun } from '../src/bench/report/read.js';
import { runSeedOf } from '../src/bench/report/units.js';
import { mean, standardError } from '../src/core/stats.js';
import { writeJson } from '../src/files/json.js';
import { readYaml } from '../src/files/yaml.js';
import { chooseBackend } from '../src/model/backend.js';
import { buildPool } from '../src/pool/build.js';
import type { BuildPoolOptions } from '../src/pool/inputs.js';
import { isPoolDirectory, openPool } from '../src/pool/pool.js';
import { readPlan } from '../src/pool/units/plan.js';
import { prepareBuild, trainBuild } from '../src/pool/units/verbs.js';
import { workPath } from '../src/pool/work-directory.js';
import { machine, machineLine } from './machine.js';

const { values: options } = parseArgs({
  options: {
    out: { type: 'string' },
    config: { type: 'string', default: 'configs/bench/joint.yaml' },
    seeds: { type: 'string' },
    separate: { type: 'string' },
    modes: { type: 'string' },
    epochs: { type: 'string' },
  },
});
if (options.out === undefined) throw new Error('expected --out <directory>');
const { out } = options;
const work = join(out, 'work');
const ENTRY = fileURLToPath(new URL('../bin/crayon.ts', import.meta.url));

/** 0.975 quantile of Student's t, by degrees of freedom. */
const T = [Number.NaN, 12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26];

interface Cost {
  /** of the training's processes, wall and processor */
  seconds: number;
  processor: number;
  steps: number;
}

/** The configuration with the seeds and phases of the command line, where bench finds it too. */
function configured(): string {
  const yaml = readYaml(options.config).value as Record<string, object>;
  const { seeds, separate, modes, epochs } = options;
  if (seeds !== undefined) Object.assign(yaml, { seeds: seeds.split(',').map(Number) });
  if (separate !== undefined) Object.assign(yaml.ablation!, { separate: separate.split(',').filter(Boolean) });
  if (modes !== undefined) Object.assign(yaml.ablation!, { mode: modes.split(',').filter(Boolean) });
  if (epochs !== undefined) Object.assign(yaml.ablation!, { epochs: epochs.split(',').map(Number) });
  mkdirSync(out, { recursive: true });
  const path = join(out, 'config.yaml');
  writeFileSync(path, JSON.stringify(yaml)); // which is YAML
  return path;
}

/** Does some work, and says what it cost. */
async function timed(run: () => Promise<unknown>): Promise<Omit<Cost, 'steps'>> {
  const [started, before] = [performance.now(), process.cpuUsage()];
  await run();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (performance.now() - started) / 1000, processor: (user + system) / 1e6 };
}

const costFile = (dir: string) => `${dir}.cost.json`;
const costOf = (dir: string): Cost => JSON.parse(readFileSync(costFile(dir), 'utf8'));
const keepCost = (dir: string, cost: Cost) => writeJson(costFile(dir), { ...cost });

/** All clusters of a seed, in a directory of their own. */
async function clustersOf(build: BuildPoolOptions): Promise<string> {
  const dir = join(work, `clusters-${build.seed}-${build.training.batchSize}`);
  if (existsSync(costFile(dir))) return dir;
  const cost = await timed(async () => {
    await prepareBuild({ ...build, joint: undefined, out: dir }, 'auto');
    const { N } = readPlan(dir);
    for (let k = 0; k < N; k++) await trainBuild(dir, k);
  });
  const steps = readPlan(dir).units.reduce((sum, unit) => sum + unit.steps, 0);
  keepCost(dir, { ...cost, steps });
  return dir;
}

async function build(build: BuildPoolOptions): Promise<void> {
  const { out: pool } = build;
  if (isPoolDirectory(pool) && existsSync(costFile(pool))) return;
  let before: Cost = { seconds: 0, processor: 0, steps: 0 };
  rmSync(workPath(pool), { recursive: true, force: true });
  if (build.mode === 'separate') {
    const clusters = await clustersOf(build);
    before = costOf(clusters);
    cpSync(workPath(clusters), workPath(pool), { recursive: true });
  }
  const cost = await timed(() => buildPool(build));
  const { training } = openPool(pool).manifest;
  const { steps } = ((build.mode === 'separate' ? training.joint : training) as { steps?: number } | undefined) ?? {};
  keepCost(pool, {
    seconds: before.seconds + cost.seconds,
    processor: before.processor + cost.processor,
    steps: before.steps + (steps ?? 0),
  });
}

const path = configured();
const { value, lineOf } = readYaml(path);
const config = benchConfig(value, path, lineOf);
const before = machine();
const { name: backend } = await chooseBackend('auto');
const pools = benchPools(config, work, { checkpointSeconds: 600, fresh: false });
for (const { name, seed, options: wanted } of pools) {
  const started = performance.now();
  await build(wanted);
  console.error(`seed ${seed}, ${name}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
}

const run = join(out, 'run');
const args = ['--import', 'tsx', ENTRY, 'bench', '--config', path, '--out', run, '--work', work];
if (spawnSync(process.execPath, args, { stdio: 'inherit' }).status !== 0) throw new Error('crayon bench failed');

const { cells } = readRun(run);
const seeds = [...new Set(pools.map(({ seed }) => seed))];
const STRATEGIES = ['crayon', 'per-query'];
const rows = [...new Set(pools.map(({ name }) => name))].map((name) => {
  const setting = name === 'pool' ? '' : name;
  const accuracies = STRATEGIES.map((strategy) =>
    seeds.map((seed) => {
      const its = cells.filter(({ cell }) => {
        const words = Object.entries(cell.options).map(([option, value]) => `${option} = ${value}`);
        return cell.strategy === strategy && runSeedOf(cell) === seed && words.join(', ') === setting;
      });
      return 100 * mean(its.map(({ cell }) => cell.accuracy));
    }),
  );
  const costs = seeds.map((seed) => costOf(pools.find((one) => one.name === name && one.seed === seed)!.path));
  return { name: name === 'pool' ? `mode = ${config.pool.mode}` : name, accuracies, costs };
});

const first = rows[0]!;
const fixed = (x: number) => x.toFixed(1);
function difference(values: readonly number[], to: readonly number[]): string {
  const paired = values.map((value, i) => value - to[i]!);
  if (paired.length < 2) return fixed(mean(paired));
  const half = (T[paired.length - 1] ?? 2) * standardError(paired);
  return `${fixed(mean(paired))} [${fixed(mean(paired) - half)}, ${fixed(mean(paired) + half)}]`;
}
const share = (of: (cost: Cost) => number, { costs }: typeof first) =>
  `${fixed(mean(costs.map(of)))} (${(mean(costs.map(of)) / mean(first.costs.map(of))).toFixed(2)})`;

console.log('| pool | fixed blend | to joint | per query | to joint | steps | of them joint | processor seconds |');
console.log('|---|---|---|---|---|---|---|---|');
for (const row of rows) {
  const values = row.accuracies.flatMap((each, s) => [
    `${fixed(mean(each))} (${each.map(fixed).join(', ')})`,
    row === first ? '' : difference(each, first.accuracies[s]!),
  ]);
  const steps = mean(row.costs.map((cost) => cost.steps));
  const [isSeparate, fraction] = /^separate = \d+(?:\+([\d.]+))?/.exec(row.name) ?? [];
  const shared = isSeparate === undefined ? '1' : (fraction ?? '0');
  console.log(
    `| ${[row.name, ...values, steps.toFixed(0), shared, share(({ processor }) => processor, row)].join(' | ')} |`,
  );
}
console.log(`\n${config.users.length} users, seeds ${seeds.join(', ')}, back end ${backend}. ${machineLine(before)}`);
console.log(JSON.stringify({ machine: before, rows }));
