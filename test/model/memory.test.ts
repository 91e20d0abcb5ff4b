/** What a training is said to take, beside the arrays that ONNX Runtime's learner makes. */

import { describe, expect, it } from 'vitest';
import { HfModel } from '../../src/hf/model.js';
import { poolLayout } from '../../src/model/lora-layout.js';
import { trainingMemory } from '../../src/model/memory.js';
import { fixture } from '../helpers/fixtures.js';

const source = HfModel.open(fixture('models', 'llama'));
const layout = poolLayout(source, { targets: 'all', r: 4 }, 3);
const of = (B: number, T: number, { parts = 1, recomputes = false } = {}) =>
  trainingMemory('onnx', source, layout, { B, T, P: 4 * B }, { parts, recomputes });

describe('trainingMemory', () => {
  it('counts every weight once, and the trainable numbers as often as they are held', () => {
    const floats = source
      .tensorNames()
      .filter((name) => !(source.config.tieWordEmbeddings && name === 'lm_head.weight'))
      .reduce((sum, name) => sum + source.info(name).shape.reduce((a, b) => a * b, 1), 0);
    expect(of(2, 16).weights).toBe(4 * floats);
    expect(of(2, 16).parameters).toBe(4 * 4 * layout.size);
    expect(of(2, 16, { parts: 2 }).parameters).toBe(4 * 5 * layout.size);
  });

  it('grows with the rows, and shrinks where blocks are run again', () => {
    const [one, four] = [of(4, 32).activations, of(16, 32).activations];
    expect(four).toBeGreaterThan(2.5 * one);
    expect(four).toBeLessThan(4.01 * one);
    expect(of(16, 32, { recomputes: true }).activations).toBeLessThan(0.8 * four);
  });

  it('takes more of TensorFlow.js, which keeps what the operations save', () => {
    const shape = { B: 4, T: 32, P: 16 };
    const tfjs = trainingMemory('node', source, layout, shape, { parts: 1, recomputes: false });
    expect(tfjs.activations).toBeGreaterThan(of(4, 32).activations);
  });
});
