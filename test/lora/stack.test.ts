// npx vitest run test/lora/stack.test.ts
import { describe, expect, it } from 'vitest';
import { thinQr } from '../../src/core/linalg/qr.js';
import { createRandom } from '../../src/core/random.js';
import { combineLinear, combineSvd, type LoraFactors, type StackTriangles } from '../../src/lora/combine.js';
import { gramOf, stackFactors, triangleOf } from '../../src/lora/stack.js';

const random = createRandom(8, 'stack');
const shape = { in: 90, out: 70 };
const normals = (count: number): Float32Array => Float32Array.from({ length: count }, () => random.normal());
const list: LoraFactors[] = [2, 3, 3].map((r) => ({
  r,
  scale: 1.5,
  a: normals(r * shape.in),
  b: normals(shape.out * r),
}));

/** R of all components of the list, as a pool keeps it. */
function triangles(of: readonly LoraFactors[]): StackTriangles {
  const k = of.reduce((sum, { r }) => sum + r, 0);
  const pack = (vectors: number[][]): Float64Array => {
    const { r } = thinQr(Float64Array.from(vectors.flat()), k, vectors[0]!.length);
    return Float64Array.from(vectors.flatMap((_, j) => Array.from({ length: j + 1 }, (_, i) => r[i * k + j]!)));
  };
  const a = of.flatMap((f) =>
    Array.from({ length: f.r }, (_, j) => [...f.a.subarray(j * shape.in, (j + 1) * shape.in)]),
  );
  const b = of.flatMap((f) =>
    Array.from({ length: f.r }, (_, j) => Array.from({ length: shape.out }, (_, o) => f.b[o * f.r + j]!)),
  );
  return { k, first: of.map((_, n) => of.slice(0, n).reduce((sum, { r }) => sum + r, 0)), a: pack(a), b: pack(b) };
}

const largestDifference = (x: ArrayLike<number>, y: ArrayLike<number>): number =>
  Array.from(x).reduce((worst, value, i) => Math.max(worst, Math.abs(value - y[i]!)), 0);

describe('kept triangles', () => {
  it.each([
    ['all of the stack', [0.5, -1, 2]],
    ['one adapter without a share', [0.5, 0, 2]],
    ['the last one alone', [0, 0, 1]],
  ])('give the Gram matrices that the factors give: %s', (_, coefficients) => {
    const kept = stackFactors(list, coefficients, shape, triangles(list));
    const { k, a, b } = stackFactors(list, coefficients, shape, undefined);
    expect(kept.a.columns).not.toBeNull();
    expect(kept.b.columns).not.toBeNull();
    expect(largestDifference(gramOf(kept.a, k), gramOf(a, k))).toBeLessThan(1e-11);
    expect(largestDifference(gramOf(kept.b, k), gramOf(b, k))).toBeLessThan(1e-11);
    const { p, r } = triangleOf(kept.a, k);
    expect(p).toBe(k);
    expect(largestDifference(r.map(Math.abs), triangleOf(a, k).r.map(Math.abs))).toBeLessThan(1e-11); // but for the signs of rows
  });

  it('give the same blend of some of the adapters of a pool', () => {
    const { k, first, a, b } = triangles(list);
    const part = { k, first: [first[0]!, first[2]!], a, b };
    const some = [list[0]!, list[2]!];
    const kept = combineSvd(some, [0.4, 0.6], shape, 3, part);
    const alone = combineSvd(some, [0.4, 0.6], shape, 3);
    expect(largestDifference(kept.a, alone.a)).toBeLessThan(1e-6);
    expect(largestDifference(kept.b, alone.b)).toBeLessThan(1e-6);
    expect(kept.relativeError).toBeCloseTo(alone.relativeError, 12);
    const pair = [list[1]!, list[2]!];
    const ofPair = { k, first: [first[1]!, first[2]!], a, b };
    const linear = combineLinear(pair, [0.4, 0.6], shape, ofPair);
    expect(linear.relativeError).toBeCloseTo(combineLinear(pair, [0.4, 0.6], shape).relativeError, 12);
  });

  it('are not used where they are those of other factors, broken, or of another size', () => {
    const right = triangles(list);
    const changed = list.map((f, n) => (n === 1 ? { ...f, a: f.a.map((x, i) => (i === 100 ? x * 1.0001 : x)) } : f));
    const columns = (of: StackTriangles) => stackFactors(changed, [1, 1, 1], shape, of).a.columns;
    expect(columns(triangles(changed))).not.toBeNull();
    expect(columns(right)).toBeNull();
    expect(columns({ ...triangles(changed), a: new Float64Array(right.a!.length).fill(Number.NaN) })).toBeNull();
    expect(columns({ ...triangles(changed), a: right.a!.subarray(1) })).toBeNull();
    expect(columns({ ...triangles(changed), first: [0, 2, 50] })).toBeNull();
    expect(columns({ ...triangles(changed), a: null })).toBeNull();
  });
});
