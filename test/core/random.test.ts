import { describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/random.js';

const draw = (random: { uniform(): number }, n: number) => Array.from({ length: n }, () => random.uniform());

describe('createRandom', () => {
  it('repeats itself for the same seed and label, and differs for others', () => {
    expect(draw(createRandom(7, 'a'), 5)).toEqual(draw(createRandom(7, 'a'), 5));
    expect(draw(createRandom(7, 'a'), 5)).not.toEqual(draw(createRandom(8, 'a'), 5));
    expect(draw(createRandom(7, 'a'), 5)).not.toEqual(draw(createRandom(7, 'b'), 5));
  });

  it('is uniform in [0, 1) and normal with variance 1', () => {
    const random = createRandom(3);
    const uniform = draw(random, 20_000);
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...uniform)).toBeLessThan(1);
    expect(uniform.reduce((a, b) => a + b) / 20_000).toBeCloseTo(0.5, 1);
    const normal = Array.from({ length: 20_000 }, () => random.normal());
    const mean = normal.reduce((a, b) => a + b) / 20_000;
    const variance = normal.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 20_000;
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(variance - 1)).toBeLessThan(0.05);
  });

  it('shuffles without losing or doubling anything', () => {
    const items = Array.from({ length: 50 }, (_, i) => i);
    const shuffled = createRandom(5).shuffle([...items]);
    expect(shuffled).not.toEqual(items);
    expect([...shuffled].sort((a, b) => a - b)).toEqual(items);
  });
});
