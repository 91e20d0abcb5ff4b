/** Where the gap lies, on answers that can be counted. */

import { describe, expect, it } from 'vitest';
import { gapSplit, type Owned } from '../../../src/bench/report/gap-split.js';
import { nestedWeights } from '../../../src/core/nested-mean.js';

const answered = (user: number, edge: string, server: string): Owned[] =>
  [...edge].map((bit, i) => ({ user, edge: Number(bit), server: Number(server[i]) }));
const items = [...answered(0, '1100', '1010'), ...answered(1, '111111', '111111')];
const draws = nestedWeights(
  items.map(({ user }, i) => ({ unit: user, seed: 0, example: String(i) })),
  { seed: 1, resamples: 400 },
);

describe('the split of the gap', () => {
  const [all, one, two] = gapSplit(items, ['one', 'two'], draws);

  it('counts every query alike for all users', () => {
    expect(all).toMatchObject({ user: null, examples: 10 });
    expect([all!.device, all!.onlyDevice, all!.onlyServer, all!.neither].map((part) => part.estimate)).toEqual([
      0.8, 0.1, 0.1, 0.1,
    ]);
  });

  it('has a row for each user', () => {
    expect(one).toMatchObject({ user: 'one', examples: 4 });
    expect(one).toMatchObject({
      device: { estimate: 0.5 },
      onlyServer: { estimate: 0.25 },
      neither: { estimate: 0.25 },
    });
    expect(two).toMatchObject({ user: 'two', device: { estimate: 1, low: 1, high: 1 }, neither: { estimate: 0 } });
  });

  it('has parts that add up, and intervals around them', () => {
    for (const row of [all!, one!, two!]) {
      expect(row.device.estimate + row.onlyServer.estimate + row.neither.estimate).toBeCloseTo(1, 12);
    }
    expect(one!.device.low).toBeLessThan(0.5);
    expect(one!.device.high).toBeGreaterThan(0.5);
  });

  it('of one user is that of all', () => {
    expect(gapSplit(answered(0, '10', '01'), ['one'], [])).toHaveLength(1);
  });
});
