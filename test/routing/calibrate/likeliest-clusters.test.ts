import { describe, expect, it } from 'vitest';
import { likeliestClusters } from '../../../src/routing/calibrate/likeliest-clusters.js';

const one = (k: number, n: number) => Array.from({ length: k }, (_, c) => (c === n ? 1 : 0));
const N = 60;
/** The device is right on every second question, the server on the others. */
const records = Array.from({ length: N }, (_, i) => ({ edgeCorrect: i % 2, serverCorrect: 1 - (i % 2) }));
const all = Array.from({ length: N }, () => [1]);
const halves = Array.from({ length: N }, (_, i) => one(2, i % 2));
const noise = Array.from({ length: N }, (_, i) => one(12, (i >> 1) % 12));

describe('the likeliest clusters', () => {
  it('are those that tell the answers apart', () => {
    const { chosen, logLikelihoods } = likeliestClusters([all, halves, noise], records);
    expect(chosen).toBe(1);
    expect(logLikelihoods[1]).toBeGreaterThan(logLikelihoods[0]! + 1);
  });

  it('are not more of them where more tell nothing', () => {
    expect(likeliestClusters([all, noise], records).chosen).toBe(0);
  });

  it("weigh the server's answers too", () => {
    const always = records.map(({ serverCorrect }) => ({ edgeCorrect: 1, serverCorrect }));
    expect(likeliestClusters([all, halves], always).chosen).toBe(1);
  });

  it('are the first of equal ones', () => {
    expect(likeliestClusters([halves, halves], records).chosen).toBe(0);
  });
});
