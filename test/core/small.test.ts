/** The small pure modules of core: statistics, the gate, exit codes. */

import { describe, expect, it } from 'vitest';
import { CrayonError, EXIT } from '../../src/core/errors.js';
import { gate } from '../../src/core/gate.js';
import { quantile, standardError } from '../../src/core/stats.js';

describe('gate', () => {
  it('gives the textbook values at tau 1', () => {
    const e = [Math.exp(1), Math.exp(2), Math.exp(3)];
    const sum = e.reduce((a, b) => a + b);
    gate([1, 2, 3], 1).forEach((p, i) => {
      expect(p).toBeCloseTo(e[i]! / sum, 12);
    });
  });

  it('neither overflows nor loses its sum at a small tau', () => {
    expect([...gate([0.9, 0.1, -1], 1e-4)]).toEqual([1, 0, 0]);
  });
});

describe('statistics', () => {
  it('interpolates quantiles as numpy does', () => {
    expect(quantile([1, 2, 3, 4], 0.25)).toBe(1.75); // numpy.quantile([1,2,3,4], .25)
    expect(quantile([1, 2, 3, 4], 1)).toBe(4);
    expect(quantile([5], 0.3)).toBe(5);
  });

  it('has the standard error of a sample', () => {
    expect(standardError([1, 2, 3, 4])).toBeCloseTo(0.6454972, 6); // scipy.stats.sem
  });
});

describe('CrayonError', () => {
  it.each([
    ['bad-option', EXIT.usage],
    ['file-not-found', EXIT.input],
    ['disk-full', EXIT.environment],
    ['loss-not-finite', EXIT.numeric],
    ['interrupted', EXIT.interrupted],
  ] as const)('%s ends the process with %i', (code, exit) => {
    expect(new CrayonError(code, 'message').exitCode).toBe(exit);
  });
});
