/**
 * Hybrid curves of a run: the device's and the server's answers, paired by example and sorted by a routing signal, or by a
 * calibrated rule: the probability, by logistic regression, that the device's answer is right.
 *
 *     P(right) = sigmoid(intercept + w . (mean log-probability, its exponential, scope percentile / 100))
 *
 * The exponential lets the rule bend: an answer of middling confidence may be worse than one of low confidence. Scores are
 * cross-fitted: no example is scored by a rule that has seen its label, nor the label of another user's answer to its prompt.
 */

import { fitIsotonic, mapped } from '../../core/isotonic.js';
import { fitLogistic, logisticProbability } from '../../core/logistic.js';
import { nestedWeights, weightedMean } from '../../core/nested-mean.js';
import { createRandom } from '../../core/random.js';
import type { BootstrapOptions, Interval } from '../../core/stats.js';
import { oneHot } from '../../core/vector.js';
import { clusterRates } from '../../routing/calibrate/cluster-rates.js';
import {
  type HybridCurve,
  type HybridIntervals,
  hybridCurve,
  hybridIntervals,
  type SharePoint,
} from '../../routing/calibrate/hybrid-curve.js';
import { featureOf } from '../../routing/signals/correctness.js';
import { expectedRate } from '../../routing/signals/success.js';
import { PERTURBATIONS, type Perturbation } from '../perturb.js';
import { EDGES, SERVER, strategyTitle } from '../strategies/index.js';
import type { AnswerRecord, ScoringMethod } from '../types.js';
import { gapSplit, type SplitRow } from './gap-split.js';
import type { AnsweredCell } from './read.js';
import { type ReliabilityRow, rawProbabilities, reliabilityRows } from './reliability.js';
import { type RobustnessOf, robustness } from './robustness.js';
import { type PlainSignal, routingScores, type Signals } from './routing-scores.js';
import { exampleId, runSeedOf, seedsOfRun, type Unit, unitId } from './units.js';

/** The share that the summary, the tiles and the robustness speak of. */
export const HEADLINE_SHARE = 0.2;

/**
 * How queries may be routed, in the order of the report: by signals read off the answers without any label, then by rules
 * that were fitted on held-out examples. The controls say what those rest on; they have no curve in the picture.
 */
const ROUTINGS = {
  confidence: { title: 'confidence' },
  scope: { title: 'scope' },
  both: { title: 'scope or confidence' },
  rates: { title: 'cluster rates', rule: 'all-users', of: 'rates' },
  calibrated: { title: 'calibrated', rule: 'all-users' },
  'calibrated-rates': { title: 'calibrated, with cluster rates', rule: 'all-users', of: 'both' },
  'calibrated-user': { title: 'calibrated per user', rule: 'per-user' },
  'user-alone': { title: 'control: user alone', rule: 'user', isControl: true },
  'other-users': { title: 'control: other users', rule: 'other-users', isControl: true },
  'other-rates': { title: 'control: cluster rates, other users', rule: 'other-users', of: 'rates', isControl: true },
  'other-both': { title: 'control: with cluster rates, other users', rule: 'other-users', of: 'both', isControl: true },
} as const satisfies Record<string, { title: string; rule?: RuleKind; of?: RuleParts; isControl?: true }>;

export type RoutingSignal = keyof typeof ROUTINGS;

export const ROUTING_SIGNALS = Object.keys(ROUTINGS) as RoutingSignal[];

export function signalTitle(signal: RoutingSignal): string {
  return ROUTINGS[signal].title;
}

export function isControl(signal: RoutingSignal): boolean {
  return 'isControl' in ROUTINGS[signal];
}

/** Whether its score is the probability of a right answer. */
function isProbability(signal: RoutingSignal): boolean {
  return 'rule' in ROUTINGS[signal];
}

/** Larger where the device should answer, or null where the signal has none; folds are drawn with the bootstrap's seed. */
function scoresBy(signal: RoutingSignal, of: UserAnswers, seed: number): Float64Array | null {
  const routing = ROUTINGS[signal];
  if (!('rule' in routing)) return routingScores(of.asked ?? of.answers, signal as PlainSignal, of.answers);
  return heldOutScores(of, routing.rule, seed, 'of' in routing ? routing.of : 'signals');
}

/** What is on the device, and how its answers were judged. */
export interface OnDevice {
  edgeStrategy: string;
  title: string;
  method: ScoringMethod;
}

export interface HybridRow extends OnDevice {
  signal: RoutingSignal;
  users: number;
  curve: HybridCurve;
  intervals: HybridIntervals;
  /** at the headline's share; of the ways to change prompts that the run has the signal for */
  robustness: RobustnessOf;
}

export interface HybridSection {
  rows: HybridRow[];
  /** one for each strategy and method that the rows have */
  splits: Array<OnDevice & { rows: SplitRow[] }>;
  /** likewise; without rows where no answer has a probability */
  reliability: Array<OnDevice & { rows: ReliabilityRow[] }>;
  /** the device's accuracy on changed prompts, where it was asked them */
  changed: Array<OnDevice & { kind: Perturbation; accuracy: Interval }>;
  remarks: string[];
}

export function atHeadline({ intervals }: HybridRow): SharePoint {
  return intervals.shares.find(({ share }) => share === HEADLINE_SHARE)!;
}

/** Part of the gap that the oracle recovers at a share of the table: no router can do better. NaN without a gap. */
export function oracleRecovered({ edge, server }: HybridIntervals, point: SharePoint): number {
  const gap = server.estimate - edge.estimate;
  return gap > 0 ? (point.oracle.estimate - edge.estimate) / gap : Number.NaN;
}

/**
 * The row that speaks for its strategy: of the calibrated rule, and of the first signal where there is none. Always that one,
 * not whichever came out best.
 */
export function headline(rows: readonly HybridRow[]): HybridRow {
  return rows.find(({ signal }) => signal === 'calibrated') ?? rows[0]!;
}

/**
 * One threshold for all users, every query counting alike, at every seed of the run. Of several draws of a user the lowest is taken. Rows stand in the
 * order of EDGES, of the report's methods, and of ROUTING_SIGNALS.
 *
 * @returns null when no strategy on the device and the server have answered the same examples by the same method
 */
export function hybridSection(
  cells: readonly AnsweredCell[],
  units: readonly Unit[],
  methods: readonly ScoringMethod[],
  options: BootstrapOptions,
): HybridSection | null {
  const section: HybridSection = { rows: [], splits: [], reliability: [], changed: [], remarks: [] };
  const { rows, splits, remarks } = section;
  for (const [edgeStrategy, method] of EDGES.flatMap((edge) => methods.map((m) => [edge, m] as const))) {
    const title = strategyTitle(edgeStrategy);
    const onDevice = { edgeStrategy, title, method };
    const judged = cells.filter(({ cell }) => cell.method === method);
    const { pairs, users, unpaired } = pairedAnswers(judged, units, edgeStrategy);
    if (pairs.length === 0) continue;
    if (unpaired > 0) {
      remarks.push(`${title}: ${unpaired} answers have no counterpart on the other side and are left out.`);
    }
    const draws = nestedWeights(
      pairs.map(({ edge, user, seed }) => ({ unit: user, seed, example: exampleId(edge) })),
      options,
    );
    const outcomes = pairs.map(({ edge, server, user }) => ({ edge: edge.correct, server: server.correct, user }));
    splits.push({ ...onDevice, rows: gapSplit(outcomes, users, draws) });
    const all = [...pairs.keys()];
    const answered = { answers: pairs.map(({ edge }) => edge), users: pairs.map(({ user }) => user) };
    const changed = PERTURBATIONS.flatMap((kind) => {
      const asked = answered.answers.flatMap(({ perturbed }) => perturbed?.[kind] ?? []);
      if (asked.length < pairs.length) return [];
      const right = asked.flatMap(({ correct }) => correct ?? []);
      if (right.length === asked.length) {
        const accuracy = weightedMean(right, draws, all);
        section.changed.push({ ...onDevice, kind, accuracy });
      }
      return [[kind, asked] as const];
    });
    const raw = rawProbabilities(answered.answers.map(({ confidence }) => confidence));
    const probabilities = [{ name: 'raw', title: 'confidence as it is', values: raw }];
    for (const signal of ROUTING_SIGNALS) {
      const scores = scoresBy(signal, answered, options.seed);
      if (isProbability(signal)) probabilities.push({ name: signal, title: signalTitle(signal), values: scores });
      if (scores !== null) {
        const items = outcomes.map(({ edge, server }, i) => ({ edge, server, score: scores[i]! }));
        const [curve, intervals] = [hybridCurve(items), hybridIntervals(items, draws)];
        const kinds = changed.flatMap(([kind, asked]) => {
          const scoresOfKind = isControl(signal) ? null : scoresBy(signal, { ...answered, asked }, options.seed);
          return scoresOfKind === null
            ? []
            : [[kind, robustness(scores, scoresOfKind, HEADLINE_SHARE, draws)] as const];
        });
        rows.push({
          ...onDevice,
          signal,
          users: users.length,
          curve,
          intervals,
          robustness: Object.fromEntries(kinds),
        });
      } else if (signal === 'confidence' || signal === 'scope') {
        remarks.push(`${title}: not every answer has a ${signal}, so it cannot route.`);
      }
    }
    const isotonic = heldOutScores(answered, 'all-users', options.seed, 'mapped');
    probabilities.push({ name: 'isotonic', title: 'calibrated, isotonic map', values: isotonic });
    const labels = outcomes.map(({ edge }) => edge);
    section.reliability.push({ ...onDevice, rows: reliabilityRows(probabilities, labels, options) });
  }
  return rows.length === 0 && remarks.length === 0 ? null : section;
}

/** One example of a user at a seed of the run, answered by both. */
interface Pair {
  edge: AnswerRecord;
  server: AnswerRecord;
  /** index among the users that have any */
  user: number;
  seed: number;
}

/** The device's and the server's answers to the same examples, user after user, with the titles of these. */
function pairedAnswers(cells: readonly AnsweredCell[], units: readonly Unit[], edgeStrategy: string) {
  const answersOf = (strategy: string, unit: Unit, seed: number): AnswerRecord[] =>
    cells
      .filter(({ cell }) => unitId(cell.user) === unit.id && cell.strategy === strategy && runSeedOf(cell) === seed)
      .sort((a, b) => a.cell.seed - b.cell.seed)[0]?.answers ?? [];
  const pairs: Pair[] = [];
  const users: string[] = [];
  let unpaired = 0;
  for (const unit of units) {
    const paired = seedsOfRun(cells).flatMap((seed) => {
      const answers = answersOf(edgeStrategy, unit, seed);
      const others = new Map(answersOf(SERVER, unit, seed).map((answer) => [exampleId(answer), answer]));
      if (answers.length === 0 || others.size === 0) return [];
      const ofSeed = answers.flatMap((edge): Pair[] => {
        const server = others.get(exampleId(edge));
        return server === undefined ? [] : [{ edge, server, user: users.length, seed }];
      });
      unpaired += answers.length + others.size - 2 * ofSeed.length;
      return ofSeed;
    });
    if (paired.length === 0) continue;
    pairs.push(...paired);
    users.push(unit.title);
  }
  return { pairs, users, unpaired };
}

/** Parts that the examples are cut into; each is scored by a rule that was fitted on the others. */
export const FOLDS = 10;

/** The device's answers of all users one after another, and whose each is. */
export interface UserAnswers {
  answers: readonly AnswerRecord[];
  /** index of the user, one for each answer */
  users: readonly number[];
  /** What is scored in place of the answers, one for each: the signals of its prompt, changed. Rules are fitted on the answers. */
  asked?: readonly Signals[];
}

/** What a rule may see. `user` has an intercept for each user and no signal: what knowing the user alone is worth. */
export type RuleKind = 'all-users' | 'per-user' | 'user' | 'other-users';

/**
 * What its probability is made of: the signals, the rates of the pool's clusters alone, or the signals and that rate. `mapped` is that
 * of the signals through an isotonic map, fitted on what the rule says of the answers that it was itself fitted on.
 */
export type RuleParts = 'signals' | 'rates' | 'both' | 'mapped';

/**
 * Held-out scores, larger where the device should answer.
 *
 * - `all-users`: one rule; `per-user`: the same with an intercept for each user.
 * - `user`: only those intercepts. `other-users`: one rule, each user scored by the one fitted on all the others.
 *
 * @param seed of the folds
 * @returns null where an answer has no confidence, or no gate where rates need it, the prompts are fewer than the folds, or, but
 *   for `all-users`, there is one user only
 */
export function heldOutScores(
  of: UserAnswers,
  kind: RuleKind,
  seed: number,
  parts: RuleParts = 'signals',
): Float64Array | null {
  const { answers, users, asked = answers } = of;
  const count = new Set(users).size;
  if (kind !== 'all-users' && count < 2) return null;
  const hasScope = answers.every(({ scope }) => scope !== undefined);
  const featuresOf = (all: readonly Signals[]) =>
    signalFeatures(all, hasScope)?.map((signals, i) => [
      ...(kind === 'user' ? [] : signals),
      ...(kind === 'user' || kind === 'per-user' ? oneHot(users[i]!, count) : []),
    ]);
  // the rates alone are made of no signal
  const [features, scored] = parts === 'rates' ? [[], []] : [featuresOf(answers), featuresOf(asked)];
  const folds = promptFolds(of, seed);
  if (features === undefined || scored === undefined || folds === null) return null;
  const labels = answers.map((answer) => answer.correct);
  const heldOut = kind === 'other-users' ? users : folds;
  const at = <T>(values: readonly T[], others: readonly number[]) => others.map((i) => values[i]!);
  if (parts === 'signals' || parts === 'mapped') {
    return crossFit(heldOut, (others) => {
      const rule = fitLogistic(at(features, others), at(labels, others));
      if (parts === 'signals') return (i) => logisticProbability(rule, scored[i]!);
      const seen = others.map((i) => logisticProbability(rule, features[i]!));
      const map = fitIsotonic(seen, at(labels, others));
      return (i) => mapped(map, logisticProbability(rule, scored[i]!));
    });
  }
  const [gates, askedGates] = [gatesOf(answers), gatesOf(asked)];
  if (gates === null || askedGates === null) return null;
  return crossFit(heldOut, (others) => {
    const { rates } = clusterRates(at(gates, others), at(labels, others));
    if (parts === 'rates') return (i) => expectedRate(rates, askedGates[i]!);
    const withRate = (rows: readonly number[][], ofRows: readonly number[][]) =>
      rows.map((row, i) => [...row, expectedRate(rates, ofRows[i]!)]);
    return logisticOf(withRate(features, gates), labels, others, withRate(scored, askedGates));
  });
}

/** The gates of all answers, or null where one has none. */
function gatesOf(answers: readonly Signals[]): number[][] | null {
  const gates = answers.flatMap(({ clusters }) => (clusters === undefined ? [] : [clusters]));
  return gates.length < answers.length ? null : gates;
}

/** The probability of each answer that is scored, by a rule that was fitted on the others. */
export function logisticOf(
  features: readonly number[][],
  labels: readonly number[],
  others: readonly number[],
  scored: readonly number[][] = features,
) {
  const rule = fitLogistic(
    others.map((i) => features[i]!),
    others.map((i) => labels[i]!),
  );
  return (i: number) => logisticProbability(rule, scored[i]!);
}

/** Mean log-probability, its exponential, and the scope as a part of 1 where every answer has one; null without confidence. */
export function signalFeatures(answers: readonly Signals[], hasScope: boolean): number[][] | null {
  if (answers.some(({ confidence, scope }) => confidence === undefined || (hasScope && scope === undefined)))
    return null;
  const features = hasScope
    ? (['confidence', 'probability', 'scope'] as const)
    : (['confidence', 'probability'] as const);
  return answers.map((answer) => features.map((name) => featureOf(name, 'mean-logprob', answer)));
}

/**
 * A fold, 0 to FOLDS - 1, for each answer: those to one prompt are in one fold, whoever gave them, and each user's prompts are
 * dealt out in turn, so that every fold has as many of each user as it can.
 *
 * @returns null where there are fewer prompts than folds
 */
export function promptFolds(
  { answers, users }: { answers: ReadonlyArray<Pick<AnswerRecord, 'promptHash'>>; users: readonly number[] },
  seed: number,
): number[] | null {
  const random = createRandom(seed, 'calibration folds');
  const byUser = new Map<number, Set<string>>();
  for (const [i, { promptHash }] of answers.entries()) {
    const prompts = byUser.get(users[i]!) ?? new Set<string>();
    byUser.set(users[i]!, prompts.add(promptHash));
  }
  const fold = new Map<string, number>();
  for (const prompts of byUser.values()) {
    const fresh = [...prompts].filter((prompt) => !fold.has(prompt));
    for (const prompt of random.shuffle(fresh)) fold.set(prompt, fold.size % FOLDS);
  }
  return fold.size < FOLDS ? null : answers.map(({ promptHash }) => fold.get(promptHash)!);
}

/** Scores each fold by the rule that was fitted on the answers of the other folds. */
function crossFit(
  folds: readonly number[],
  scoring: (others: readonly number[]) => (answer: number) => number,
): Float64Array {
  const scores = new Float64Array(folds.length);
  for (const fold of new Set(folds)) {
    const score = scoring([...folds.keys()].filter((i) => folds[i] !== fold));
    for (const [i, of] of folds.entries()) if (of === fold) scores[i] = score(i);
  }
  return scores;
}
