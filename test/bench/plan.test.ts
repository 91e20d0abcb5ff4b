/** What a run will do at several seeds, and the pools that it will look for. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { benchConfig } from '../../src/bench/config.js';
import { benchPools, planRun } from '../../src/bench/plan.js';
import { TRAINER_DEFAULTS } from '../../src/pool/trainers/options.js';
import { writeSetup } from '../helpers/bench-setup.js';
import { temporaryDir } from '../helpers/files.js';

const setup = (change: Record<string, unknown>) => {
  const dir = temporaryDir();
  return { dir, config: benchConfig(writeSetup(dir, change).config, 'bench.yaml') };
};
const keysOf = (change: Record<string, unknown>) => planRun(setup(change).config).cells.map(({ key }) => key);

describe('planRun', () => {
  const users = [{ name: 'u', kind: 'seen', tasks: ['t.yaml'], k: 3, seeds: [0, 1] }];
  const change = { users, strategies: ['base', 'random', 'crayon'], random: { seeds: 1 } };

  it('has all cells of each seed, under keys of their own, and their seeds in them', () => {
    const { cells, seeds } = planRun(setup({ ...change, seeds: [0, 2] }).config);
    expect(cells.map(({ key, seed, runSeed }) => [key, seed, runSeed])).toEqual([
      ['u--seed=0--s0--base', 0, 0],
      ['u--seed=0--s0--random--draw=0', 0, 0],
      ['u--seed=0--s0--crayon', 0, 0],
      ['u--seed=0--s1--crayon', 1, 0],
      ['u--seed=2--s0--base', 2000, 2],
      ['u--seed=2--s0--random--draw=0', 2000, 2],
      ['u--seed=2--s0--crayon', 2000, 2],
      ['u--seed=2--s1--crayon', 2001, 2],
    ]);
    expect(seeds.map((plan) => plan.cells[0]!.pool.seed)).toEqual([0, 2]);
  });

  it('has the keys of a run without seeds for one', () => {
    expect(keysOf({ ...change, seeds: [2] })).toEqual(keysOf(change));
    expect(planRun(setup(change).config).cells.every(({ runSeed }) => runSeed === undefined)).toBe(true);
  });
});

describe('benchPools', () => {
  const strategies = ['base', 'one-lora', 'one-lora-total', 'crayon'];

  it('lists every pool of every seed once, with what is needed to build it', () => {
    const { dir, config } = setup({ seeds: [0, 1], strategies, ablation: { tau: [0.1, 0.2], top_k: [1] } });
    const trainer = { ...TRAINER_DEFAULTS, name: 'torch' as const };
    const pools = benchPools(config, join(dir, 'work'), { trainer });
    const names = ['pool', 'one-lora', 'one-lora-total', 'tau = 0.2'];
    expect(pools.map(({ seed, name }) => [seed, name])).toEqual(
      [0, 1].flatMap((seed) => names.map((name) => [seed, name])),
    );
    expect(new Set(pools.map(({ path }) => path)).size).toBe(8);
    for (const { seed, path, options, isBuilt } of pools) {
      expect(path.startsWith(join(dir, 'work', 'pools'))).toBe(true);
      expect(options).toMatchObject({ out: path, seed, trainer, model: config.model });
      expect(isBuilt).toBe(false);
    }
    expect(existsSync(join(dir, 'work'))).toBe(false);
    // another trainer's pool stands in for crayon's own
    const others = benchPools(config, join(dir, 'work'));
    expect(others.map(({ path }) => path)).toEqual(pools.map(({ path }) => path));
    expect(others[0]!.options.trainer).toBeUndefined();
  });

  it('of seed 0 are those of a run without seeds', () => {
    const { dir, config } = setup({ strategies });
    const alone = benchPools(config, dir).map(({ path }) => path);
    const several = benchPools({ ...config, seeds: [1, 0] }, dir);
    expect(several.filter(({ seed }) => seed === 0).map(({ path }) => path)).toEqual(alone);
    expect(several).toHaveLength(2 * alone.length);
  });
});
