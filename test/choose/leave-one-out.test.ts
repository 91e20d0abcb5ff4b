import { describe, expect, it } from 'vitest';
import { estimateCoefficients } from '../../src/blend/coefficients.js';
import { CANDIDATES, candidatesFor } from '../../src/choose/candidates.js';
import { leaveOneOut } from '../../src/choose/leave-one-out.js';
import type { Pool, PoolManifest } from '../../src/pool/pool.js';

const N = 5;
/** Centroids along the axes. */
const manifest = {
  N,
  tau: 0.1,
  general: {},
  embedding: { kind: 'tfidf', centred: false, dim: N },
  standards: {
    similarity: { examples: 9, mean: Array(N).fill(0.1), deviation: 0.3 },
    loss: { examples: 9, mean: Array(N).fill(2), deviation: Array(N).fill(1) },
  },
} as unknown as PoolManifest;
const centroids = Float32Array.from({ length: N * N }, (_, i) => (i % (N + 1) === 0 ? 1 : 0));
const pool = { manifest, centroids } as Pool;

/** Examples near these axes; an adapter's loss is the lower, the nearer it is. */
const seenOf = (...axes: number[]) => {
  const data = new Float32Array(axes.length * N);
  for (const [i, axis] of axes.entries()) data.set([0.9, 0.1], i * N + axis);
  return { rows: { data, n: axes.length, d: N }, losses: data.map((x) => 3 - x) };
};
const candidates = candidatesFor(manifest);
const looksAtExamples = candidates.filter(
  ({ kind, name }) => kind === 'fixed' && !['base', 'general', 'uniform'].includes(name),
);

describe('leaveOneOut', () => {
  it.each(candidates)('$name makes no use of the example that is left out', async (candidate) => {
    const shown = await leaveOneOut(pool, seenOf(0, 0, 1), candidate);
    const other = await leaveOneOut(pool, seenOf(0, 0, 3), candidate);
    if (candidate.kind === 'per-query') expect(other[2]).not.toEqual(shown[2]);
    else expect(other[2]).toEqual(shown[2]);
  });

  it.each(looksAtExamples)('$name makes use of the others', async (candidate) => {
    const shown = await leaveOneOut(pool, seenOf(0, 1, 1), candidate);
    const other = await leaveOneOut(pool, seenOf(0, 3, 3), candidate);
    expect(other[0]).not.toEqual(shown[0]);
  });

  it('is the candidate’s own estimate of the others', async () => {
    const { rows } = seenOf(0, 1, 2);
    const space = { data: centroids, n: N, d: N };
    const byHand = {
      similarity: estimateCoefficients('similarity', rows, space, { tau: 0.1 }),
      softer: estimateCoefficients('similarity', rows, space, { tau: 0.2 }),
      'top-2': estimateCoefficients('similarity', rows, space, { tau: 0.1, topK: 2 }),
      'mean-gate': estimateCoefficients('mean-gate', rows, space, { tau: 0.1 }),
    };
    for (const [name, { coefficients }] of Object.entries(byHand)) {
      const candidate = CANDIDATES.find((one) => one.name === name)!;
      expect((await leaveOneOut(pool, seenOf(0, 1, 1, 2), candidate))[1], name).toEqual(coefficients);
    }
  });

  it('weighs each prompt by itself per query', async () => {
    const perQuery = CANDIDATES.find(({ name }) => name === 'per-query-nearest')!;
    expect((await leaveOneOut(pool, seenOf(0, 1, 2), perQuery)).map((alpha) => alpha.indexOf(1))).toEqual([0, 1, 2]);
  });
});

describe('candidatesFor', () => {
  it('leaves out what is no other thing on a small pool, or what a pool does not say', () => {
    const names = (changed: Partial<PoolManifest>) =>
      candidatesFor({ ...manifest, ...changed }).map(({ name }) => name);
    expect(names({ N: 1, general: undefined, standards: undefined })).toEqual(['similarity', 'base']);
    expect(names({ N: 2 })).not.toContain('top-2');
    expect(names({})).toEqual(CANDIDATES.map(({ name }) => name));
    const trained = candidatesFor(manifest, { refine: 1, loraFromBlend: { rank: 8 } }).map(({ name }) => name);
    expect(trained.slice(-2)).toEqual(['refine', 'lora-from-blend']);
    expect(trained).toHaveLength(CANDIDATES.length + 2);
    const unmeasured = names({ standards: undefined });
    for (const name of ['standardised', 'label-evidence']) expect(unmeasured).not.toContain(name);
  });
});
