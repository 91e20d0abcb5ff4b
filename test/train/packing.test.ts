import { describe, expect, it } from 'vitest';
import type { TrainingExample } from '../../src/train/batches.js';
import { packedBatches } from '../../src/train/packing.js';
import { CHOICES, questions } from '../helpers/packed-scores.js';

const examplesOf = (prompt: number[], choices: number[][]): TrainingExample[] =>
  choices.map((choice) => ({ ids: Int32Array.of(...prompt, ...choice), promptLength: prompt.length }));
const oneMixture = (examples: readonly TrainingExample[]) => new Int32Array(examples.length);

describe('packedBatches', () => {
  it('reads every prompt once, the branches behind it, and what branches share but for their last token once', () => {
    const [{ batch, members }] = packedBatches(questions(1), new Int32Array(5)) as [
      NonNullable<ReturnType<typeof packedBatches>>[0],
    ];
    expect(members).toEqual([[0, 1, 2, 3, 4]]);
    const { question, segments, position } = batch.packed!;
    // a prompt of 21 tokens, then 8 9, 8 and 13
    expect([...batch.ids.subarray(21, 26)]).toEqual([8, 9, 8, 13, 0]);
    const places = segments.map(({ start, end, parent }) => [start, end, parent]);
    expect(places).toEqual([[0, 21, null], ...[[21, 23], [23, 24], [24, 25]].map((range) => [...range, 0])]); // biome-ignore format: a table
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

  it('reads what prompts begin with once, a prompt that others go on from too, each under its own mixture', () => {
    const before = Array.from({ length: 30 }, (_, i) => 100 + i);
    const prompts = [[...before, 7], [...before, 5, 6], before, [...before, 5, 8, 9], [1, 2, 3]];
    const examples = prompts.flatMap((prompt) => examplesOf(prompt, [[40], [41, 42]]));
    const [one, ...others] = packedBatches(examples, oneMixture(examples))!;
    expect(others).toEqual([]);
    const { batch, members } = one!;
    // the smaller family first; then in the order of the tokens, the one that ends first before those that go on from it
    expect(members).toEqual([4, 2, 1, 3, 0].map((q) => [2 * q, 2 * q + 1]));
    const { segments, question } = batch.packed!;
    const tokens = segments.map(({ start, end, parent }) => [parent, ...batch.ids.subarray(start, end)]);
    expect(tokens).toEqual([
      [null, 1, 2, 3],
      [0, 41],
      [null, ...before],
      [2, 41], // of the prompt that is the beginning itself
      [2, 5],
      [4, 6],
      [5, 41],
      [4, 8, 9],
      [7, 41],
      [2, 7],
      [9, 41],
    ]);
    expect(question[segments[2]!.start]).toBe(1);
    expect(question[segments[9]!.start]).toBe(4);
    const read = [...batch.rows].map((row) => batch.ids[row]);
    expect(read).toEqual([3, 3, 41, 129, 129, 41, 6, 6, 41, 9, 9, 41, 7, 7, 41]);
    const apart = packedBatches(
      examples,
      Int32Array.from(examples, (_, i) => Math.floor(i / 2)),
    )!;
    expect(apart[0]!.batch.packed!.segments.filter(({ parent }) => parent === null)).toHaveLength(5);
  });

  it('has the room of a row behind what all of it begins with', () => {
    const before = Array.from({ length: 900 }, (_, i) => 3 + (i % 50));
    const examples = Array.from({ length: 40 }, (_, q) =>
      examplesOf([...before, 60 + q, ...Array(39).fill(q)], [[7]]),
    ).flat();
    const batches = packedBatches(examples, oneMixture(examples))!;
    expect(batches.map(({ members }) => members.length)).toEqual([12, 12, 12, 4]); // of 40 tokens each
    expect(batches[0]!.batch.T).toBe(900 + 12 * 40 + 28);
    expect(batches.flatMap(({ members }) => members.flat()).sort((a, b) => a - b)).toEqual([...examples.keys()]);
  });

  it('leaves alone what it would spare little: other prompts, and choices that differ in their last token alone', () => {
    const alone = questions(6, [[7, 8]]);
    expect(packedBatches(alone, oneMixture(alone))).toBeUndefined();
    const alike = questions(6, [[7], [8], [9], [10]]);
    expect(packedBatches(alike, oneMixture(alike))).toBeUndefined();
  });
});
