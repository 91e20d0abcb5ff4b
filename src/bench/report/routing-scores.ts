/** Routing scores that are read off the answers' signals without any label: larger where the device should answer. */

import type { AnswerRecord } from '../types.js';

export type PlainSignal = 'confidence' | 'scope' | 'both';

/** All that a routing score is made of. */
export type Signals = Pick<Partial<AnswerRecord>, 'confidence' | 'scope' | 'clusters'>;

/**
 * Routing scores of the device's answers, larger where the device should answer, or null where an answer lacks the signal.
 *
 * `both` is the rule "to the server when scope or confidence is below its cut", with the two cuts at equal ranks: the smaller
 * of an answer's two ranks.
 *
 * @param among which an answer has its rank
 */
export function routingScores(
  answers: readonly Signals[],
  signal: PlainSignal,
  among: readonly Signals[] = answers,
): Float64Array | null {
  const valuesOf = (name: 'confidence' | 'scope', of: readonly Signals[]) => {
    const values = of.map((answer) => answer[name]);
    return values.every((x) => x !== undefined) ? Float64Array.from(values as number[]) : null;
  };
  if (signal !== 'both') return valuesOf(signal, answers);
  const [scope, confidence] = (['scope', 'confidence'] as const).map((name) => {
    const [values, others] = [valuesOf(name, answers), valuesOf(name, among)];
    return values === null || others === null ? null : ranks(values, others);
  });
  return scope && confidence ? scope.map((rank, i) => Math.min(rank, confidence[i]!)) : null;
}

/** Rank of each value among the others, from 1 where it is one of them, the mean one where values are equal. */
export function ranks(values: Float64Array, among: Float64Array = values): Float64Array {
  const ascending = among.toSorted();
  const below = (value: number, orAt: boolean) => {
    let [from, to] = [0, ascending.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (ascending[middle]! < value || (orAt && ascending[middle]! === value)) from = middle + 1;
      else to = middle;
    }
    return from;
  };
  return values.map((value) => (below(value, false) + 1 + below(value, true)) / 2);
}
