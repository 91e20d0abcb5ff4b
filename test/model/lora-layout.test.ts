import { describe, expect, it } from 'vitest';
import { adapterFactors, createLoraLayout, initialParameters, setAdapterFactors } from '../../src/model/lora-layout.js';

const modules = [
  { name: 'q', in: 5, out: 3 },
  { name: 'k', in: 4, out: 6 },
];

describe('LoRA layout', () => {
  it('has the length that the formula gives', () => {
    expect(createLoraLayout(modules, 3, 2).size).toBe(3 * 2 * (5 + 3 + 4 + 6));
  });

  it('returns the factors that were put in, adapter by adapter', () => {
    const layout = createLoraLayout(modules, 3, 2);
    const flat = new Float32Array(layout.size).fill(Number.NaN);
    const made = layout.modules.map((m, i) =>
      [0, 1, 2].map((n) => ({
        a: Float32Array.from({ length: 2 * m.in }, (_, j) => 100 * i + 10 * n + j),
        b: Float32Array.from({ length: m.out * 2 }, (_, j) => -(100 * i + 10 * n + j)),
      })),
    );
    layout.modules.forEach((m, i) => {
      made[i]!.forEach((factors, n) => {
        setAdapterFactors(layout, flat, m, n, factors);
      });
    });
    expect(flat.some(Number.isNaN)).toBe(false); // every place is used
    layout.modules.forEach((m, i) => {
      made[i]!.forEach((factors, n) => {
        expect(adapterFactors(layout, flat, m, n)).toEqual(factors);
      });
    });
  });

  it('starts as PEFT does: A within 1/sqrt(in), B zero, whatever N is', () => {
    const layout = createLoraLayout(modules, 2, 2);
    const flat = initialParameters(layout, 9);
    const [q] = layout.modules;
    const { a, b } = adapterFactors(layout, flat, q!, 1);
    expect(b.every((x) => x === 0)).toBe(true);
    expect(Math.max(...a.map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(5));
    expect(new Set(a).size).toBe(a.length);
    const larger = createLoraLayout(modules, 5, 2);
    expect(adapterFactors(larger, initialParameters(larger, 9), larger.modules[0]!, 1).a).toEqual(a);
  });
});
