import { describe, expect, it } from 'vitest';
import { buildScopeProfile, scopeScore } from '../../../src/routing/signals/scope.js';
import { BLEND, type Blend, keptProfile, scopeBy } from '../../../src/serve/customizations/record.js';
import { textEmbedder, textQuery } from '../helpers.js';

const rowsOf = (vectors: number[][]) => ({
  data: Float32Array.from(vectors.flat()),
  n: vectors.length,
  d: vectors[0]!.length,
});
const sparse = rowsOf([
  [0, 0, 1, 0, 0, 0.5, 0, 0],
  [0, 0, 1, 0, 0, 0.25, 0, 0],
  [0, 0, 0.5, 0, 0, 1, 0, 0],
]);
const dense = rowsOf([
  [1, 0.1, -0.2],
  [0.9, 0.3, 0.1],
]);
const blend: Blend = {
  ...{ form: 'scales', coefficients: [0.5, 0.5], similarities: null, coverage: null, examples: 3, notices: [], ms: 1 },
  ...{ choice: null, profile: keptProfile(sparse) },
};

describe('a kept scope profile', () => {
  it.each([
    ['with most places zero', sparse, Float32Array.of(0, 1, 1, 0, 0, 0.7, 0, 0)],
    ['with none zero', dense, Float32Array.of(0.5, 0.5, 0.1)],
  ])('%s: the scores of the whole one, through JSON', (_, rows, vector) => {
    const kept = keptProfile(rows);
    expect(kept.at === null).toBe(rows === dense);
    const found = scopeBy(
      JSON.parse(JSON.stringify(kept)),
      textEmbedder(() => ({ vector, tokens: 1 })),
    )(textQuery('a'))!;
    const whole = scopeScore(buildScopeProfile(rows.data, rows.n, rows.d), vector);
    expect(found.similarity).toBeCloseTo(whole.similarity, 6);
    expect(found.percentile).toBeCloseTo(whole.percentile, 3);
  });

  it('takes a few bytes for each token of the examples, whatever the vocabulary', () => {
    const [n, d] = [10, 150_000];
    const data = new Float32Array(n * d);
    for (let i = 0; i < n; i++) for (let t = 0; t < 40; t++) data[i * d + 97 * (40 * i + t)] = 1;
    expect(JSON.stringify(keptProfile({ data, n, d })).length).toBeLessThan(5000);
  });

  const words = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer).toString('base64');
  it.each<[string, object]>([
    ['places beyond the centre', { at: words(2, 8) }],
    ['places twice', { at: words(2, 2) }],
    ['too few places', { at: words(2) }],
    ['half a word', { at: 'AAAA' }],
    ['a value that is not finite', { values: words(0x7f800000, 0) }],
    ['no base64', { values: '!' }],
    ['another size', { at: null }],
    ['a size beyond any vocabulary', { d: 2 ** 40 }],
    ['cosines beyond 1', { reference: [0.5, 3] }],
  ])('refuses %s', (_, change) => {
    expect(BLEND.safeParse(blend).success).toBe(true);
    expect(BLEND.safeParse({ ...blend, profile: { ...blend.profile, ...change } }).success).toBe(false);
  });
});
