/** Scores and ranks of a few answers, by hand. */

import { describe, expect, it } from 'vitest';
import { ranks, routingScores } from '../../../src/bench/report/routing-scores.js';
import { answer } from '../../helpers/bench-run.js';

describe('routing scores', () => {
  const answers = [3, 1, 2].map((x, i) => answer('u', i, 0, { confidence: x, scope: [10, 30, 20][i]! }));

  it('of both signals are the smaller of the two ranks', () => {
    expect([...routingScores(answers, 'both')!]).toEqual([1, 1, 2]);
  });

  it('do not depend on the units of the signals', () => {
    const other = answers.map((a) => ({ ...a, confidence: 1e6 * a.confidence!, scope: Math.log(a.scope!) }));
    expect(routingScores(other, 'both')).toEqual(routingScores(answers, 'both'));
  });

  it('are absent when one answer lacks the signal', () => {
    expect(routingScores([...answers, answer('u', 9, 0)], 'confidence')).toBeNull();
    expect(routingScores([...answers, answer('u', 9, 0, { confidence: 1 })], 'both')).toBeNull();
  });

  it('rank equal values by their mean', () => {
    expect([...ranks(Float64Array.of(5, 1, 5, 7))]).toEqual([2.5, 1, 2.5, 4]);
  });

  it('rank other values among them', () => {
    expect([...ranks(Float64Array.of(0, 5, 6, 9), Float64Array.of(5, 1, 5, 7))]).toEqual([0.5, 2.5, 3.5, 4.5]);
    const changed = [{ confidence: 2, scope: 35 }];
    expect([...routingScores(changed, 'both', answers)!]).toEqual([2]);
  });
});
