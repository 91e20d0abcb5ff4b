// npx vitest run test/core/vector.test.ts
import { expect, it } from 'vitest';
import { argmax, checkFinite, cosine, meanRows, norm, normalise, row } from '../../src/core/vector.js';

it('cosine is 1 for the same direction, -1 for the opposite, 0 for a zero vector', () => {
  const x = Float32Array.of(1, 2, 3);
  expect(cosine(x, Float64Array.of(2, 4, 6))).toBeCloseTo(1, 15);
  expect(cosine(x, Float64Array.of(-1, -2, -3))).toBeCloseTo(-1, 15);
  expect(cosine(x, new Float32Array(3))).toBe(0);
});

it('normalise gives length 1 and leaves zero alone', () => {
  expect(norm(normalise(Float32Array.of(3, 4)))).toBeCloseTo(1, 15);
  expect([...normalise(new Float32Array(2))]).toEqual([0, 0]);
});

it('meanRows and row read a row-major matrix', () => {
  const matrix = Float32Array.of(1, 2, 3, 4, 5, 6);
  expect([...meanRows(matrix, 2, 3)]).toEqual([2.5, 3.5, 4.5]);
  expect([...row(matrix, 1, 3)]).toEqual([4, 5, 6]);
});

it('argmax takes the first of equals', () => {
  expect(argmax([1, 3, 3, 2])).toBe(1);
});

it('checkFinite names what has no finite value', () => {
  const good = Float64Array.of(1e300, -1e300, 1e300);
  expect(checkFinite(good, 'a score')).toBe(good);
  expect(() => checkFinite(Float32Array.of(0, Number.NaN), 'a score')).toThrow(
    expect.objectContaining({ code: 'numbers-diverged', message: 'the numbers diverged: a score has NaN' }),
  );
});
