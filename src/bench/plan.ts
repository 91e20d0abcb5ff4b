/** What a run will do, before any of it is done: its users and cells at every seed, and the pools that these blend from. */

import { CrayonError } from '../core/errors.js';
import { openBase } from '../gguf/base.js';
import type { BaseModel } from '../hf/base-model.js';
import { choosePromptForm, type PromptForm, promptRecord } from '../hf/prompt-form.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import type { BuildPoolOptions } from '../pool/inputs.js';
import { isPoolDirectory, openPool, poolForm } from '../pool/pool.js';
import { planCells } from './cells.js';
import { liveUsers, planLiveCells } from './live/plan.js';
import { planLoad } from './load/run.js';
import { type MoreBuildOptions, PoolStore } from './pools.js';
import { atSeed, seedsOf } from './seeds.js';
import { atEachRate, type BenchConfig, type BenchPool, findBenchPath } from './settings.js';
import { strategyNamed } from './strategies/index.js';
import type { PlannedCell } from './strategies/strategy.js';
import { planUsers, readTrainingSet } from './users.js';

/** What a run does at one of its seeds. */
export type SeedPlan = ReturnType<typeof planSeed>;

function planSeed(config: BenchConfig) {
  const users = planUsers(config);
  return {
    /** that of this seed */
    config,
    users,
    cells: planCells(config, users),
    /** cells that the router on running servers makes */
    live: liveUsers(config, users).flatMap((user) => planLiveCells(user, config.live!)),
  };
}

/** Users, and the cells that answer them, seed by seed; and load on running servers, which is that of the first seed. */
export function planRun(config: BenchConfig) {
  const seeds = seedsOf(config).map((seed) => planSeed(atSeed(config, seed)));
  return {
    seeds,
    cells: seeds.flatMap(({ cells }) => cells),
    live: seeds.flatMap(({ live }) => live),
    load: config.load === undefined ? [] : planLoad(config.load),
  };
}

export interface NamedPool {
  /** `pool`, or the first strategy or setting of the ablation that needs it */
  name: string;
  path: string;
  pool: BenchPool;
}

/**
 * The pools of these cells, each once, with each of the rates that are to be tried; the pool itself is always one, since the scope of
 * a query is measured in its space.
 */
export function poolsOf(config: BenchConfig, cells: readonly PlannedCell[], store: PoolStore): NamedPool[] {
  const ofCells = cells.flatMap((cell) => {
    const setting = Object.entries(cell.options).map(([option, value]) => `${option} = ${value}`);
    const name = cell.table === 'ablation' ? setting.join(', ') : cell.strategy;
    const pool = strategyNamed(cell.strategy).poolOf?.(cell, store);
    return pool === undefined ? [] : { name, pool };
  });
  const all = [{ name: 'pool', pool: config.pool }, ...ofCells].flatMap((one) => {
    const pools = atEachRate(one.pool);
    const rate = ({ learning_rate: x }: BenchPool) => (pools.length > 1 ? `, learning rate ${x}` : '');
    return pools.map((pool) => ({ name: one.name + rate(pool), pool }));
  });
  const byPath = new Map<string, NamedPool>();
  for (const { name, pool } of all) {
    const path = store.path(pool);
    if (!byPath.has(path)) byPath.set(path, { name, path, pool });
  }
  return [...byPath.values()];
}

/**
 * The form that a run asks in: that of the pools that are given, which agree in it; else chat where the model has a template.
 *
 * @throws CrayonError `pool-mismatch`
 */
export function runForm({ model, ...config }: BenchConfig, tokenizer: Tokenizer): PromptForm {
  const given = new Set(seedsOf(config).map((seed) => atSeed({ model, ...config }, seed).pool.dir));
  const forms = [...given].map((dir) =>
    dir === undefined
      ? choosePromptForm(tokenizer, {}, model)
      : poolForm(openPool(findBenchPath(dir)), tokenizer, model),
  );
  if (new Set(forms.map((form) => JSON.stringify(promptRecord(form)))).size > 1) {
    throw new CrayonError('pool-mismatch', `${config.pool.dir}: the pools of the seeds were trained in several forms`);
  }
  return forms[0]!;
}

export interface BenchPoolPlan extends NamedPool {
  seed: number;
  /** as the run would build it */
  options: BuildPoolOptions;
  isBuilt: boolean;
}

/**
 * All pools that a run builds, over all of its seeds, each once: to build them elsewhere, by another trainer too. The run
 * takes what it finds at their paths.
 *
 * @param work the run's work directory (`--work`; else `work` in the run's own)
 * @param more options of the builds, such as the trainer
 * @throws CrayonError as a run does for its configuration, base and data
 */
export function benchPools(config: BenchConfig, work: string, more: MoreBuildOptions = {}): BenchPoolPlan[] {
  const base: BaseModel = openBase(findBenchPath(config.model));
  try {
    const form = runForm(config, base.tokenizer());
    const digest = base.digest();
    const all = planRun(config).seeds.flatMap(({ config: ofSeed, cells }) => {
      const store = new PoolStore(ofSeed, readTrainingSet(ofSeed), digest, work, form);
      return poolsOf(ofSeed, cells, store).flatMap((named): BenchPoolPlan[] => {
        if (named.pool.dir !== undefined) return [];
        const options = store.buildOptions(named.pool, more);
        return [{ ...named, seed: ofSeed.seed, options, isBuilt: isPoolDirectory(named.path) }];
      });
    });
    return [...new Map(all.map((pool) => [pool.path, pool])).values()];
  } finally {
    base.close();
  }
}
