/** A decision in one plain sentence. */

import type { Decision } from './types.js';

/** @example explain(decision) // 'The server answers: the confidence -1.203 is below the cut -0.9.' */
export function explain({ source, reason, score, threshold, signals, failure }: Decision): string {
  const who = source === 'on_device' ? 'The device answers' : 'The server answers';
  const numbers = (relation: string) => `${shown(score)} ${relation} ${shown(threshold)}`;
  const because = failure === undefined ? '' : ` (${failure.code})`;
  switch (reason) {
    case 'mode':
      return `${who}: the mode says so.`;
    case 'context':
      return `${who}: ${numbers('tokens of prompt and answer are more than the device takes, which is')}.`;
    case 'load':
      return `${who}: the device is busy, and its queue is full (${numbers('waiting of')}).`;
    case 'memory':
      return `${who}: the device is short of memory (${numbers('bytes are free, less than the')} to be kept free).`;
    case 'scope':
      return `${who}: the query is unlike the examples of the task (scope percentile ${numbers('is below the cut')}).`;
    case 'complexity':
      return `${who}: the prompt surprises the device's model (${numbers('nats a token is above the cut')}).`;
    case 'confidence':
      return `${who}: the device's model is unsure of its answer (confidence ${numbers('is below the cut')}).`;
    case 'correctness':
      return `${who}: ${chance(score)}, below the cut ${shown(threshold)} (${ingredients(signals)}).`;
    case 'accepted':
      return `${who}: ${accepted(signals, score, threshold)}.`;
    case 'server-failed':
      return `${who}: the server was wanted but failed${because}.`;
    case 'budget':
      return `${who}: the server was wanted but its budget for today is spent.`;
    case 'circuit-open':
      return `${who}: the server was wanted but failed so often lately that it is left alone for now.`;
    case 'device-failed':
      return `${who}: the device was wanted but failed${because}.`;
  }
}

function accepted(signals: Decision['signals'], score: number | null, threshold: number | null): string {
  if (score === null) return 'no signal is switched on that could send the query to the server';
  const within = (name: string, relation: string) => `its ${name} ${shown(score)} ${relation} ${shown(threshold)}`;
  if (signals.correctness !== undefined) {
    return `${chance(score)}, at least the cut ${shown(threshold)} (${ingredients(signals)})`;
  }
  if (signals.confidence !== undefined) return within('confidence', 'is at least the cut');
  if (signals.complexity !== undefined) return within('complexity', 'is at most the cut');
  return within('scope percentile', 'is at least the cut');
}

const chance = (score: number | null) => `the device's answer is right with probability ${chanceShown(score)}`;

/** Nothing is certain, so nothing is rounded to 0 or 1. */
function chanceShown(score: number | null): string {
  if (score === null || (score >= 0.001 && score <= 0.999)) return shown(score);
  return score < 0.001 ? 'under 0.001' : 'over 0.999';
}

/** What the probability was made of. */
function ingredients({ confidence, scope, complexity }: Decision['signals']): string {
  const named: Array<[string, number | undefined]> = [
    ['confidence', confidence],
    ['scope percentile', scope],
    ['complexity', complexity],
  ];
  return named.flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${shown(value)}`])).join(', ');
}

/** Four significant digits are enough for a reader; the decision holds them all. */
function shown(x: number | null): string {
  if (x === null) return 'unknown';
  return Number.isFinite(x) ? String(Number(x.toPrecision(4))) : String(x);
}
