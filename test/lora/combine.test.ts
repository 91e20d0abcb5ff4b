// npx vitest run test/lora/combine.test.ts
import { describe, expect, it } from 'vitest';
import { topSvd } from '../../src/core/linalg/svd.js';
import { createRandom } from '../../src/core/random.js';
import type { LoraFactors, ModuleShape } from '../../src/lora/combine.js';
import { combineCat, combineLinear, combineSvd } from '../../src/lora/combine.js';

const random = createRandom(3, 'combine');

function factors(shape: ModuleShape, r: number, scale = 2): LoraFactors {
  const normals = (count: number): Float32Array => Float32Array.from({ length: count }, () => random.normal());
  return { r, scale, a: normals(r * shape.in), b: normals(shape.out * r) };
}

/** sum_n alpha_n s_n B_n A_n the slow way, (out, in) in float64. */
function denseDelta(list: readonly LoraFactors[], coefficients: readonly number[], shape: ModuleShape): Float64Array {
  const delta = new Float64Array(shape.out * shape.in);
  for (const [n, { a, b, r, scale }] of list.entries())
    for (let o = 0; o < shape.out; o++)
      for (let j = 0; j < r; j++)
        for (let i = 0; i < shape.in; i++)
          delta[o * shape.in + i]! += coefficients[n]! * scale * b[o * r + j]! * a[j * shape.in + i]!;
  return delta;
}

const norm = (x: Float64Array): number => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
const distance = (x: Float64Array, y: Float64Array): number => norm(x.map((v, i) => v - y[i]!));

/** |B A - delta| / |delta| for a result. */
function relativeDistance(
  result: { a: Float32Array; b: Float32Array; r: number },
  delta: Float64Array,
  shape: ModuleShape,
) {
  return distance(denseDelta([{ ...result, scale: 1 }], [1], shape), delta) / norm(delta);
}

const FLOAT32 = 3e-7; // a few roundings to float32

const shapes: ModuleShape[] = [
  { in: 30, out: 40 },
  { in: 300, out: 7 },
  { in: 5, out: 260 },
  { in: 1, out: 1 },
];

describe('combineCat', () => {
  it.each(shapes)('equals the dense sum of deltas, with mixed ranks and signs, for %o', (shape) => {
    const list = [factors(shape, 2, 2), factors(shape, 3, 0.5), factors(shape, 1, 4 / Math.sqrt(8))];
    const coefficients = [0.5, -1.25, 3];
    const result = combineCat(list, coefficients, shape);
    expect(result.r).toBe(6);
    expect(relativeDistance(result, denseDelta(list, coefficients, shape), shape)).toBeLessThan(FLOAT32);
  });

  it('keeps a single adapter as it is, with its scale in B', () => {
    const shape = { in: 6, out: 5 };
    const only = factors(shape, 2, 2);
    const { a, b } = combineCat([only], [1], shape);
    expect(a).toEqual(only.a);
    expect(b).toEqual(only.b.map((v) => 2 * v));
  });

  it('leaves out adapters of coefficient zero', () => {
    const shape = { in: 6, out: 5 };
    const [first, second] = [factors(shape, 2), factors(shape, 3)];
    expect(combineCat([first, second], [0, 0.5], shape)).toEqual(combineCat([second], [0.5], shape));
    expect(combineCat([first], [0], shape).r).toBe(0);
  });
});

describe('combineSvd', () => {
  it.each(shapes)('is exact when the rank suffices, for %o', (shape) => {
    const list = [factors(shape, 2), factors(shape, 3, 0.5)];
    const coefficients = [0.5, -2];
    for (const rank of [5, 9]) {
      const result = combineSvd(list, coefficients, shape, rank);
      expect(relativeDistance(result, denseDelta(list, coefficients, shape), shape)).toBeLessThan(FLOAT32);
      expect(result.relativeError).toBe(0);
      expect(result.effectiveRank).toBe(Math.min(5, shape.in, shape.out));
      expect(result.a.length).toBe(rank * shape.in);
    }
  });

  it.each([1, 2, 3, 4])('is the best approximation of rank %i, as the dense SVD finds it', (rank) => {
    const shape = { in: 24, out: 31 };
    const list = [factors(shape, 2, 3), factors(shape, 3), factors(shape, 4, 0.1)];
    const coefficients = [0.7, -0.2, 1];
    const delta = denseDelta(list, coefficients, shape);
    const result = combineSvd(list, coefficients, shape, rank);
    const { s } = topSvd(delta, shape.out, shape.in, 1);
    const best = norm(s.subarray(rank)) / norm(s);
    expect(result.relativeError).toBeCloseTo(best, 12);
    expect(relativeDistance(result, delta, shape)).toBeCloseTo(best, 6);
  });

  it('is balanced: the columns of B and the rows of A have the singular values as squared lengths', () => {
    const shape = { in: 24, out: 31 };
    const list = [factors(shape, 3)];
    const { a, b, r } = combineSvd(list, [0.8], shape, 3);
    const { s } = topSvd(denseDelta(list, [0.8], shape), shape.out, shape.in, 1);
    for (let k = 0; k < r; k++) {
      const rowOfA = Float64Array.from(a.subarray(k * shape.in, (k + 1) * shape.in));
      const columnOfB = Float64Array.from({ length: shape.out }, (_, o) => b[o * r + k]!);
      expect(norm(rowOfA) ** 2 / s[k]!).toBeCloseTo(1, 5);
      expect(norm(columnOfB) ** 2 / s[k]!).toBeCloseTo(1, 5);
      const largest = rowOfA.reduce((best, v) => (Math.abs(v) > Math.abs(best) ? v : best), 0);
      expect(largest).toBeGreaterThan(0);
    }
  });

  it('sees an error of 1e-7, and one of 1e-9, as such', () => {
    const shape = { in: 40, out: 50 };
    const [large, small] = [factors(shape, 2), factors(shape, 1)];
    for (const weight of [1e-7, 1e-9]) {
      const delta = denseDelta([large, small], [1, weight], shape);
      const { s } = topSvd(delta, shape.out, shape.in, 1);
      const { relativeError } = combineSvd([large, small], [1, weight], shape, 2);
      expect(relativeError / (s[2]! / norm(s))).toBeCloseTo(1, 4);
      expect(relativeError).toBeLessThan(weight);
      expect(relativeError).toBeGreaterThan(weight / 10);
    }
  });

  it('handles repeated adapters, a frozen A shared by all, and zero rows', () => {
    const shape = { in: 40, out: 50 };
    const first = factors(shape, 3);
    const sharedA = { ...factors(shape, 3), a: first.a };
    const withZeros = { ...factors(shape, 3), a: first.a.map((v, i) => (i < shape.in ? 0 : v)) };
    for (const list of [
      [first, first],
      [first, sharedA],
      [withZeros, sharedA],
      [first, withZeros, first],
    ]) {
      const coefficients = list.map((_, n) => 1 / (n + 2));
      const delta = denseDelta(list, coefficients, shape);
      const result = combineSvd(list, coefficients, shape, 3);
      // all have the same three directions of A, so rank three is exact
      expect(result.effectiveRank).toBe(3);
      expect(result.relativeError).toBe(0);
      expect(relativeDistance(result, delta, shape)).toBeLessThan(FLOAT32);
    }
  });

  it('gives zeros for a zero delta, whether by coefficients, by an untrained B or by cancellation', () => {
    const shape = { in: 40, out: 50 };
    const one = factors(shape, 3);
    const untrained = { ...one, b: new Float32Array(one.b.length) };
    for (const [list, coefficients] of [
      [[one], [0]],
      [[untrained], [1]],
      [
        [one, one],
        [1, -1],
      ],
      [
        [one, one, one],
        [0.1, 0.2, -0.3],
      ],
    ] as const) {
      const result = combineSvd(list, coefficients, shape, 2);
      expect(result.effectiveRank).toBe(0);
      expect(result.relativeError).toBe(0);
      expect([...result.a, ...result.b].every((v) => v === 0)).toBe(true);
    }
  });

  it('keeps components of very different sizes and unbalanced factors', () => {
    const shape = { in: 40, out: 50 };
    const skewed = factors(shape, 2);
    const list = [
      { ...skewed, a: skewed.a.map((v) => v * 1e-12), b: skewed.b.map((v) => v * 1e12) },
      factors(shape, 2),
    ];
    const delta = denseDelta(list, [1, 1], shape);
    expect(relativeDistance(combineSvd(list, [1, 1], shape, 4), delta, shape)).toBeLessThan(FLOAT32);
  });

  it('gives the same bytes twice', () => {
    const shape = { in: 64, out: 32 };
    const list = [factors(shape, 8), factors(shape, 8)];
    expect(combineSvd(list, [0.4, 0.6], shape, 4)).toEqual(combineSvd(list, [0.4, 0.6], shape, 4));
  });
});

describe('combineLinear', () => {
  it('is A = sum alpha A_n and B = sum alpha s B_n, by hand', () => {
    const shape = { in: 2, out: 1 };
    const list: LoraFactors[] = [
      { r: 1, scale: 2, a: Float32Array.of(1, 2), b: Float32Array.of(3) },
      { r: 1, scale: 4, a: Float32Array.of(-1, 5), b: Float32Array.of(0.5) },
    ];
    const { a, b } = combineLinear(list, [0.5, 0.25], shape);
    expect([...a]).toEqual([0.25, 2.25]);
    expect([...b]).toEqual([3.5]);
  });

  it('is the adapter itself when it is alone with weight one, and says so', () => {
    const shape = { in: 12, out: 9 };
    const list = [factors(shape, 2)];
    const result = combineLinear(list, [1], shape);
    expect(relativeDistance(result, denseDelta(list, [1], shape), shape)).toBeLessThan(FLOAT32);
    expect(result.relativeError).toBeLessThan(FLOAT32);
  });

  it('knows an error of nearly nothing: of one adapter exactly, of a small second one to twelve digits', () => {
    const shape = { in: 12, out: 9 };
    const [large, small] = [factors(shape, 2), factors(shape, 2)];
    expect(combineLinear([large], [1], shape).relativeError).toBe(0);
    for (const epsilon of [1e-3, 1e-6, 1e-9]) {
      // (1, epsilon): the difference is the cross terms B1 A2 and B2 A1, and what the second has too little
      const list = [large, small];
      const delta = denseDelta(list, [1, epsilon], shape);
      const cross = denseDelta(
        [{ ...large, a: small.a }, { ...small, a: large.a }, small],
        [epsilon, epsilon, epsilon * epsilon - epsilon],
        shape,
      );
      const { relativeError } = combineLinear(list, [1, epsilon], shape);
      expect(relativeError / (norm(cross) / norm(delta))).toBeCloseTo(1, 12);
    }
  });

  it('takes adapters that share A for exact, to 1e-7', () => {
    const shape = { in: 12, out: 9 };
    const first = factors(shape, 2);
    const list = [first, { ...factors(shape, 2), a: first.a }];
    expect(combineLinear(list, [0.25, 0.75], shape).relativeError).toBeLessThan(1e-7);
  });

  it('has no error of a delta that is zero', () => {
    const shape = { in: 12, out: 9 };
    const one = factors(shape, 2);
    expect(combineLinear([one], [0], shape).relativeError).toBe(0);
    expect(combineLinear([{ ...one, b: new Float32Array(one.b.length) }], [1], shape).relativeError).toBe(0);
    expect(combineLinear([], [], shape)).toMatchObject({ r: 0, relativeError: 0 });
  });

  it('reports how far its cross terms take it from the delta', () => {
    const shape = { in: 12, out: 9 };
    const list = [factors(shape, 2), factors(shape, 2)];
    const result = combineLinear(list, [0.5, 0.5], shape);
    expect(result.relativeError).toBeGreaterThan(0.1);
    const measured = relativeDistance(result, denseDelta(list, [0.5, 0.5], shape), shape);
    expect(result.relativeError).toBeCloseTo(measured, 6);
  });
});
