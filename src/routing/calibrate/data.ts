/**
 * What calibration learns from: held-out queries that both sources have answered, with the signals that the device had.
 *
 * Each signal is turned into a suspicion, larger where the server is more likely to be needed, so that one comparison serves
 * all of them: scope, confidence and correctness change their sign, complexity keeps it.
 */

import { CrayonError } from '../../core/errors.js';
import type { ConfidenceMeasure, Thresholds } from '../types.js';

/** One held-out query, answered by both. Plain JSON. */
export interface CalibrationRecord {
  id: string;
  /** percentile; null where there is no profile */
  scope: number | null;
  /** nats a token */
  complexity: number | null;
  confidence: number | null;
  /** 1 right, 0 wrong; scores between are understood */
  edgeCorrect: number;
  serverCorrect: number;
  /** tokens of the device's answer, and of the server's prompt and answer */
  tokens: { edge: number; serverPrompt: number; serverCompletion: number };
  /** what the server's answer costs, in the currency of its prices */
  serverCost: number;
}

export type SignalName = keyof Thresholds;
/** Those that a record holds. */
export type RecordedSignal = Exclude<SignalName, 'correctness'>;
/** In the order in which the rule asks them. */
export const SIGNALS: readonly RecordedSignal[] = ['scope', 'complexity', 'confidence'];
/** The same, with the one that is made of them. */
export const RULE_SIGNALS: readonly SignalName[] = [...SIGNALS, 'correctness'];

const SIGN: Record<SignalName, 1 | -1> = { scope: -1, complexity: 1, confidence: -1, correctness: -1 };

/** Records as columns. */
export interface CalibrationData {
  n: number;
  /** signals that every record has */
  available: RecordedSignal[];
  /** of the confidences */
  measure: ConfidenceMeasure;
  /** `correctness` is NaN until weights have been fitted (calibration-fit.ts) */
  suspicion: Record<SignalName, Float64Array>;
  edge: Float64Array;
  server: Float64Array;
  cost: Float64Array;
}

/** Cuts on suspicions: to the server where one of them is exceeded. */
export type Cuts = Partial<Record<SignalName, number>>;

/** Fewer say nothing about a rule, whatever the statistics. */
export const MIN_RECORDS = 20;

/**
 * Checks the records and turns them into columns.
 *
 * @throws CrayonError `dataset-too-small` below 20 records, `example-invalid` where one holds a NaN
 */
export function calibrationData(
  records: readonly CalibrationRecord[],
  measure: ConfidenceMeasure = 'mean-logprob',
): CalibrationData {
  if (records.length < MIN_RECORDS) {
    throw new CrayonError(
      'dataset-too-small',
      `${records.length} held-out examples, expected at least ${MIN_RECORDS} to calibrate on`,
      { hint: 'Some hundred examples make thresholds that hold.' },
    );
  }
  const bad = records.filter((record) =>
    [...SIGNALS.map((name) => record[name]), record.edgeCorrect, record.serverCorrect, record.serverCost].some(
      (value) => value !== null && Number.isNaN(value),
    ),
  );
  if (bad.length > 0) {
    const ids = bad.slice(0, 5).map((record) => record.id);
    throw new CrayonError(
      'example-invalid',
      `${bad.length} records hold a value that is not a number: ${ids.join(', ')}`,
    );
  }
  const column = (of: (record: CalibrationRecord) => number) => Float64Array.from(records, of);
  return {
    n: records.length,
    available: SIGNALS.filter((name) => records.every((record) => record[name] !== null)),
    measure,
    suspicion: {
      scope: column((record) => SIGN.scope * (record.scope ?? 0)),
      complexity: column((record) => SIGN.complexity * (record.complexity ?? 0)),
      confidence: column((record) => SIGN.confidence * (record.confidence ?? 0)),
      correctness: new Float64Array(records.length).fill(Number.NaN),
    },
    edge: column((record) => record.edgeCorrect),
    server: column((record) => record.serverCorrect),
    cost: column((record) => record.serverCost),
  };
}

/** A record's signal in its own unit. */
export function signalOf(data: CalibrationData, name: SignalName, i: number): number {
  return SIGN[name] * data.suspicion[name][i]!;
}

/** Whether the rule sends record i to the server. */
export function toServer(data: CalibrationData, cuts: Cuts, i: number): boolean {
  for (const name of RULE_SIGNALS) {
    const cut = cuts[name];
    if (cut !== undefined && data.suspicion[name][i]! > cut) return true;
  }
  return false;
}

/** The cuts in the signals' own units, as the configuration has them. */
export function thresholdsOf(cuts: Cuts): Thresholds {
  const of = (name: SignalName) => {
    const cut = cuts[name];
    return cut === undefined ? null : SIGN[name] * cut + 0; // + 0: no negative zero
  };
  const [scope, complexity, confidence] = [of('scope'), of('complexity'), of('confidence')];
  return { scope, complexity, confidence, correctness: of('correctness') };
}

/**
 * A cut that parts the suspicions `low` < `high`, with as few digits as will do: it is written into a file for people.
 * Undefined bounds are the ends, where all or none go to the server.
 */
export function cutBetween(name: SignalName, low: number | undefined, high: number | undefined): number {
  if (low === undefined) return lowestCut(name, high!);
  if (high === undefined || high === Number.POSITIVE_INFINITY) return round(low + 1, low, low + 2);
  if (low === Number.NEGATIVE_INFINITY) return round(high - 1, high - 2, high);
  return round((low + high) / 2, low, high);
}

/** Sends everything, from the suspicion `high` on. Beyond a percentile of 100 or a likelihood of 0 it would look absurd. */
function lowestCut(name: SignalName, high: number): number {
  if (name === 'scope') return -100;
  if (name === 'correctness') return -1;
  if (name === 'complexity' || high === Number.POSITIVE_INFINITY) return 0;
  return round(high - 1, high - 2, high);
}

/** The number of fewest digits near x that lies in [low, high): what is suspected more than the cut is sent. */
function round(x: number, low: number, high: number): number {
  for (let digits = 1; digits < 17; digits++) {
    const rounded = Number(x.toPrecision(digits));
    if (rounded >= low && rounded < high) return rounded;
  }
  return low;
}
