/** Reads the configuration of a bench run, whose keys are src/bench/settings.ts. */

import * as z from 'zod';
import { shown } from '../core/format.js';
import { checked, filled, firstTwice, type Problem, refuseProblems, type Source } from '../files/schema.js';
import { readYaml } from '../files/yaml.js';
import { ENDLESS, isEndless } from './live/settings.js';
import { DRAWS_PER_SEED, sharesPool } from './seeds.js';
import { BENCH_SCHEMA, type BenchConfig, REBUILDING } from './settings.js';
import { STRATEGIES } from './strategies/index.js';

/** With the names of the strategies, for checks and for editors. */
export const BENCH_CONFIG_SCHEMA = BENCH_SCHEMA.extend({
  strategies: filled(z.enum(STRATEGIES.map(({ name }) => name))).describe(BENCH_SCHEMA.shape.strategies.description!),
});

/**
 * Reads and checks a configuration, with all defaults filled in.
 *
 * @throws CrayonError `yaml-invalid`, `file-not-found`, `config-invalid` naming every bad or unknown key
 */
export function loadBenchConfig(path: string): BenchConfig {
  const { value, lineOf } = readYaml(path);
  return benchConfig(value, path, lineOf);
}

/** Checks a parsed YAML file. @param where names it in errors */
export function benchConfig(yaml: unknown, where: string, lineOf?: Source['lineOf']): BenchConfig {
  const source: Source = { where, code: 'config-invalid', lineOf };
  const config = checked(BENCH_CONFIG_SCHEMA, yaml, source);
  refuseProblems([...ratesGivenTwice(yaml as Record<string, object>), ...contradictions(config)], source);
  return config;
}

/** Read off what was written: a pool's rate has a default. */
function ratesGivenTwice(yaml: Record<string, { learning_rate?: unknown; learning_rates?: unknown }>): Problem[] {
  return ['pool', 'one_lora', 'one_lora_total']
    .filter((key) => yaml[key]?.learning_rate !== undefined && yaml[key].learning_rates !== undefined)
    .map((key) => ({ path: [key, 'learning_rate'], message: `${key} has learning_rate and learning_rates` }));
}

/** Why one pool cannot serve several seeds. */
export const SHARED_POOL = 'is one pool for several seeds, expected {seed} in its path';

/** What a pool that is given cannot do: be built with other settings. */
export function givenPoolProblem({ pool, ablation }: BenchConfig): Problem | undefined {
  if (pool.dir === undefined) return undefined;
  if (pool.learning_rates !== undefined) {
    return { path: ['pool', 'learning_rates'], message: 'pool.learning_rates builds pools, but pool.dir is given' };
  }
  const rebuilding = REBUILDING.filter((option) => (ablation?.[option]?.length ?? 0) > 0);
  if (rebuilding.length === 0) return undefined;
  const options = rebuilding.join(', ');
  return { path: ['ablation'], message: `ablation of ${options} builds pools of its own, but pool.dir is given` };
}

/** Keys that are right one by one and wrong together. */
function contradictions(config: BenchConfig): Problem[] {
  const { users, strategies, server, live, load, pool, seeds: ofRun = [], one_lora, one_lora_total } = config;
  const problems: Problem[] = [];
  const refuse = (isWrong: boolean, path: Problem['path'], message: string) => {
    if (isWrong) problems.push({ path, message });
  };
  const repeated = (path: Problem['path'], what: string, items: readonly unknown[]) => {
    const twice = firstTwice(items);
    refuse(twice !== undefined, path, `${what} has ${shown(twice)} twice`);
  };
  const names = users.map((user) => user.name);
  repeated(['users'], 'users', names);
  repeated(['strategies'], 'strategies', strategies);
  repeated(['seeds'], 'seeds', ofRun);
  refuse(sharesPool(config), ['pool', 'dir'], `pool.dir ${SHARED_POOL}`);
  for (const [i, { name, kind, tasks, k, seeds }] of users.entries()) {
    repeated(['users', i, 'k'], `${name}: k`, [k].flat());
    repeated(['users', i, 'seeds'], `${name}: seeds`, seeds);
    const isFar = ofRun.length > 0 && seeds.some((seed) => seed >= DRAWS_PER_SEED);
    refuse(isFar, ['users', i, 'seeds'], `${name}: seeds are below ${DRAWS_PER_SEED} where the run has seeds`);
    const path = ['users', i, 'kind'];
    const isMixed = tasks.length > 1;
    refuse(kind === 'mixture' && !isMixed, path, `${name} is a mixture of one task`);
    refuse(kind !== 'mixture' && isMixed, path, `${name} has ${tasks.length} tasks, so its kind is mixture`);
  }
  for (const [key, { learning_rates: rates = [] }] of Object.entries({ pool, one_lora, one_lora_total })) {
    repeated([key, 'learning_rates'], `${key}: learning_rates`, rates);
  }
  const needsServer = strategies.includes('server') && server === null;
  refuse(needsServer, ['strategies'], 'strategies has server, but there is no server: { model: ... }');
  for (const [path, wanted] of [
    [['live', 'users'], live?.users],
    [['live', 'conditions', 'users'], live?.conditions?.users],
  ] as const) {
    const unknown = (wanted ?? []).filter((name) => !names.includes(name));
    refuse(unknown.length > 0, path, `${path.join('.')} has ${unknown.join(', ')}, expected names of users`);
  }
  const section = live === undefined ? load && 'load' : 'live';
  const needsLlm = 'live and load need a server LLM: server: { model: ... } or live.endpoint';
  if (section !== undefined) refuse(!live?.endpoint && server === null, [section], needsLlm);
  if (load !== undefined) refuse(isEndless(load), ['load'], ENDLESS);
  const given = givenPoolProblem(config);
  if (given !== undefined) problems.push(given);
  return problems;
}
