/** LoraHub's search on functions of known minimum, and its mixture of factors against the sum by hand. */

import { describe, expect, it } from 'vitest';
import { randomCoefficients } from '../../../src/bench/strategies/blends.js';
import { mixFactors, onePlusOne, withPenalty } from '../../../src/bench/strategies/lorahub.js';
import { createRandom } from '../../../src/core/random.js';
import { adapterFactors, createLoraLayout, setAdapterFactors } from '../../../src/model/lora-layout.js';

const search = (objective: (w: readonly number[]) => number, evaluations: number, seed = 1, N = 3) =>
  onePlusOne(objective, { N, evaluations, bound: 1.5, random: createRandom(seed, 'test') });

describe('onePlusOne', () => {
  it('begins at zero, evaluates as often as it may, stays in its bounds', async () => {
    const seen: number[][] = [];
    const result = await search((w) => {
      seen.push([...w]);
      return -w[0]!; // pulls to the bound
    }, 40);
    expect(seen).toHaveLength(40);
    expect(seen[0]).toEqual([0, 0, 0]);
    expect(Math.max(...seen.flat().map(Math.abs))).toBe(1.5);
    expect(result.best[0]).toBe(1.5);
    expect(result.objective).toBe(-1.5);
  });

  it('finds the minimum of a bowl', async () => {
    const centre = [0.7, -1.2, 0.1];
    const bowl = (w: readonly number[]) => w.reduce((sum, x, i) => sum + (x - centre[i]!) ** 2, 0);
    const { best, objective } = await search(bowl, 400);
    expect(objective).toBeLessThan(1e-3);
    for (const [i, x] of best.entries()) expect(x).toBeCloseTo(centre[i]!, 1);
    expect((await search(bowl, 40)).objective).toBeLessThan(bowl([0, 0, 0]) / 3);
  });

  it('is a function of its seed', async () => {
    const objective = (w: readonly number[]) => Math.sin(5 * w[0]!) + w[1]! ** 2 + Math.abs(w[2]! - 1);
    expect(await search(objective, 40, 3)).toEqual(await search(objective, 40, 3));
    expect((await search(objective, 40, 4)).best).not.toEqual((await search(objective, 40, 3)).best);
  });

  it('changes its step by the one-fifth rule: twice after a success, 0.84 of it after a failure', async () => {
    // The candidates of a search that never succeeds are draws around zero, with a step that shrinks.
    const random = createRandom(9, 'test');
    const draws = Array.from({ length: 4 }, () => random.normal());
    const seen: number[] = [];
    await onePlusOne(
      (w) => {
        seen.push(w[0]!);
        return w[0] === 0 ? 0 : 1;
      },
      { N: 1, evaluations: 5, bound: 1.5, random: createRandom(9, 'test') },
    );
    const expected = draws.map((z, i) => Math.min(1.5, Math.max(-1.5, 0.5 * 0.84 ** i * z)));
    expect(seen.slice(1).map((x) => x.toFixed(12))).toEqual(expected.map((x) => x.toFixed(12)));
  });
});

it('adds the mean of the absolute coefficients, as the authors do', () => {
  expect(withPenalty(2, [1, -1, 0.5, 0], 0.05)).toBeCloseTo(2 + 0.05 * (2.5 / 4), 12);
});

describe('mixFactors', () => {
  it('adds up A and B apart, each by its coefficients, cross terms and all', () => {
    const modules = [{ name: 'm', in: 2, out: 3 }];
    const layout = createLoraLayout(modules, 2, 1);
    const parameters = new Float32Array(layout.size);
    const factors = [
      { a: Float32Array.of(1, 2), b: Float32Array.of(1, 0, -1) },
      { a: Float32Array.of(3, -1), b: Float32Array.of(2, 1, 4) },
    ];
    factors.forEach((f, n) => {
      setAdapterFactors(layout, parameters, layout.modules[0]!, n, f);
    });
    const mixed = mixFactors({ layout, parameters, loraAlpha: 1, gates: [[1, 1]] }, [2, -1]);
    expect(mixed.layout).toMatchObject({ adapters: 1, r: 1 });
    const { a, b } = adapterFactors(mixed.layout, mixed.parameters, mixed.layout.modules[0]!, 0);
    expect([...a]).toEqual([2 * 1 - 3, 2 * 2 + 1]);
    expect([...b]).toEqual([2 - 2, -1, -2 - 4]);
    expect(mixed.gates).toEqual([[1]]);
  });
});

it('draws random coefficients that sum to one, evenly over the mixtures', () => {
  const draws = Array.from({ length: 2000 }, (_, seed) => randomCoefficients(3, seed));
  for (const c of draws) expect(c.reduce((x, y) => x + y, 0)).toBeCloseTo(1, 12);
  const first = draws.map((c) => c[0]!);
  const mean = first.reduce((x, y) => x + y, 0) / first.length;
  const variance = first.reduce((sum, x) => sum + (x - mean) ** 2, 0) / first.length;
  // flat Dirichlet of three: mean 1/3, variance 1/18
  expect(mean).toBeCloseTo(1 / 3, 1);
  expect(variance).toBeCloseTo(1 / 18, 2);
  expect(randomCoefficients(3, 5)).toEqual(draws[5]);
});
