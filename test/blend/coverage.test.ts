// npx vitest run test/blend/coverage.test.ts
import { describe, expect, it } from 'vitest';
import { checkCoverage, percentileOf } from '../../src/blend/coverage.js';
import type { Rows } from '../../src/core/gate.js';
import { createRandom } from '../../src/core/random.js';
import { cosine } from '../../src/core/vector.js';

const D = 8;
const random = createRandom(2, 'coverage');

/** Points around the axis `axis`, scattered by `noise`. */
function around(axis: number, noise: number, n: number): Rows {
  const data = Float32Array.from({ length: n * D }, (_, i) => (i % D === axis ? 1 : 0) + noise * random.normal());
  return { data, n, d: D };
}

const axes: Rows = {
  data: Float32Array.from({ length: 2 * D }, (_, i) => (i === 0 || i === D + 1 ? 1 : 0)),
  n: 2,
  d: D,
};

/** What build-pool stores of a cluster of training points. */
function cluster(axis: number, noise: number, n: number) {
  const { data } = around(axis, noise, n);
  const centroid = axes.data.subarray(axis * D, (axis + 1) * D);
  const similarities = Array.from({ length: n }, (_, i) => cosine(data.subarray(i * D, (i + 1) * D), centroid));
  similarities.sort((a, b) => a - b);
  const quantiles = [0, 5, 25, 50, 75, 95, 100].map((p) => similarities[Math.round((p / 100) * (n - 1))]!);
  return { size: n, similarity: { mean: similarities.reduce((a, b) => a + b, 0) / n, quantiles } };
}

const clusters = [cluster(0, 0.2, 500), cluster(1, 0.3, 500)];

describe('checkCoverage', () => {
  it('finds fresh examples of the training kind covered, near the middle', () => {
    const { verdict, percentile, similarity, trainingSimilarity, examples } = checkCoverage(
      around(1, 0.3, 200),
      axes,
      clusters,
    );
    expect(verdict).toBe('covered');
    expect(percentile).toBeGreaterThan(35);
    expect(percentile).toBeLessThan(65);
    expect(similarity).toBeCloseTo(trainingSimilarity, 1);
    expect(examples).toHaveLength(200);
  });

  it('finds examples of another kind not covered', () => {
    const { verdict, sentence, strayShare } = checkCoverage(around(5, 0.2, 20), axes, clusters);
    expect(verdict).toBe('not-covered');
    expect(strayShare).toBe(1);
    expect(sentence).toMatch(/does not cover .* percentile 0 .* 20 of 20/);
  });

  it('finds a mixture of both borderline', () => {
    const mixed: Rows = {
      data: new Float32Array([...around(0, 0.2, 12).data, ...around(5, 0.2, 8).data]),
      n: 20,
      d: D,
    };
    expect(checkCoverage(mixed, axes, clusters).verdict).toBe('borderline');
  });

  it('judges by the whole pool where a cluster is too small to have quantiles of its own', () => {
    const tiny = [clusters[0]!, { size: 1, similarity: { mean: 1, quantiles: [1, 1, 1, 1, 1, 1, 1] } }];
    expect(checkCoverage(around(1, 0.15, 50), axes, tiny).verdict).toBe('covered');
  });

  it('refuses no examples', () => {
    expect(() => checkCoverage({ data: new Float32Array(0), n: 0, d: D }, axes, clusters)).toThrow(
      expect.objectContaining({ code: 'examples-count' }),
    );
  });
});

describe('percentileOf', () => {
  const quantiles = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];
  it.each([
    [0.05, 0],
    [0.1, 0],
    [0.15, 2.5],
    [0.2, 5],
    [0.4, 50],
    [0.55, 85],
    [0.7, 100],
    [0.9, 100],
  ])('puts %d at %d', (value, percentile) => expect(percentileOf(value, quantiles)).toBeCloseTo(percentile, 9));

  it('handles quantiles that are all the same', () => {
    expect(percentileOf(1, [1, 1, 1, 1, 1, 1, 1])).toBe(100);
    expect(percentileOf(0.9, [1, 1, 1, 1, 1, 1, 1])).toBe(0);
  });
});
