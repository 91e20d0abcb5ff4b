import { describe, expect, it } from 'vitest';
import { ordering, orderingLead } from '../../src/core/auroc.js';
import { createRandom } from '../../src/core/random.js';

describe('ordering', () => {
  it('is scikit-learn’s roc_auc_score, ties half', () => {
    expect(ordering([0.1, 0.4, 0.35, 0.8, 0.8, 0.9], [0, 0, 1, 1, 0, 1]).auroc).toBeCloseTo(0.7222222222222222, 12);
    expect(ordering([3, 2, 1, 0], [1, 1, 0, 0]).auroc).toBe(1);
    expect(ordering([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, 0], [0, 1, 1]).auroc).toBe(0.75);
    expect(ordering([1, 2], [1, 1]).auroc).toBeNaN();
  });

  it('places each case among those of the other label', () => {
    const { placements } = ordering([1, 2, 3, 4], [0, 1, 0, 1]);
    expect([...placements]).toEqual([1, 0.5, 0.5, 1]);
  });

  it('has a standard error of the lead that fits its spread over draws', () => {
    const random = createRandom(1);
    const runs = Array.from({ length: 200 }, () => {
      const labels = Array.from({ length: 80 }, () => (random.uniform() < 0.7 ? 1 : 0));
      const good = labels.map((label) => label + random.normal());
      const noisy = good.map((score) => score + random.normal());
      return orderingLead(ordering(good, labels), ordering(noisy, labels), labels);
    });
    const leads = runs.map(({ lead }) => lead);
    const mean = leads.reduce((a, b) => a + b, 0) / 200;
    const spread = Math.sqrt(leads.reduce((sum, lead) => sum + (lead - mean) ** 2, 0) / 199);
    const told = runs.reduce((sum, { stderr }) => sum + stderr, 0) / 200;
    expect(mean).toBeGreaterThan(0.03);
    expect(told / spread).toBeGreaterThan(0.8);
    expect(told / spread).toBeLessThan(1.25);
  });
});
