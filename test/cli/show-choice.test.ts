/** What is said of a choice: no more than its evidence says. */

import { describe, expect, it } from 'vitest';
import type { ChoiceRecord } from '../../src/blend/choice-record.js';
import { choiceWords } from '../../src/cli/show-choice.js';

const record = (fixed: { difference: number; standardError: number }, perQuery: typeof fixed): ChoiceRecord => ({
  chosen: 'similarity',
  chosenOfAll: 'per-query',
  examples: 10,
  evidence: 'choices',
  candidates: [
    { name: 'per-query', loss: 0.4, right: 9, ...perQuery },
    { name: 'similarity', loss: 0.4, right: 9, ...fixed },
    { name: 'nearest', loss: null, difference: null, standardError: null, right: null },
  ],
});

describe('a mixture for each prompt that is chosen', () => {
  it('is better where all that one adapter can be is worse by more than a standard error', () => {
    const words = choiceWords(record({ difference: 0.2, standardError: 0.1 }, { difference: 0, standardError: 0 })).at(
      -1,
    )!;
    expect(words).toMatch(
      /^No one adapter is as good as the pool per query, by similarity: serve it with crayon serve-edge/,
    );
  });

  it.each([
    ['not the best', { difference: 0, standardError: 0 }, { difference: 0.1, standardError: 0.2 }],
    ['the best by less than that', { difference: 0.1, standardError: 0.2 }, { difference: 0, standardError: 0 }],
  ])('is only preferred where it is %s', (_, fixed, perQuery) => {
    const words = choiceWords(record(fixed, perQuery), 'my-pool').at(-1)!;
    expect(words).toMatch(/as good as the best within one standard error, and preferred/);
    expect(words).toContain('crayon serve-edge --pool my-pool --gate per-query');
  });
});
