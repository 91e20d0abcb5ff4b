import { describe, expect, it } from 'vitest';
import { ADAMW_DEFAULTS } from '../../../src/model/adamw-settings.js';
import { AdamWProgram, type MomentArrays } from '../../../src/model/onnx/adamw-program.js';
import { ADAMW_CASES, adamwByHand, GRADIENTS, rateOf, START, STEPS } from '../../helpers/adamw.js';
import { relativeDifference } from '../../helpers/fixtures.js';
import { oneThread } from '../../helpers/onnx.js';

const begin = (start: Float32Array): MomentArrays => ({
  parameters: Float32Array.from(start),
  m: new Float32Array(start.length),
  v: new Float32Array(start.length),
});
/** Over and over, up to a length. */
const longer = (x: Float32Array, length: number) => Float32Array.from({ length }, (_, i) => x[i % x.length]!);

describe('AdamWProgram', () => {
  it.each(ADAMW_CASES)('takes the steps of a float64 loop: %s', async (_, more) => {
    const options = { ...ADAMW_DEFAULTS, ...more };
    const expected = adamwByHand(options);
    const program = new AdamWProgram(options, oneThread());
    const state = begin(START);
    for (const [t, gradient] of GRADIENTS.entries()) {
      const given = Float32Array.from(gradient);
      const norm = await program.update(state, given, rateOf(t), t + 1);
      expect(norm / expected.norms[t]!).toBeCloseTo(1, 5);
      expect(given).toEqual(gradient); // read, not written
    }
    expect(expected.norms).toHaveLength(STEPS);
    state.parameters.forEach((x, i) => {
      expect(Math.abs(x - expected.p[i]!)).toBeLessThan(1e-5);
    });
    program.dispose();
  });

  it('moves nothing at a learning rate of 0, but its moments', async () => {
    const program = new AdamWProgram(ADAMW_DEFAULTS, oneThread());
    const state = begin(START);
    await program.update(state, GRADIENTS[0]!, 0, 1);
    expect(state.parameters).toEqual(START);
    expect(state.m.every((x) => x !== 0) && state.v.every((x) => x > 0)).toBe(true);
    program.dispose();
  });

  it('goes through a long vector piece by piece, as through a short one', async () => {
    const n = 2 * 2 ** 16 + 50;
    const options = { ...ADAMW_DEFAULTS, clipNorm: Number.POSITIVE_INFINITY };
    const program = new AdamWProgram(options, oneThread());
    const [short, long] = [begin(START), begin(longer(START, n))];
    for (let t = 0; t < 2; t++) {
      await program.update(short, GRADIENTS[t]!, rateOf(t), t + 1);
      const gradient = longer(GRADIENTS[t]!, n);
      const norm = await program.update(long, gradient, rateOf(t), t + 1);
      const square = gradient.reduce((sum, x) => sum + x * x, 0);
      expect(norm / Math.sqrt(square)).toBeCloseTo(1, 5);
    }
    for (const name of ['parameters', 'm', 'v'] as const) {
      expect(relativeDifference(long[name], longer(short[name], n)), name).toBeLessThan(1e-6);
    }
    program.dispose();
  });
});
