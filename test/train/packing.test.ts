import { describe, expect, it } from 'vitest';
import type { TrainingExample } from '../../src/train/batches.js';
import { packedBatches } from '../../src/train/packing.js';
import { CHOICES, questions } from '../helpers/packed-scores.js';

const oneMixture = (examples: readonly TrainingExample[]) => new Int32Array(examples.length);

describe('packedBatches', () => {
  it('reads every prompt once, the branches behind it, and what branches share but for their last token once', () => {
    const [{ batch, members }] = packedBatches(questions(1), new Int32Array(5)) as [
      NonNullable<ReturnType<typeof packedBatches>>[0],
    ];
    expect(members).toEqual([[0, 1, 2, 3, 4]]);
    const { question, branch, position } = batch.packed!;
    // a prompt of 21 tokens, then 8 9, 8 and 13
    expect([...batch.ids.subarray(21, 26)]).toEqual([8, 9, 8, 13, 0]);
    expect([...branch.subarray(20, 26)]).toEqual([-1, 0, 0, 1, 2, -1]);
    expect([...position.subarray(19, 25)]).toEqual([19, 20, 21, 22, 21, 21]);
    expect(question.filter((q) => q === 0)).toHaveLength(25);
    expect([...batch.rows]).toEqual([20, 20, 21, 22, 20, 21, 22, 20, 23, 20, 24]);
    expect([...batch.targets]).toEqual(CHOICES.flat());
  });

  it('keeps the mixtures of one prompt apart, and gives every example to one row', () => {
    const examples = questions(40);
    const batches = packedBatches(
      examples,
      Int32Array.from(examples, (_, i) => i % 2),
    )!;
    expect(batches.flatMap(({ members }) => members.flat()).sort((a, b) => a - b)).toEqual([...examples.keys()]);
    for (const { batch, members } of batches) {
      expect(batch.T).toBeLessThanOrEqual(512);
      for (const group of members) expect(new Set(group.map((i) => i % 2)).size).toBe(1);
    }
  });

  it('leaves alone what it would spare little: other prompts, and choices that differ in their last token alone', () => {
    const alone = questions(6, [[7, 8]]);
    expect(packedBatches(alone, oneMixture(alone))).toBeUndefined();
    const alike = questions(6, [[7], [8], [9], [10]]);
    expect(packedBatches(alike, oneMixture(alike))).toBeUndefined();
  });
});
