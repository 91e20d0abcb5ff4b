/** Random adapters have the norms of those that they stand for, factor by factor, and nothing else of them. */

import { expect, it } from 'vitest';
import { withRandomValues } from '../../../src/bench/strategies/random-values.js';
import { createRandom } from '../../../src/core/random.js';
import { cosine, norm } from '../../../src/core/vector.js';
import { adapterFactors, createLoraLayout } from '../../../src/model/lora-layout.js';

const layout = createLoraLayout(
  [
    { name: 'a', in: 40, out: 60 },
    { name: 'b', in: 50, out: 30 },
  ],
  3,
  2,
);
const random = createRandom(1, 'test');
const stack = {
  layout,
  parameters: Float32Array.from({ length: layout.size }, (_, i) => (i % 7) * random.normal()),
  loraAlpha: 2,
  gates: [[1, 0, 0]],
};

it('keeps the norm of every factor and its direction of none', () => {
  const drawn = withRandomValues(stack, 5);
  expect({ ...drawn, parameters: null }).toEqual({ ...stack, parameters: null });
  for (const module of layout.modules) {
    for (let n = 0; n < 3; n++) {
      const [was, is] = [stack, drawn].map(({ parameters }) => adapterFactors(layout, parameters, module, n)) as [
        { a: Float32Array; b: Float32Array },
        { a: Float32Array; b: Float32Array },
      ];
      for (const factor of ['a', 'b'] as const) {
        expect(norm(is[factor]) / norm(was[factor])).toBeCloseTo(1, 6);
        expect(Math.abs(cosine(is[factor], was[factor]))).toBeLessThan(0.4); // of 60 to 120 numbers
      }
    }
  }
});

it('is a function of the seed, and leaves a factor of zeros alone', () => {
  const { parameters } = withRandomValues(stack, 5);
  expect(withRandomValues(stack, 5).parameters).toEqual(parameters);
  expect(withRandomValues(stack, 6).parameters).not.toEqual(parameters);
  const zeros = { ...stack, parameters: new Float32Array(layout.size) };
  expect(withRandomValues(zeros, 5).parameters.every((x) => x === 0)).toBe(true);
});
