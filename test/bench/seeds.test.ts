/** What a seed of a run changes, and that a run without `seeds` is what it was. */

import { describe, expect, it } from 'vitest';
import { benchConfig } from '../../src/bench/config.js';
import { atSeed, drawAt, seedsOf, sharesPool } from '../../src/bench/seeds.js';
import { LEAST_BENCH } from '../helpers/bench-setup.js';

const config = (change: object) => benchConfig({ ...LEAST_BENCH, ...change }, 'bench.yaml');

describe('atSeed', () => {
  it('leaves a configuration without seeds as it is', () => {
    const plain = config({ seed: 5, pool: { data: ['a'], seed: 3, dir: 'pool' } });
    expect(seedsOf(plain)).toEqual([5]);
    expect(atSeed(plain, 5)).toEqual(plain);
    expect(drawAt(plain, 2)).toBe(2);
  });

  it('draws the tests with the seed, and the pool with what it adds to its own', () => {
    const several = config({ seed: 9, seeds: [0, 4], pool: { data: ['a'], seed: 3, dir: 'pools/{seed}/of-{seed}' } });
    expect(seedsOf(several)).toEqual([0, 4]);
    expect(atSeed(several, 4)).toEqual({
      ...several,
      seed: 4,
      pool: { ...several.pool, seed: 7, dir: 'pools/4/of-4' },
    });
  });

  it('has draws of examples of its own, those of seed 0 being those of a run without', () => {
    const draws = [0, 1].flatMap((seed) => [0, 1, 999].map((n) => drawAt({ seed, seeds: [0, 1] }, n)));
    expect(draws.slice(0, 3)).toEqual([0, 1, 999]);
    expect(new Set(draws).size).toBe(6);
  });
});

it('a pool that is given is one pool, unless its path has the seed', () => {
  const given = { ...config({}).pool, dir: 'pool' };
  expect(sharesPool({ pool: given, seed: 0 })).toBe(false);
  expect(sharesPool({ pool: given, seed: 0, seeds: [3] })).toBe(false);
  expect(sharesPool({ pool: given, seed: 0, seeds: [3, 4] })).toBe(true);
  expect(sharesPool({ pool: { ...given, dir: 'pool-{seed}' }, seed: 0, seeds: [3, 4] })).toBe(false);
});
