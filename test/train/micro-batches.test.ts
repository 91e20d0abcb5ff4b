/** How a batch is cut into parts that fit the memory, and what a build is told where nothing fits. */

import { describe, expect, it } from 'vitest';
import { HfModel } from '../../src/hf/model.js';
import { poolLayout } from '../../src/model/lora-layout.js';
import { partsOf, planMicroBatches } from '../../src/train/micro-batches.js';
import { fixture } from '../helpers/fixtures.js';

const source = HfModel.open(fixture('models', 'llama'));
const layout = poolLayout(source, { targets: 'all', r: 8 }, 4);
const examples = [40, 60, 90, 20].map((length) => ({ ids: new Int32Array(length), promptLength: 5 }));
const request = { backend: 'onnx' as const, source, layout, examples, batchSize: 4, accumulation: 1, before: 1e8 };

describe('partsOf', () => {
  it('keeps the order, and fills each part as far as its rows go', () => {
    const lengths = [17, 9, 33, 9, 9]; // read with padding: 16, 8, 32, 8, 8
    expect(partsOf([0, 1, 2, 3, 4], lengths, { rows: 32, recomputes: false })).toEqual([[0, 1], [2], [3, 4]]);
    expect(partsOf([0, 1, 2, 3, 4], lengths, { rows: 160, recomputes: false })).toEqual([[0, 1, 2, 3, 4]]);
  });

  it('reads an example that is longer than the rows alone', () => {
    expect(partsOf([0, 1], [100, 100], { rows: 8, recomputes: false })).toEqual([[0], [1]]);
  });
});

describe('planMicroBatches', () => {
  it('takes what is enough for the threads where there is memory, and less where there is less', () => {
    const roomy = planMicroBatches({ ...request, budget: 1e12 });
    expect(roomy).toMatchObject({ rows: 1024, recomputes: false });
    const tight = planMicroBatches({ ...request, budget: roomy.bytes - 1 });
    expect(tight.rows).toBeLessThan(1024);
    expect(tight.bytes).toBeLessThan(roomy.bytes);
  });

  it('runs blocks again before it gives up, and then names settings that fit', () => {
    const least = planMicroBatches({ ...request, budget: 1e12, examples: [examples[2]!], batchSize: 1 });
    const atLeast = (budget: number) => planMicroBatches({ ...request, budget });
    const whole = atLeast(1e12);
    let budget = whole.bytes;
    let last = whole;
    for (;;) {
      try {
        last = atLeast(budget - 1);
      } catch (error) {
        expect(last.recomputes).toBe(true);
        expect(last.bytes).toBeLessThan(least.bytes + 4 * layout.size);
        expect(error).toMatchObject({ code: 'memory-too-small' });
        const { hint } = error as { hint: string };
        expect(hint).toMatch(
          /^Any of these fits: --memory [\d.]+GB where the machine has it; --max-length \d+ --long truncate; --rank [124]\.$/,
        );
        // the shorter examples that it names do fit
        const length = Number(/--max-length (\d+)/.exec(hint)![1]);
        const shorter = examples.map(({ ids }) => ({ ids: ids.subarray(0, length), promptLength: 5 }));
        expect(planMicroBatches({ ...request, examples: shorter, budget: budget - 1 }).bytes).toBeLessThan(budget);
        return;
      }
      budget = last.bytes;
    }
  });

  it('does not count weights that are held already, and names the options of the command', () => {
    const fresh = planMicroBatches({ ...request, budget: 1e12 });
    const held = planMicroBatches({ ...request, budget: 1e12, isLoaded: true });
    expect(held.rows).toBe(fresh.rows);
    expect(held.bytes).toBeLessThan(fresh.bytes);
    const flags = { rank: '--lora-from-blend' };
    let hint = '';
    try {
      planMicroBatches({ ...request, layout: poolLayout(source, { targets: 'all', r: 64 }, 1), budget: 1.01e8, flags });
    } catch (error) {
      hint = (error as { hint: string }).hint;
    }
    expect(hint).toContain('--memory');
    expect(hint).not.toMatch(/--max-length|--rank/);
  });

  it('leaves batches whole on TensorFlow.js, whose bytes depend on it', () => {
    const { rows } = planMicroBatches({ ...request, backend: 'wasm', budget: 1e12 });
    expect(partsOf([0, 1, 2, 3], [40, 60, 90, 20], { rows, recomputes: false })).toHaveLength(1);
  });
});
