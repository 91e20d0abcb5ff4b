import { describe, expect, it } from 'vitest';
import { gate } from '../../../src/core/gate.js';
import { fixedAdapters, GATE_STEP, gatedAdapters, inSteps } from '../../../src/serve/customizations/adapter-set.js';
import { textQuery } from '../helpers.js';

const named = (n: number) => Array.from({ length: n }, (_, i) => ({ id: `id${i}`, path: `/x/${i}`, name: `n${i}` }));

describe('inSteps', () => {
  it('is the nearest step, and keeps the sum', () => {
    for (let angle = 0; angle < 6.28; angle += 0.1) {
      const exact = gate([Math.cos(angle), Math.sin(angle), -Math.cos(angle), 0.6 * Math.cos(angle)], 0.3);
      const alpha = inSteps(exact);
      expect(alpha.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
      for (const [n, value] of alpha.entries()) {
        expect(Math.abs(value - exact[n]!)).toBeLessThanOrEqual(GATE_STEP + 1e-6);
        expect(value / GATE_STEP).toBeCloseTo(Math.round(value / GATE_STEP), 6);
      }
    }
    expect(inSteps(Float64Array.of(1 / 3, 1 / 3, 1 / 3))).toEqual([0.34, 0.34, 0.32].sort((a, b) => b - a));
    expect(inSteps(new Float64Array(3))).toEqual([0, 0, 0]);
  });
});

describe('adapter sets', () => {
  it('fixed: the same for every text', () => {
    expect(fixedAdapters([]).choose(textQuery('a'))).toEqual([]);
    const set = fixedAdapters(named(1));
    expect(set.choose(textQuery('a'))).toEqual([{ id: 'id0', path: '/x/0', scale: 1 }]);
    set.setScales(new Map([[0, 0]]));
    expect(set.choose(textQuery('a'))).toEqual([]);
  });

  it('gated: by the text, and multiplied by the scales that were set', () => {
    const embed = (text: string) => ({
      vector: text === 'x' ? Float32Array.of(1, 0) : Float32Array.of(0, 1),
      tokens: 1,
    });
    const prompts = { centroids: Float32Array.of(1, 0, 0, 1), weigh: (cosines: Float64Array) => gate(cosines, 0.1) };
    const set = gatedAdapters(named(2), prompts, { embed });
    expect(set.choose(textQuery('x'))).toEqual([{ id: 'id0', path: '/x/0', scale: 1 }]);
    expect(set.choose(textQuery('y'))).toEqual([{ id: 'id1', path: '/x/1', scale: 1 }]);
    set.setScales(new Map([[0, 0.5]]));
    expect(set.choose(textQuery('x'))).toEqual([{ id: 'id0', path: '/x/0', scale: 0.5 }]);
    expect(set.choose(textQuery('y'))).toEqual([]);
    // a pool's general adapter has no centroid: it is there for every text
    const residual = gatedAdapters(named(3), prompts, { embed });
    expect(residual.choose(textQuery('y'))).toEqual([
      { id: 'id1', path: '/x/1', scale: 1 },
      { id: 'id2', path: '/x/2', scale: 1 },
    ]);
  });
});
