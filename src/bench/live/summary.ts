/**
 * What the live hybrid was worth: the part of the gap between device and server that it recovered, and what it gained over
 * sending as many queries at random, which is known from the device's and the server's own answers to the same test.
 */

import { bootstrap, type Interval } from '../../core/stats.js';
import type { AnswerRecord } from '../types.js';

/** Answers of the device, the server and the router to the same examples, in the same order. */
export interface LiveTriple {
  user: string;
  edge: readonly AnswerRecord[];
  server: readonly AnswerRecord[];
  hybrid: readonly AnswerRecord[];
}

export interface LiveSummary {
  users: number;
  examples: number;
  share: Interval;
  edge: Interval;
  server: Interval;
  hybrid: Interval;
  /** random routing at the hybrid's share */
  random: Interval;
  /** hybrid less random, paired by example */
  overRandom: Interval;
  /** (hybrid - edge) / (server - edge); null where the server is no better */
  recovered: Interval | null;
  /** what an oracle would have recovered at the same share: no router can do more. null as `recovered`. */
  ceiling: number | null;
  /** whether the two intervals, hybrid's and random's, do not meet */
  apart: boolean;
}

/** Every query counts alike. @returns null without queries */
export function liveSummary(triples: readonly LiveTriple[], seed: number, resamples = 2000): LiveSummary | null {
  const rows = triples.flatMap(({ edge, server, hybrid }) =>
    hybrid.map((record, i) => ({
      edge: edge[i]!.correct,
      server: server[i]!.correct,
      hybrid: record.correct,
      remote: record.source === 'in_cloud' ? 1 : 0,
    })),
  );
  if (rows.length === 0) return null;
  const options = { seed, resamples, level: 0.95 };
  const mean = (at: ArrayLike<number>, of: keyof (typeof rows)[number]) => {
    let sum = 0;
    for (let i = 0; i < at.length; i++) sum += rows[at[i]!]![of];
    return sum / at.length;
  };
  const interval = (value: (at: ArrayLike<number>) => number) => bootstrap(rows.length, value, options);
  const random = (at: ArrayLike<number>) => {
    const share = mean(at, 'remote');
    return (1 - share) * mean(at, 'edge') + share * mean(at, 'server');
  };
  const all = rows.map((_, i) => i);
  const gap = mean(all, 'server') - mean(all, 'edge');
  const hybrid = interval((at) => mean(at, 'hybrid'));
  const chance = interval(random);
  return {
    users: triples.length,
    examples: rows.length,
    share: interval((at) => mean(at, 'remote')),
    edge: interval((at) => mean(at, 'edge')),
    server: interval((at) => mean(at, 'server')),
    hybrid,
    random: chance,
    overRandom: interval((at) => mean(at, 'hybrid') - random(at)),
    recovered:
      gap <= 0
        ? null
        : interval((at) => {
            const drawnGap = mean(at, 'server') - mean(at, 'edge');
            return drawnGap > 0 ? (mean(at, 'hybrid') - mean(at, 'edge')) / drawnGap : Number.NaN; // a draw without a gap says nothing
          }),
    ceiling:
      gap <= 0
        ? null
        : Math.min(mean(all, 'remote'), rows.filter((row) => row.server > row.edge).length / rows.length) / gap,
    apart: hybrid.low > chance.high,
  };
}
