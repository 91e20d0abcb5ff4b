import { describe, expect, it } from 'vitest';
import { clusterGate } from '../../src/blend/cluster-gate.js';
import { gate } from '../../src/core/gate.js';
import type { Pool } from '../../src/pool/pool.js';

/** Two clusters along the axes; their own examples have cosines from 0.6 to 1, the 5th percentile at 0.7. */
function pool(size = 100, lowest = 0.6): Pick<Pool, 'centroids' | 'manifest'> {
  const similarity = { mean: 0.9, quantiles: [lowest, lowest + 0.1, 0.8, 0.85, 0.9, 0.95, 1] };
  const manifest = { N: 2, tau: 0.1, clusters: [0, 1].map(() => ({ size, similarity })) } as Pool['manifest'];
  return { centroids: Float32Array.of(1, 0, 0, 0, 1, 0), manifest };
}

describe('the gate of a router', () => {
  it("is the blend's where the query is like a cluster's own examples, with nothing for strays", () => {
    const alpha = clusterGate(pool())(Float32Array.of(0.8, 0.6, 0));
    for (const [n, expected] of gate([0.8, 0.6], 0.1).entries()) expect(alpha[n]).toBeCloseTo(expected, 6);
    expect(alpha[2]).toBe(0);
  });

  it('gives a stray to no cluster, however near it is to one among them', () => {
    const q = (cosine: number) => Float32Array.of(cosine, 0, Math.sqrt(1 - cosine ** 2));
    expect(Array.from(clusterGate(pool())(q(0.69)))).toEqual([0, 0, 1]);
    expect(clusterGate(pool())(q(0.71))[2]).toBe(0);
  });

  it('has no cluster for a text without a known word', () => {
    expect(Array.from(clusterGate(pool())(new Float32Array(3)))).toEqual([0, 0, 1]);
  });

  it('refuses an embedding that is not a number', () => {
    expect(() => clusterGate(pool())(Float32Array.of(Number.NaN, 0, 0))).toThrow(
      expect.objectContaining({ code: 'numbers-diverged' }),
    );
  });
});
