import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { cosine, meanRows, normalise } from '../../../src/core/vector.js';
import { buildScopeProfile, percentileAmong, scopeScore } from '../../../src/routing/signals/scope.js';

/** n draws around a direction. */
function around(direction: number[], spread: number, n: number, seed: number): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from(
    { length: n * direction.length },
    (_, i) => direction[i % direction.length]! + spread * random.normal(),
  );
}

describe('buildScopeProfile', () => {
  it('agrees with the slow definition: leave one out, mean of the others', () => {
    const [n, d] = [6, 5];
    const data = around([1, 2, 0, -1, 0.5], 0.8, n, 1);
    const units = Array.from({ length: n }, (_, i) => normalise(data.subarray(i * d, (i + 1) * d)));
    const expected = units.map((unit, i) => {
      const others = units.filter((_, j) => j !== i);
      return cosine(unit, meanRows(Float64Array.from(others.flatMap((u) => [...u])), n - 1, d));
    });
    const profile = buildScopeProfile(data, n, d);
    const centre = normalise(meanRows(Float64Array.from(units.flatMap((u) => [...u])), n, d));
    expect(profile.reference).toHaveLength(n);
    for (const [i, x] of expected.sort((a, b) => a - b).entries()) expect(profile.reference[i]).toBeCloseTo(x, 12);
    for (const [j, x] of centre.entries()) expect(profile.centre[j]).toBeCloseTo(x, 12);
  });

  it('gives every example the same weight, however long its embedding', () => {
    const data = around([1, 0, 0], 0.5, 4, 2);
    const stretched = data.map((x, i) => (i < 3 ? 1000 * x : x));
    const [a, b] = [buildScopeProfile(data, 4, 3), buildScopeProfile(stretched, 4, 3)];
    for (let j = 0; j < 3; j++) expect(b.centre[j]).toBeCloseTo(a.centre[j]!, 5);
  });

  it('survives JSON', () => {
    const profile = buildScopeProfile(around([1, 1], 0.3, 3, 3), 3, 2);
    const query = Float32Array.of(0.2, 0.9);
    expect(scopeScore(JSON.parse(JSON.stringify(profile)), query)).toEqual(scopeScore(profile, query));
  });

  it('refuses embeddings without numbers, and fewer than two', () => {
    expect(() => buildScopeProfile(Float32Array.of(1, Number.NaN, 1, 1), 2, 2)).toThrow(/not finite/);
    expect(() => buildScopeProfile(Float32Array.of(1, 1), 1, 2)).toThrow(/are not \(1, 2\)/);
  });
});

describe('percentileAmong', () => {
  const reference = [0.5, 0.7, 0.9];

  it('stands the i-th of n at 100 i / (n + 1), and between them in proportion', () => {
    expect(percentileAmong(reference, 0.5)).toBe(25);
    expect(percentileAmong(reference, 0.7)).toBe(50);
    expect(percentileAmong(reference, 0.9)).toBe(75);
    expect(percentileAmong(reference, 0.6)).toBeCloseTo(37.5, 10);
    expect(percentileAmong(reference, 0.95)).toBeCloseTo(87.5, 10);
    expect(percentileAmong(reference, 1)).toBe(100);
  });

  it('falls off below the lowest by the spread of the reference', () => {
    const spread = Math.sqrt((0.04 + 0 + 0.04) / 3);
    expect(percentileAmong(reference, 0.5 - spread)).toBeCloseTo(25 * Math.exp(-1), 10);
    expect(percentileAmong(reference, -1)).toBeGreaterThan(0);
    expect(percentileAmong(reference, -1)).toBeLessThan(0.01);
  });

  it('rises strictly and stays within 0 and 100', () => {
    for (const values of [reference, [0.2, 0.2, 0.2, 0.4], [0.99, 0.99, 0.99], [0.1, 0.5, 0.9, 1]]) {
      const at = Array.from({ length: 401 }, (_, i) => percentileAmong(values, -1 + i / 200));
      for (let i = 1; i < at.length; i++) expect(at[i]! >= at[i - 1]!).toBe(true);
      expect(at[0]).toBeGreaterThanOrEqual(0);
      expect(at.at(-1)).toBeLessThanOrEqual(100);
    }
  });

  it('stands equal ones at their mean place, whole lists of them too', () => {
    expect(percentileAmong([0.2, 0.4, 0.4, 0.6], 0.4)).toBe(50);
    expect(percentileAmong([1, 1, 1], 1)).toBe(50);
    expect(percentileAmong([0.8, 0.8, 0.8], 0.79)).toBeLessThan(0.001);
    expect(percentileAmong([0.8, 0.8, 0.8], 0.8)).toBe(50);
  });

  it('says NaN for NaN', () => {
    expect(percentileAmong(reference, Number.NaN)).toBeNaN();
    const profile = buildScopeProfile(Float32Array.of(1, 0, 0, 1), 2, 2);
    expect(scopeScore(profile, Float32Array.of(Number.NaN, 1)).percentile).toBeNaN();
  });
});

describe('scopeScore', () => {
  it.each([3, 10, 50])('spreads queries of the same kind evenly over the percentiles, with %i examples', (n) => {
    const direction = Array.from({ length: 16 }, () => 1);
    const percentiles: number[] = [];
    for (let user = 0; user < 60; user++) {
      const profile = buildScopeProfile(around(direction, 0.7, n, user), n, 16);
      for (let query = 0; query < 20; query++) {
        percentiles.push(scopeScore(profile, around(direction, 0.7, 1, 1000 + 20 * user + query)).percentile);
      }
    }
    percentiles.sort((a, b) => a - b);
    const shareBelow = (cut: number) => percentiles.filter((p) => p < cut).length / percentiles.length;
    // The reference lies a little low (it rests on n - 1), so never more than the share that the percentile names.
    for (const cut of [25, 50, 75]) expect(shareBelow(cut)).toBeLessThan(cut / 100 + 0.05);
    expect(shareBelow(50)).toBeGreaterThan(n < 10 ? 0.15 : 0.35);
  });

  it('puts another kind of query far below', () => {
    const profile = buildScopeProfile(around([1, 1, 1, 0, 0, 0], 0.2, 10, 7), 10, 6);
    const own = scopeScore(profile, around([1, 1, 1, 0, 0, 0], 0.2, 1, 8));
    const other = scopeScore(profile, around([0, 0, 0, 1, 1, 1], 0.2, 1, 9));
    expect(own.percentile).toBeGreaterThan(5);
    expect(other.percentile).toBeLessThan(0.01);
    expect(other.similarity).toBeLessThan(own.similarity);
  });
});
