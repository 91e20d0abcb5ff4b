/** Which pools a run builds: one directory for each thing that a pool depends on, and fair settings for one LoRA. */

import { describe, expect, it } from 'vitest';
import { benchConfig } from '../../src/bench/config.js';
import { PoolStore } from '../../src/bench/pools.js';
import { atEachRate } from '../../src/bench/settings.js';

const YAML = {
  name: 'x',
  model: 'm',
  pool: { data: ['train.yaml'], clusters: 4, rank: 2, lora_alpha: 4 },
  users: [{ name: 'u', kind: 'seen', tasks: ['t.yaml'] }],
  strategies: ['base'],
};
const store = (change: object = {}, digests = ['d1'], model = 'm1') =>
  new PoolStore(benchConfig({ ...YAML, ...change }, 'x'), { prompts: new Set(), digests }, model, 'work');
const config = benchConfig(YAML, 'x');

describe('PoolStore', () => {
  it('keeps pools apart by their settings, their data and their base', () => {
    const path = store().path(config.pool);
    expect(path).toMatch(/^work[\\/]pools[\\/][0-9a-f]{16}$/);
    expect(store().path({ ...config.pool })).toBe(path);
    // where the data lies does not matter, what is in it does
    expect(store().path({ ...config.pool, data: ['elsewhere/train.yaml'] })).toBe(path);
    for (const other of [
      store().path({ ...config.pool, tau: 0.2 }),
      store({}, ['d2']).path(config.pool),
      store({}, ['d1'], 'm2').path(config.pool),
    ]) {
      expect(other).not.toBe(path);
    }
  });

  it('makes one LoRA of the same rank, or with as many parameters in all', () => {
    const same = { clusters: 1, rank: 2, lora_alpha: 4, learning_rate: 0.0025 };
    expect(store().oneLora(false)).toMatchObject(same);
    const total = store().oneLora(true);
    expect(total).toMatchObject({ clusters: 1, rank: 8, lora_alpha: 16 });
    const own = { one_lora: { learning_rate: 0.003 }, one_lora_total: { epochs: 5 } };
    expect(store(own).oneLora(true)).toMatchObject({ learning_rate: 0.0025, epochs: 5 });
    expect(store(own).oneLora(false)).toMatchObject({
      ...same,
      learning_rate: 0.003,
    });
  });

  it('makes one LoRA for each rate that is tried, each a pool of its own', () => {
    const tried = store({ one_lora: { learning_rates: [0.1, 0.01], epochs: 5 } });
    const pools = atEachRate(tried.oneLora(false));
    expect(pools).toEqual([0.1, 0.01].map((rate) => expect.objectContaining({ learning_rate: rate, epochs: 5 })));
    expect(pools[0]).not.toHaveProperty('learning_rates'); // it would be in the directory's name
    expect(new Set(pools.map((pool) => tried.path(pool))).size).toBe(2);
    expect(atEachRate(tried.oneLora(true))).toEqual([tried.oneLora(true)]);
  });

  it("tries the pool's rates with one LoRA too, unless it has its own", () => {
    const rates = { pool: { ...YAML.pool, learning_rates: [0.1, 0.01, 0.001] } };
    const of = (change: object) => atEachRate(store({ ...rates, ...change }).oneLora(false));
    expect(of({}).map((pool) => pool.learning_rate)).toEqual([0.1, 0.01, 0.001]);
    expect(of({ one_lora: { learning_rates: [0.2, 0.3] } }).map((pool) => pool.learning_rate)).toEqual([0.2, 0.3]);
    expect(of({ one_lora: { learning_rate: 0.4 } }).map((pool) => pool.learning_rate)).toEqual([0.4]);
    // a pool of a rate that was tried is the pool of that rate, and is not built twice
    const { pool } = benchConfig({ ...YAML, ...rates }, 'x');
    const alone = { ...YAML, pool: { ...YAML.pool, learning_rate: 0.01 } };
    expect(store({}).path(atEachRate(pool)[1]!)).toBe(store({}).path(benchConfig(alone, 'x').pool));
  });

  it('trains jointly behind mode separate, but never the one LoRA', () => {
    const joint = { fraction: 0.25, batch_size: 16 };
    const yaml = { pool: { ...YAML.pool, mode: 'separate', joint } };
    const { pool } = benchConfig({ ...YAML, ...yaml }, 'x');
    const own = store(yaml);
    expect(own.path(pool)).not.toBe(own.path({ ...pool, joint: undefined }));
    expect(own.oneLora(false)).toMatchObject({ mode: 'joint' });
    expect(own.oneLora(false)).not.toHaveProperty('joint');
  });

  it('keeps a residual pool apart, and gives one LoRA its parameters and its training', () => {
    const plain = store().path(config.pool);
    const of = (general: unknown) => {
      const yaml = { pool: { ...YAML.pool, general } };
      const one = store(yaml);
      return {
        path: one.path(benchConfig({ ...YAML, ...yaml }, 'x').pool),
        same: one.oneLora(false),
        total: one.oneLora(true),
      };
    };
    const [simple, larger] = [of(true), of({ rank: 3, epochs: 1 })];
    expect(new Set([plain, simple.path, larger.path]).size).toBe(3);
    expect(simple.total).toMatchObject({ clusters: 1, rank: 10, lora_alpha: 20, epochs: 4 });
    expect(larger.total).toMatchObject({ rank: 11, lora_alpha: 22, epochs: 3 });
    expect(larger.same).toMatchObject({ rank: 2, lora_alpha: 4, epochs: 3 });
    expect(larger.same.general).toBeUndefined();
  });
});
