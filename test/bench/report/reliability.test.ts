/** Probabilities in the report: which there are, and that each is judged by the same labels. */

import { describe, expect, it } from 'vitest';
import { rawProbabilities, reliabilityRows } from '../../../src/bench/report/reliability.js';

describe('confidence as a probability', () => {
  it('is exp of a mean log-probability', () => {
    expect([...rawProbabilities([0, Math.log(0.25)])!]).toEqual([1, 0.25]);
  });

  it('is none where an answer has no confidence, or one that is no log-probability', () => {
    expect(rawProbabilities([-1, undefined])).toBeNull();
    expect(rawProbabilities([-1, 0.5])).toBeNull();
  });
});

describe('rows of reliability', () => {
  const labels = Array.from({ length: 200 }, (_, i) => Number(i % 4 !== 0));
  const of = (name: string, probability: number | null) => ({
    name,
    title: name,
    values: probability === null ? null : new Float64Array(200).fill(probability),
  });

  it('has the distance from what was seen, and leaves out what has no probability', () => {
    const rows = reliabilityRows([of('right', 0.75), of('none', null), of('sure', 0.95)], labels, {
      seed: 0,
      resamples: 50,
    });
    expect(rows.map(({ name }) => name)).toEqual(['right', 'sure']);
    expect(rows[0]!.ece.estimate).toBeCloseTo(0, 12);
    expect(rows[1]!.ece.estimate).toBeCloseTo(0.2, 12);
  });
});
