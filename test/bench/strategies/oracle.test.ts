/** Weights by known tasks: from what the clusters are made of, for users of tasks that the pool was trained on. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { benchConfig } from '../../../src/bench/config.js';
import { planRun } from '../../../src/bench/plan.js';
import { oracle, taskWeights } from '../../../src/bench/strategies/oracle.js';
import { openPool, type PoolManifest } from '../../../src/pool/pool.js';
import { openBenchContext } from '../../helpers/bench-context.js';
import { WEATHER, writeSetup, writeTask } from '../../helpers/bench-setup.js';
import { errorOf, temporaryDir } from '../../helpers/files.js';

const clusters = [
  { size: 8, tasks: { a: 8 } },
  { size: 10, tasks: { a: 2, b: 3, c: 5 } },
  { size: 0, tasks: {} },
  { size: 4, tasks: { c: 4 } },
] as unknown as PoolManifest['clusters'];

it('weighs each adapter by the share of its cluster that comes from the tasks', () => {
  const of = (...tasks: string[]) => taskWeights({ clusters }, new Set(tasks)).map((x) => Number(x.toFixed(6)));
  expect(of('a')).toEqual([0.833333, 0.166667, 0, 0]);
  expect(of('b')).toEqual([0, 1, 0, 0]);
  expect(of('a', 'b')).toEqual([0.666667, 0.333333, 0, 0]);
  expect(errorOf(() => of('d')).code).toBe('pool-mismatch');
});

it('has cells for users of trained tasks alone, whatever the files are called', () => {
  const dir = temporaryDir();
  const { config } = writeSetup(dir, { strategies: ['base', 'oracle'] });
  const [weather, sounds, sums] = (config.pool as { data: string[] }).data as [string, string, string];
  writeFileSync(join(dir, 'group.yaml'), 'group: two\ntask: [weather.yaml, { task: sounds.yaml, split: train }]\n');
  const strange = writeTask(join(dir, 'more'), { ...WEATHER, name: 'strange' });
  const users = [
    { name: 'seen', kind: 'seen', tasks: [writeTask(join(dir, 'copy'), WEATHER)] },
    { name: 'stranger', kind: 'unseen-kind', tasks: [sums] },
    { name: 'both', kind: 'mixture', tasks: [weather, sounds] },
    { name: 'half', kind: 'mixture', tasks: [weather, strange] },
  ];
  const pool = { ...(config.pool as object), data: [join(dir, 'group.yaml')] };
  const { cells } = planRun(benchConfig({ ...config, pool, users }, 'x'));
  const having = (strategy: string) => cells.flatMap((cell) => (cell.strategy === strategy ? cell.user.info.name : []));
  expect(having('base')).toEqual(['seen', 'stranger', 'both', 'half']);
  expect(having('oracle')).toEqual(['seen', 'both']);
});

it('blends with the weights of the clusters that the pool has recorded', async () => {
  const open = await openBenchContext({ strategies: ['oracle'] });
  try {
    const { context, cellOf, userOf, pool } = open;
    const { coefficients, bytesToServer } = await oracle.customise(
      cellOf('weather', 'oracle')!,
      userOf('weather'),
      context,
    );

    expect(coefficients).toEqual(taskWeights(openPool(pool).manifest, new Set(['weather'])));
    expect(coefficients!.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    expect(bytesToServer).toBe(0);
  } finally {
    open.close();
  }
});
