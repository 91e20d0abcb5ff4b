/** Decisions at a fixed cut, before and after the prompts were changed. */

import { describe, expect, it } from 'vitest';
import { cutAt, robustness } from '../../../src/bench/report/robustness.js';

const once = [new Uint16Array(10).fill(1)];
const scores = Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);

describe('the cut', () => {
  it('parts the wanted share from the others', () => {
    expect(cutAt(scores, 0.2)).toBe(2.5);
    expect([cutAt(scores, 0), cutAt(scores, 1)]).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]);
  });

  it('lies at the value that stands on both sides, none of which is below it', () => {
    expect(cutAt(Float64Array.of(1, 2, 2, 3), 0.5)).toBe(2);
  });
});

describe('robustness', () => {
  it('counts the decisions that stay, whichever way, and what goes to the server', () => {
    // 1 is kept now, 2 still sent, 3 and 4 are sent now
    const changed = Float64Array.of(9, 1, 2, 2.4, 5, 6, 7, 8, 9, 10);
    const found = robustness(scores, changed, 0.2, once);
    expect(found.unchanged.estimate).toBeCloseTo(0.7, 12);
    expect(found.sent.estimate).toBeCloseTo(0.3, 12);
  });

  it('is whole where nothing changes', () => {
    expect(robustness(scores, scores, 0.2, once)).toMatchObject({
      unchanged: { estimate: 1, low: 1, high: 1 },
      sent: { estimate: 0.2 },
    });
  });
});
