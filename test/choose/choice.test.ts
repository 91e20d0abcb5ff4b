import { describe, expect, it } from 'vitest';
import { CANDIDATES } from '../../src/choose/candidates.js';
import { choiceRecord, chooseBy, firstTie } from '../../src/choose/choice.js';
import type { CandidateEvidence } from '../../src/choose/evidence.js';

describe('firstTie', () => {
  it('takes the first within one standard error of the paired difference to the best', () => {
    const best = [1, 2, 3, 4];
    const within = [1.3, 1.9, 3.2, 4]; // 0.1 above, standard error 0.091
    const tie = [1.3, 1.8, 3.2, 4]; // 0.075 above, standard error 0.111
    expect(firstTie([within, best])).toBe(1);
    expect(firstTie([tie, best])).toBe(0);
    expect(firstTie([best, tie])).toBe(0);
  });

  it('pairs: losses that vary much between examples and hardly between candidates are told apart', () => {
    const best = [0.1, 5, 0.3, 9];
    expect(firstTie([best.map((x, i) => x + 0.1 + 0.001 * i), best])).toBe(1);
  });

  it('has nothing to say of nothing', () => {
    expect(firstTie([])).toBeUndefined();
  });
});

/** Evidence of the named candidates; the others were not tried. */
const evidence = (losses: Record<string, number[]>): CandidateEvidence[] =>
  CANDIDATES.map((candidate) => ({
    candidate,
    examples: losses[candidate.name]?.map((loss) => ({ loss, isRight: loss < 1 })) ?? null,
    seconds: 1,
  }));

describe('chooseBy', () => {
  const high = [3, 3.1, 2.9];
  const low = [0.3, 0.2, 0.4];

  it('chooses the bare model where every blend is clearly worse, and not where one is as good', () => {
    const names = (losses: Record<string, number[]>) => {
      const { fixed, ofAll } = chooseBy(evidence(losses));
      return [fixed.name, ofAll.name];
    };
    expect(names({ base: low, uniform: high, similarity: high, 'per-query': high })).toEqual(['base', 'base']);
    expect(names({ base: low, uniform: high, similarity: low, 'per-query': low })).toEqual(['similarity', 'per-query']);
    expect(names({ base: low, uniform: high, similarity: high, 'per-query': low })).toEqual(['base', 'per-query']);
  });

  it('chooses the best of one adapter beside what only a pool can be', () => {
    const middle = [1, 1.1, 0.9];
    const found = chooseBy(evidence({ base: high, similarity: middle, softer: middle, 'per-query': low }));
    expect([found.fixed.name, found.ofAll.name]).toEqual(['similarity', 'per-query']);
    expect(found.candidates.find(({ candidate }) => candidate.name === 'per-query')).toMatchObject({
      difference: 0,
      standardError: 0,
      right: 3,
    });
  });

  it('stays with similarity where the time did not reach it', () => {
    const partial: Array<Record<string, number[]>> = [{}, { base: low }, { base: low, uniform: high }];
    for (const tried of partial) {
      const found = chooseBy(evidence(tried));
      expect(found).toMatchObject({ hasEvidence: false, fixed: { name: 'similarity' }, ofAll: { name: 'similarity' } });
    }
  });

  it('is recorded without times', () => {
    const choice = chooseBy(evidence({ base: high, similarity: low }));
    const record = choiceRecord(choice, [{ choices: ['a'] }, {}, {}]);
    expect(record).toMatchObject({ chosen: 'similarity', chosenOfAll: 'similarity', examples: 3, evidence: 'both' });
    expect(record.candidates).toHaveLength(CANDIDATES.length);
    expect(record.candidates.at(-1)).toEqual({
      name: 'base',
      loss: 3,
      difference: expect.closeTo(2.7, 12),
      standardError: expect.closeTo(0.2 / Math.sqrt(3), 12),
      right: 0,
    });
    expect(record.candidates.at(-2)).toEqual({
      name: 'general',
      loss: null,
      difference: null,
      standardError: null,
      right: null,
    });
  });
});
