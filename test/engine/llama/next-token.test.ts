import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import {
  bestLogprob,
  checkedTotal,
  drawToken,
  logprobOf,
  type NextToken,
  spread,
} from '../../../src/engine/llama/next-token.js';

/** Sorted distribution over `size` tokens with random logits; a head of it when `listed` is given. */
function distribution(size: number, listed = size, seed = 1, width = 3): NextToken {
  const random = createRandom(seed);
  const logits = Array.from({ length: size }, () => width * random.normal()).sort((a, b) => b - a);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - logits[0]!), 0);
  return {
    best: 0,
    ids: logits.slice(0, listed).map((_, i) => i),
    logits: logits.slice(0, listed),
    total,
    vocabularySize: size,
  };
}

const probabilities = ({ logits }: NextToken, temperature: number): number[] => {
  const weights = logits.map((logit) => Math.exp(logit / temperature));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
};

describe('the sum over the vocabulary', () => {
  it.each([1, 1.5, 31_999.5])('is %d', (total) => expect(checkedTotal(total, 32_000)).toBe(total));
  it.each([Number.NaN, Number.POSITIVE_INFINITY, 32_000])('is not %d', (total) => {
    expect(() => checkedTotal(total, 32_000)).toThrow(expect.objectContaining({ code: 'numbers-diverged' }));
  });
});

describe('the next token’s distribution', () => {
  it('gives log-probabilities, margin and entropy', () => {
    const next: NextToken = {
      best: 4,
      ids: [4, 2, 9],
      logits: [Math.log(6) - 50, Math.log(3) - 50, Math.log(1) - 50],
      total: 10 / 6,
      vocabularySize: 3,
    };
    expect(bestLogprob(next)).toBeCloseTo(Math.log(0.6), 12);
    expect([0, 1, 2].map((i) => Math.exp(logprobOf(next, i)))).toEqual(
      [0.6, 0.3, 0.1].map((p) => expect.closeTo(p, 12)),
    );
    const { margin, entropy } = spread(next);
    expect(margin).toBeCloseTo(0.3, 12);
    expect(entropy).toBeCloseTo(-(0.6 * Math.log(0.6) + 0.3 * Math.log(0.3) + 0.1 * Math.log(0.1)), 12);
  });

  it('is certain where there is nothing else', () => {
    const next: NextToken = {
      best: 0,
      ids: [0, 1],
      logits: [0, Number.NEGATIVE_INFINITY],
      total: 1,
      vocabularySize: 2,
    };
    expect(bestLogprob(next)).toBe(0);
    expect(spread(next)).toEqual({ margin: 1, entropy: 0 });
  });
});

describe('drawToken', () => {
  it.each([
    [1, 1],
    [0.5, 1],
    [1.8, 1],
    [1, 0.7],
    [0.6, 0.9],
  ])('draws with the frequencies of temperature %d and top_p %d', (temperature, topP) => {
    const next = distribution(12);
    const p = probabilities(next, temperature);
    const kept: number[] = [];
    let mass = 0;
    for (const value of p) {
      if (mass >= topP) break;
      kept.push(value);
      mass += value;
    }
    const counts = new Array<number>(12).fill(0);
    const draws = 20_000;
    for (let i = 0; i < draws; i++) counts[drawToken(next, { temperature, topP }, (i + 0.5) / draws)!]!++;
    for (const [i, count] of counts.entries()) {
      // Evenly spread uniforms hit each share within one draw, at each of its two ends.
      expect(Math.abs(count - (draws * (kept[i] ?? 0)) / mass), `token ${i}`).toBeLessThanOrEqual(2);
    }
  });

  it('draws from a head of the list what it would from the whole, or says that it cannot', { tags: 'slow' }, () => {
    const random = createRandom(5);
    let decided = 0;
    for (let i = 0; i < 1000; i++) {
      const [size, listed] = [200, 1 + random.int(60)];
      const [whole, head] = [distribution(size, size, i), distribution(size, listed, i)];
      const options = {
        temperature: 0.3 + 2 * random.uniform(),
        topP: random.int(2) === 0 ? 1 : 0.05 + 0.9 * random.uniform(),
      };
      const uniform = random.uniform();
      const drawn = drawToken(head, options, uniform);
      if (drawn === null) continue;
      decided++;
      expect(drawn, JSON.stringify({ ...options, uniform, listed })).toBe(drawToken(whole, options, uniform));
    }
    expect(decided).toBeGreaterThan(100);
    expect(decided).toBeLessThan(1000);
  });

  it('is greedy at the edges', () => {
    const next = distribution(50, 5);
    expect(drawToken(next, { temperature: 1e-5, topP: 1 }, 0.999)).toBe(0);
    expect(drawToken(next, { temperature: 1, topP: 1e-9 }, 0.999)).toBe(0);
    expect(drawToken(distribution(5), { temperature: 1, topP: 1 }, 1 - 2 ** -32)).toBe(4);
  });
});
