/** Reads the configuration of a bench run, whose keys are src/bench/settings.ts. */

import * as z from 'zod';
import { checked, filled, type Problem, refuseProblems, type Source } from '../files/schema.js';
import { readYaml } from '../files/yaml.js';
import { BENCH_SCHEMA, type BenchConfig } from './settings.js';
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
  refuseProblems(contradictions(config), source);
  return config;
}

/** Keys that are right one by one and wrong together. */
function contradictions({ users, strategies, server, live, load, pool, ablation }: BenchConfig): Problem[] {
  const problems: Problem[] = [];
  const repeated = (path: Problem['path'], what: string, items: readonly unknown[]) => {
    const twice = items.find((item, i) => items.indexOf(item) !== i);
    if (twice !== undefined) problems.push({ path, message: `${what} has ${JSON.stringify(twice)} twice` });
  };
  const names = users.map((user) => user.name);
  repeated(['users'], 'users', names);
  repeated(['strategies'], 'strategies', strategies);
  for (const [i, { name, kind, tasks, k, seeds }] of users.entries()) {
    repeated(['users', i, 'k'], `${name}: k`, [k].flat());
    repeated(['users', i, 'seeds'], `${name}: seeds`, seeds);
    const path = ['users', i, 'kind'];
    if (kind === 'mixture' && tasks.length < 2) problems.push({ path, message: `${name} is a mixture of one task` });
    if (kind !== 'mixture' && tasks.length > 1) {
      problems.push({ path, message: `${name} has ${tasks.length} tasks, so its kind is mixture` });
    }
  }
  if (strategies.includes('server') && server === null) {
    const message = 'strategies has server, but there is no server: { model: ... }';
    problems.push({ path: ['strategies'], message });
  }
  for (const [path, wanted] of [
    [['live', 'users'], live?.users],
    [['live', 'conditions', 'users'], live?.conditions?.users],
  ] as const) {
    const unknown = (wanted ?? []).filter((name) => !names.includes(name));
    if (unknown.length === 0) continue;
    problems.push({ path, message: `${path.join('.')} has ${unknown.join(', ')}, expected names of users` });
  }
  if ((live !== undefined || load !== undefined) && !live?.endpoint && server === null) {
    const message = 'live and load need a server LLM: server: { model: ... } or live.endpoint';
    problems.push({ path: [live === undefined ? 'load' : 'live'], message });
  }
  if (load?.requests === null && load.seconds === null) {
    problems.push({ path: ['load'], message: 'load has neither requests nor seconds' });
  }
  if (pool.dir !== undefined) {
    const needs = (['embedding', 'centred', 'tau', 'mode', 'clusters'] as const).filter(
      (option) => (ablation?.[option]?.length ?? 0) > 0,
    );
    const message = `ablation of ${needs.join(', ')} builds pools of its own, but pool.dir is given`;
    if (needs.length > 0) problems.push({ path: ['ablation'], message });
  }
  return problems;
}
