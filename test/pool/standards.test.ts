// npx vitest run test/pool/standards.test.ts
import { describe, expect, it } from 'vitest';
import { gate } from '../../src/core/gate.js';
import type { Pool } from '../../src/pool/pool.js';
import {
  gateBy,
  gateTerms,
  lossStandard,
  measured,
  STANDARD_TAU,
  similarityStandard,
  standardLosses,
} from '../../src/pool/standards.js';

const standards = {
  similarity: { examples: 4, mean: [0.5, 0.1], deviation: 0.2 },
  loss: { examples: 4, mean: [2, 5], deviation: [1, 0.5] },
};
const pool = (given: object | undefined) =>
  ({ dir: 'pools/p', manifest: { N: 2, tau: 0.1, standards: given, base: { name: 'edge' } } }) as unknown as Pool;

describe('similarityStandard', () => {
  it('has a mean for each centroid and one deviation for all, by hand', () => {
    // columns 0.2, 0.4 (variance 0.01) and 0, 0.6 (variance 0.09)
    const { examples, mean, deviation } = similarityStandard([0.2, 0, 0.4, 0.6], 2);
    expect(examples).toBe(2);
    expect([...mean, deviation].map((x) => Number(x.toFixed(12)))).toEqual([
      0.3,
      0.3,
      Number(Math.sqrt(0.05).toFixed(12)),
    ]);
  });

  it('is positive where all are alike', () => {
    expect(similarityStandard([1, 1, 1, 1], 2).deviation).toBeGreaterThan(0);
    expect(lossStandard([3, 4], 2).deviation.every((x) => x > 0)).toBe(true);
  });
});

describe('the gate', () => {
  it('is that of the training without standardising', () => {
    const cosines = Float64Array.of(0.7, 0.2);
    expect(gateBy(cosines, gateTerms(pool(undefined), {}))).toEqual(gate(cosines, 0.1));
    expect(gateTerms(pool(undefined), { tau: 3 }).tau).toBe(3);
  });

  it('is of the cosines less their means, over the deviation', () => {
    const terms = gateTerms(pool(standards), { standardise: true });
    expect(terms.tau).toBe(STANDARD_TAU);
    const values = measured(Float64Array.of(0.7, 0.2), terms.standard);
    expect([values[0], values[1]]).toEqual([expect.closeTo(1, 12), expect.closeTo(0.5, 12)]);
    const odds = Math.exp(0.5 / STANDARD_TAU);
    expect(gateBy(Float64Array.of(0.7, 0.2), terms)[0]).toBeCloseTo(odds / (1 + odds), 12);
  });

  it('means the same for an embedding of another spread', () => {
    const cosines = [0.9, 0.1, 0.2, 0.8, 0.7, 0.3];
    const flat = cosines.map((x) => 0.95 + x / 40); // anisotropic: every cosine is near to 1
    const of = (list: number[]) =>
      gateBy(Float64Array.from(list.slice(0, 2)), { tau: 0.5, standard: similarityStandard(list, 2) });
    expect(of(flat)[0]).toBeCloseTo(of(cosines)[0]!, 9);
  });

  it.each([
    ['similarities', () => gateTerms(pool(undefined), { standardise: true })],
    ['losses', () => standardLosses(pool({ similarity: standards.similarity }), [1, 2])],
  ])('refuses a pool without %s, naming the remedy', (_, use) => {
    const hint = expect.stringContaining('crayon measure-pool --pool pools/p');
    expect(use).toThrow(expect.objectContaining({ code: 'pool-invalid', hint }));
  });
});

it('standardLosses are deviations from the usual loss, the mean over the examples', () => {
  // adapter 0: losses 1 and 2, usual 2 +- 1; adapter 1: 5 and 6, usual 5 +- 0.5
  expect([...standardLosses(pool(standards), [1, 5, 2, 6])]).toEqual([-0.5, 1]);
});
