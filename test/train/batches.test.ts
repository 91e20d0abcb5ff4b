import { describe, expect, it } from 'vitest';
import { epochBatches, padBatch } from '../../src/train/batches.js';

const lengths = Array.from({ length: 101 }, (_, i) => 5 + ((i * 37) % 60));

describe('epochBatches', () => {
  it('holds every example exactly once', () => {
    const all = epochBatches(lengths, 8, 1, 0).flat();
    expect(all.sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
  });

  it('is a function of seed and epoch', () => {
    expect(epochBatches(lengths, 8, 1, 0)).toEqual(epochBatches(lengths, 8, 1, 0));
    expect(epochBatches(lengths, 8, 1, 1)).not.toEqual(epochBatches(lengths, 8, 1, 0));
    expect(epochBatches(lengths, 8, 2, 0)).not.toEqual(epochBatches(lengths, 8, 1, 0));
  });

  it('puts examples of like length together', () => {
    const padded = (batches: number[][]) =>
      batches.reduce((sum, b) => sum + b.length * Math.max(...b.map((i) => lengths[i]!)), 0);
    const used = lengths.reduce((a, b) => a + b);
    const unsorted = Array.from({ length: Math.ceil(101 / 8) }, (_, b) =>
      lengths.map((_, i) => i).slice(b * 8, b * 8 + 8),
    );
    expect(padded(epochBatches(lengths, 8, 1, 0)) / used).toBeLessThan(1.1);
    expect(padded(unsorted) / used).toBeGreaterThan(1.5);
  });
});

describe('padBatch', () => {
  it('predicts the completion and nothing else', () => {
    const batch = padBatch([
      { ids: Int32Array.of(1, 10, 11, 20, 21), promptLength: 3 },
      { ids: Int32Array.of(1, 12, 22), promptLength: 2 },
    ]);
    expect([batch.B, batch.T]).toEqual([2, 8]);
    expect([...batch.ids.slice(0, 6)]).toEqual([1, 10, 11, 20, 0, 0]); // the last token is only a target
    expect([...batch.rows]).toEqual([2, 3, 8 + 1]);
    expect([...batch.targets]).toEqual([20, 21, 22]);
    expect([...batch.owners]).toEqual([0, 0, 1]);
  });
});
