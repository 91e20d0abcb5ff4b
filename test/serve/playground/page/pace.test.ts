import { describe, expect, it } from 'vitest';
import { PaceClock } from '../../../../src/serve/playground/page/pace.js';

/** A clock whose pieces of text come at these milliseconds, and whose answer ends with the last number. */
function paced(...times: number[]) {
  const left = [0, ...times];
  const clock = new PaceClock(() => left.shift()!);
  for (const _ of times.slice(1)) clock.piece();
  return clock;
}

describe('pace', () => {
  it('is the time to the first text, and the rate of what follows', () => {
    expect(paced(200, 300, 400, 500).measure(4, 1)).toEqual({ firstMs: 200, tokensPerSecond: 10, tokens: 4 });
  });

  it('leaves out what was held back and then came together', () => {
    // 16 tokens were made before anything was shown; the four after them took 400 ms, the last one ends the answer.
    const held = Array.from({ length: 16 }, (_, i) => 1000 + 2 * i);
    const { tokensPerSecond, firstMs } = paced(...held, 1130, 1230, 1330, 1430).measure(20, 16)!;
    expect(firstMs).toBe(1000);
    expect(tokensPerSecond).toBeCloseTo(10, 9);
  });

  it('has no rate where all was held back, or nothing came after it', () => {
    expect(paced(100, 100.2, 100.3).measure(3, null)).toEqual({ firstMs: 100, tokensPerSecond: null, tokens: 3 });
    expect(paced(100, 101, 102).measure(2, 16)!.tokensPerSecond).toBeNull();
  });

  it('is none where nothing came, and counts pieces where nobody has counted tokens', () => {
    expect(paced(50).measure(null, 1)).toBeNull();
    expect(paced(100, 200, 300, 300).measure(null, 1)).toEqual({ firstMs: 100, tokensPerSecond: 10, tokens: 3 });
  });
});
