/**
 * What calibration learns from: held-out queries that both sources have answered, with the signals that the device had.
 *
 * Each signal is turned into a suspicion, larger where the server is more likely to be needed, so that one comparison serves
 * all of them: those that speak for the server when they are low change their sign.
 */

import { CrayonError } from '../../core/errors.js';
import {
  bySignal,
  RECORDED_SIGNALS,
  type RecordedSignal,
  SIGNALS,
  type SignalName,
  signalNamed,
  type Thresholds,
} from '../signals/index.js';
import type { ConfidenceMeasure } from '../signals/signal.js';

/** One held-out query, answered by both. Plain JSON. A signal is null or absent where the query has none. */
export interface CalibrationRecord extends Partial<Record<RecordedSignal, number | null>> {
  id: string;
  /** the prompt's gate over the clusters of the device's pool and, last, for strays (N + 1); null or absent where it has none */
  clusters?: readonly number[] | null;
  /** the confidence by each measure that was recorded; absent in records of earlier versions */
  confidences?: Partial<Record<ConfidenceMeasure, number | null>> | undefined;
  /** 1 right, 0 wrong; scores between are understood */
  edgeCorrect: number;
  serverCorrect: number;
  /** tokens of the device's answer, and of the server's prompt and answer */
  tokens: { edge: number; serverPrompt: number; serverCompletion: number };
  /** what the server's answer costs, in the currency of its prices */
  serverCost: number;
}

export const signOf = (name: SignalName) => (signalNamed(name).toServer === 'above' ? 1 : -1);

/** Made of a record's gate and of rates that are counted from other records. */
export const OF_CLUSTERS: readonly SignalName[] = ['success', 'advantage'];

/** Records as columns. */
export interface CalibrationData {
  n: number;
  /** the index of every record, 0 to n - 1 */
  all: readonly number[];
  /** signals that every record has, or what they are made of */
  available: SignalName[];
  /** the records' gates, each over the same clusters; null where a record has none */
  gates: ReadonlyArray<readonly number[]> | null;
  /** of the confidences */
  measure: ConfidenceMeasure;
  /** of a signal that is made of others NaN, until weights have been fitted (fit.ts) */
  suspicion: Record<SignalName, Float64Array>;
  /** P(the server is right) by the rates of its clusters; null until those have been counted (fit.ts) */
  serverRate: Float64Array | null;
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
    [
      ...RECORDED_SIGNALS.map((name) => record[name]),
      ...(record.clusters ?? []),
      ...[record.edgeCorrect, record.serverCorrect, record.serverCost],
    ].some((value) => Number.isNaN(value ?? 0)),
  );
  if (bad.length > 0) {
    const ids = bad.slice(0, 5).map((record) => record.id);
    throw new CrayonError(
      'example-invalid',
      `${bad.length} records hold a value that is not a number: ${ids.join(', ')}`,
    );
  }
  const gates = gatesOf(records);
  const has = (name: SignalName) =>
    OF_CLUSTERS.includes(name)
      ? gates !== null
      : records.every((record) => (record[name as RecordedSignal] ?? null) !== null);
  const column = (of: (record: CalibrationRecord) => number) => Float64Array.from(records, of);
  return {
    n: records.length,
    all: [...records.keys()],
    available: SIGNALS.map(({ name }) => name).filter(has),
    gates,
    measure,
    suspicion: bySignal(({ name, madeOf }) =>
      column((record) => (madeOf ? Number.NaN : signOf(name) * (record[name as RecordedSignal] ?? 0))),
    ),
    serverRate: null,
    edge: column((record) => record.edgeCorrect),
    server: column((record) => record.serverCorrect),
    cost: column((record) => record.serverCost),
  };
}

/** @throws CrayonError `example-invalid` for gates over different numbers of clusters */
function gatesOf(records: readonly CalibrationRecord[]): CalibrationData['gates'] {
  const gates = records.flatMap(({ clusters }) => (clusters ? [clusters] : []));
  if (gates.length < records.length) return null;
  const N = gates[0]!.length;
  const other = records.find(({ clusters }) => clusters!.length !== N);
  if (other !== undefined) {
    throw new CrayonError(
      'example-invalid',
      `record ${other.id} is of ${other.clusters!.length} clusters, expected ${N} as the first`,
    );
  }
  return gates;
}

/** The data by each of these measures that every record has, the first whatever is recorded: it is the records' own. */
export function dataByMeasure(
  records: readonly CalibrationRecord[],
  measures: readonly ConfidenceMeasure[],
): CalibrationData[] {
  return measures.flatMap((measure, k) => {
    if (k === 0) return [calibrationData(records, measure)];
    if (!records.every(({ confidences }) => (confidences?.[measure] ?? null) !== null)) return [];
    return [
      calibrationData(
        records.map((record) => byMeasure(record, measure)),
        measure,
      ),
    ];
  });
}

/** A record with the confidence by a measure that it has. */
export function byMeasure(record: CalibrationRecord, measure: ConfidenceMeasure): CalibrationRecord {
  return { ...record, confidence: record.confidences![measure]! };
}

/** Some of the records, in the order of their indices, which may come several times. */
export function recordsAt(data: CalibrationData, indices: readonly number[]): CalibrationData {
  const column = (values: Float64Array) => Float64Array.from(indices, (i) => values[i]!);
  return {
    ...data,
    n: indices.length,
    all: [...indices.keys()],
    gates: data.gates && indices.map((i) => data.gates![i]!),
    suspicion: bySignal(({ name }) => column(data.suspicion[name])),
    serverRate: data.serverRate && column(data.serverRate),
    edge: column(data.edge),
    server: column(data.server),
    cost: column(data.cost),
  };
}

/** A record's signal in its own unit. */
export function signalOf(data: CalibrationData, name: SignalName, i: number): number {
  return signOf(name) * data.suspicion[name][i]!;
}

/** Whether the rule sends record i to the server. */
export function toServer(data: CalibrationData, cuts: Cuts, i: number): boolean {
  return SIGNALS.some(({ name }) => data.suspicion[name][i]! > (cuts[name] ?? Number.POSITIVE_INFINITY));
}

/** The cuts in the signals' own units, as the configuration has them. */
export function thresholdsOf(cuts: Cuts): Thresholds {
  return bySignal(({ name }) => {
    const cut = cuts[name];
    return cut === undefined ? null : signOf(name) * cut + 0; // + 0: no negative zero
  });
}

/**
 * A cut that parts the suspicions `low` < `high`, with as few digits as will do: it is written into a file for people.
 * Undefined bounds are the ends, where all or none go to the server.
 */
export function cutBetween(name: SignalName, low: number | undefined, high: number | undefined): number {
  if (low === undefined) {
    // Sends everything. Beyond a percentile of 100 or a likelihood of 0 it would look absurd.
    const { sendsAll } = signalNamed(name);
    if (sendsAll !== undefined) return signOf(name) * sendsAll;
    return high === Number.POSITIVE_INFINITY ? 0 : round(high! - 1, high! - 2, high!);
  }
  if (high === undefined || high === Number.POSITIVE_INFINITY) return round(low + 1, low, low + 2);
  if (low === Number.NEGATIVE_INFINITY) return round(high - 1, high - 2, high);
  return round((low + high) / 2, low, high);
}

/** The number of fewest digits near x that lies in [low, high): what is suspected more than the cut is sent. */
function round(x: number, low: number, high: number): number {
  for (let digits = 1; digits < 17; digits++) {
    const rounded = Number(x.toPrecision(digits));
    if (rounded >= low && rounded < high) return rounded;
  }
  return low;
}
