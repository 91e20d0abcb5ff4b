import { describe, expect, it } from 'vitest';
import { type LiveTriple, liveSummary } from '../../../src/bench/live/run.js';
import type { AnswerRecord } from '../../../src/bench/types.js';
import { answer } from '../../helpers/bench-run.js';

/** Bits of right answers; `c` marks the hybrid's answers from the server. */
function triple(edge: string, server: string, remote: string): LiveTriple {
  const of = (bits: string, source: AnswerRecord['source']) =>
    [...bits].map((bit, i) => answer('t', i, bit === '1' ? 1 : 0, { source }));
  const [e, s] = [of(edge, 'on_device'), of(server, 'in_cloud')];
  return { edge: e, server: s, hybrid: [...remote].map((mark, i) => (mark === 'c' ? s[i]! : e[i]!)) };
}

describe('liveSummary', () => {
  it('knows the shares, the gap recovered, and what random routing would have had', () => {
    const found = liveSummary([triple('1010100000', '1111111110', '.c.c......')], 1)!;
    expect(found).toMatchObject({ users: 1, examples: 10, share: { estimate: 0.2 }, edge: { estimate: 0.3 } });
    expect(found.server.estimate).toBeCloseTo(0.9, 12);
    expect(found.hybrid.estimate).toBeCloseTo(0.5, 12);
    expect(found.random.estimate).toBeCloseTo(0.8 * 0.3 + 0.2 * 0.9, 12);
    expect(found.overRandom.estimate).toBeCloseTo(0.08, 12);
    expect(found.recovered!.estimate).toBeCloseTo((0.5 - 0.3) / 0.6, 12);
    // two of ten queries may go; seven are right on the server alone
    expect(found.ceiling).toBeCloseTo(0.2 / 0.6, 12);
    expect(found.apart).toBe(false);
  });
  it('sees intervals that do not meet', () => {
    // the fifth that goes to the server is the fifth that the device gets wrong
    const many = triple('1'.repeat(160) + '0'.repeat(40), '1'.repeat(200), '.'.repeat(160) + 'c'.repeat(40));
    const found = liveSummary([many], 1)!;
    expect(found.recovered!.estimate).toBe(1);
    expect(found.random.estimate).toBeCloseTo(0.84, 12);
    expect(found.apart).toBe(true);
    expect(found.overRandom.low).toBeGreaterThan(0);
  });
  it('has nothing to recover from a server that is no better', () => {
    expect(liveSummary([triple('1111', '1110', '.c..')], 1)).toMatchObject({ recovered: null, ceiling: null });
  });
  it('puts users together by query, and is null without any', () => {
    const two = liveSummary([triple('10', '11', '..'), triple('000000', '111111', 'cccccc')], 1)!;
    expect(two).toMatchObject({ users: 2, examples: 8, share: { estimate: 0.75 }, hybrid: { estimate: 7 / 8 } });
    expect(liveSummary([], 1)).toBeNull();
  });
});
