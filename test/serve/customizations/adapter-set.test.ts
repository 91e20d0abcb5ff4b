import { describe, expect, it } from 'vitest';
import { gate } from '../../../src/core/gate.js';
import {
  fixedAdapters,
  GATE_STEP,
  gateCoefficients,
  gatedAdapters,
} from '../../../src/serve/customizations/adapter-set.js';
import { textQuery } from '../helpers.js';

const named = (n: number) => Array.from({ length: n }, (_, i) => ({ id: `id${i}`, path: `/x/${i}`, name: `n${i}` }));

describe('gateCoefficients', () => {
  it('is the softmax of the cosines, to the nearest step, and sums to 1', () => {
    const centroids = Float32Array.of(1, 0, 0, 1, -1, 0, 0.6, 0.8);
    for (let angle = 0; angle < 6.28; angle += 0.1) {
      const q = Float32Array.of(Math.cos(angle), Math.sin(angle));
      const alpha = gateCoefficients(q, centroids, 0.3);
      const cosines = [q[0]!, q[1]!, -q[0]!, 0.6 * q[0]! + 0.8 * q[1]!];
      const exact = gate(cosines, 0.3);
      expect(alpha.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
      for (const [n, value] of alpha.entries()) {
        expect(Math.abs(value - exact[n]!)).toBeLessThanOrEqual(GATE_STEP + 1e-6);
        expect(value / GATE_STEP).toBeCloseTo(Math.round(value / GATE_STEP), 6);
      }
    }
  });

  it('is equal for a text without direction', () => {
    expect(gateCoefficients(new Float32Array(2), Float32Array.of(1, 0, 0, 1), 0.1)).toEqual([0.5, 0.5]);
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
    const gate = { centroids: Float32Array.of(1, 0, 0, 1), tau: 0.1 };
    const set = gatedAdapters(named(2), gate, { embed });
    expect(set.choose(textQuery('x'))).toEqual([{ id: 'id0', path: '/x/0', scale: 1 }]);
    expect(set.choose(textQuery('y'))).toEqual([{ id: 'id1', path: '/x/1', scale: 1 }]);
    set.setScales(new Map([[0, 0.5]]));
    expect(set.choose(textQuery('x'))).toEqual([{ id: 'id0', path: '/x/0', scale: 0.5 }]);
    expect(set.choose(textQuery('y'))).toEqual([]);
    // a pool's general adapter has no centroid: it is there for every text
    const residual = gatedAdapters(named(3), gate, { embed });
    expect(residual.choose(textQuery('y'))).toEqual([
      { id: 'id1', path: '/x/1', scale: 1 },
      { id: 'id2', path: '/x/2', scale: 1 },
    ]);
  });
});
