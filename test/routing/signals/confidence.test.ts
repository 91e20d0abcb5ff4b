import { describe, expect, it } from 'vitest';
import { ConfidenceTracker, needsDistribution, type TokenEvent } from '../../../src/routing/signals/confidence.js';
import { CONFIDENCE_MEASURES, type ConfidenceMeasure } from '../../../src/routing/signals/signal.js';

const token = (logprob: number | null, margin?: number, entropy?: number): TokenEvent => ({
  type: 'token',
  text: 'x',
  logprob,
  ...(margin === undefined ? {} : { margin }),
  ...(entropy === undefined ? {} : { entropy }),
});

function confidenceOf(events: readonly TokenEvent[], measure: ConfidenceMeasure, tokens: number | null = null): number {
  const tracker = new ConfidenceTracker(measure, tokens);
  for (const event of events) tracker.add(event);
  return tracker.value();
}

const TOKENS = [token(Math.log(0.9), 0.8, 0.2), token(Math.log(0.4), 0.1, 1.4), token(Math.log(0.5), 0.3, 0.8)];

describe('confidence', () => {
  it.each([
    ['mean-logprob', null, (Math.log(0.9) + Math.log(0.4) + Math.log(0.5)) / 3],
    ['mean-logprob', 2, (Math.log(0.9) + Math.log(0.4)) / 2],
    ['min-probability', null, 0.4],
    ['min-probability', 1, 0.9],
    ['margin', null, 0.4],
    ['margin', 2, 0.45],
    ['negative-entropy', null, -0.8],
    ['negative-entropy', 1, -0.2],
    ['negative-entropy', 9, -0.8],
  ] as const)('%s over %s tokens', (measure, tokens, expected) => {
    expect(confidenceOf(TOKENS, measure, tokens)).toBeCloseTo(expected, 12);
  });

  it('is complete after its tokens, and never by itself for the whole answer', () => {
    const first = new ConfidenceTracker('mean-logprob', 2);
    const whole = new ConfidenceTracker('mean-logprob', null);
    const seen = TOKENS.map((t) => {
      first.add(t);
      whole.add(t);
      return [first.complete, whole.complete];
    });
    expect(seen).toEqual([
      [false, false],
      [true, false],
      [true, false],
    ]);
  });

  it('has no number when one token has none, wherever it stands', () => {
    for (const measure of CONFIDENCE_MEASURES) {
      expect(confidenceOf([token(null), ...TOKENS], measure)).toBeNaN();
      expect(confidenceOf([...TOKENS, token(null)], measure)).toBeNaN();
      expect(confidenceOf([token(Number.NaN, Number.NaN, Number.NaN), ...TOKENS], measure)).toBeNaN();
    }
    expect(confidenceOf([...TOKENS, token(null)], 'mean-logprob', 3)).not.toBeNaN(); // beyond what is looked at
  });

  it('is lowest for an answer without a token, and for an impossible token', () => {
    for (const measure of CONFIDENCE_MEASURES) expect(confidenceOf([], measure)).toBe(Number.NEGATIVE_INFINITY);
    expect(confidenceOf([token(Number.NEGATIVE_INFINITY)], 'mean-logprob')).toBe(Number.NEGATIVE_INFINITY);
    expect(confidenceOf([token(Number.NEGATIVE_INFINITY)], 'min-probability')).toBe(0);
  });

  it('asks for the whole distribution only where it is needed', () => {
    expect(CONFIDENCE_MEASURES.filter(needsDistribution)).toEqual(['margin', 'negative-entropy']);
  });
});
