/** What the benchmarks of routers fit: rules that say, of each answer, how likely it is right, made of some of the answers. */

import { logisticOf } from '../src/bench/report/held-out-rules.js';
import { clusterGate } from '../src/blend/cluster-gate.js';
import { countedIn } from '../src/cli/calibrate/clusters.js';
import { mean } from '../src/core/stats.js';
import { sparseRows } from '../src/pool/sparse-rows.js';
import { clusterRates } from '../src/routing/calibrate/cluster-rates.js';
import { expectedRate } from '../src/routing/signals/success.js';

/** Answers of the device as columns, each of n. */
export interface Answered {
  /** whose, from 0 */
  users: number[];
  /** 1 right, 0 wrong: the device's, and the server's to the same question */
  labels: number[];
  server: number[];
  /** over the clusters, and strays */
  gates: number[][];
  /** confidence, its probability, scope / 100 */
  signals: number[][];
}

export type Rule = (i: number) => number;
export type Fit = (of: Answered, others: readonly number[]) => Rule;

/** Confidence, its exponential, scope: the report's `calibrated`. */
export const signalsAlone: Fit = ({ signals, labels }, others) => logisticOf(signals, labels, others);

export const ratesAlone: Fit = ({ gates, labels }, others) => {
  const { rates } = clusterRates(
    others.map((i) => gates[i]!),
    others.map((i) => labels[i]!),
  );
  return (i) => expectedRate(rates, gates[i]!);
};

export const signalsAndRates: Fit = (of, others) => {
  const rate = ratesAlone(of, others);
  return logisticOf(
    of.signals.map((row, i) => [...row, rate(i)]),
    of.labels,
    others,
  );
};

/** The control: no signal, so that nothing but a shift tells one user from another. */
export const overall: Fit = ({ labels }, others) => {
  const rate = mean(others.map((i) => labels[i]!));
  return () => rate;
};

/** A fit to the server's answers instead of the device's. */
export const ofServer =
  (fitting: Fit): Fit =>
  (of, others) =>
    fitting({ ...of, labels: of.server }, others);

/**
 * The answers with their gates over clusters of the questions at `others` instead of the pool's, where both parties' answers to these
 * are likelier so: as `crayon calibrate` chooses. Those at `others` are placed as if they were no members.
 *
 * @param vectors (n) embeddings of the questions
 */
export function inQuestionClusters(
  of: Answered,
  vectors: readonly Float32Array[],
  others: readonly number[],
): Answered {
  const records = others.map((i) => ({
    id: String(i),
    clusters: of.gates[i]!,
    edgeCorrect: of.labels[i]!,
    serverCorrect: of.server[i]!,
  }));
  const { records: placed, clusters } = countedIn(records, sparseRows(others.map((i) => vectors[i]!)), {
    kind: '',
    seed: 0,
  });
  if (clusters === null) return of;
  const gate = clusterGate(clusters);
  const gates = vectors.map((vector) => Array.from(gate(vector)));
  for (const [k, i] of others.entries()) gates[i] = placed[k]!.clusters;
  return { ...of, gates };
}
