/**
 * Hybrid curves of a run: the device's and the server's answers, paired by example and sorted by a routing signal, or by a
 * calibrated rule: the probability, by logistic regression, that the device's answer is right.
 *
 *     P(right) = sigmoid(intercept + w . (mean log-probability, its exponential, scope percentile / 100))
 *
 * The exponential lets the rule bend: an answer of middling confidence may be worse than one of low confidence. Scores are
 * cross-fitted: no example is scored by a rule that has seen its label, nor the label of another user's answer to its prompt.
 */

import assert from 'node:assert/strict';
import { fitLogistic, logisticProbability } from '../../core/logistic.js';
import { nestedWeights } from '../../core/nested-mean.js';
import { createRandom } from '../../core/random.js';
import type { BootstrapOptions } from '../../core/stats.js';
import { oneHot } from '../../core/vector.js';
import {
  type HybridCurve,
  type HybridIntervals,
  hybridCurve,
  hybridIntervals,
  type SharePoint,
} from '../../routing/calibrate/hybrid-curve.js';
import { featureOf } from '../../routing/signals/correctness.js';
import { EDGES, SERVER, strategyTitle } from '../strategies/index.js';
import type { AnswerRecord, ScoringMethod } from '../types.js';
import { gapSplit, type SplitRow } from './gap-split.js';
import type { AnsweredCell } from './read.js';
import { exampleId, runSeedOf, seedsOfRun, type Unit, unitId } from './units.js';

/**
 * How queries may be routed, in the order of the report: by signals read off the answers without any label, then by rules
 * that were fitted on held-out examples. The controls say what those rest on; they have no curve in the picture.
 */
const ROUTINGS = {
  confidence: { title: 'confidence' },
  scope: { title: 'scope' },
  both: { title: 'scope or confidence' },
  calibrated: { title: 'calibrated', rule: 'all-users' },
  'calibrated-user': { title: 'calibrated per user', rule: 'per-user' },
  'user-alone': { title: 'control: user alone', rule: 'user', isControl: true },
  'other-users': { title: 'control: other users', rule: 'other-users', isControl: true },
} as const satisfies Record<string, { title: string; rule?: RuleKind; isControl?: true }>;

export type RoutingSignal = keyof typeof ROUTINGS;
type PlainSignal = 'confidence' | 'scope' | 'both';

export const ROUTING_SIGNALS = Object.keys(ROUTINGS) as RoutingSignal[];

export function signalTitle(signal: RoutingSignal): string {
  return ROUTINGS[signal].title;
}

export function isControl(signal: RoutingSignal): boolean {
  return 'isControl' in ROUTINGS[signal];
}

/** Larger where the device should answer, or null where the signal has none; folds are drawn with the bootstrap's seed. */
function scoresBy(signal: RoutingSignal, of: UserAnswers, seed: number): Float64Array | null {
  const routing = ROUTINGS[signal];
  return 'rule' in routing ? heldOutScores(of, routing.rule, seed) : routingScores(of.answers, signal as PlainSignal);
}

/**
 * Routing scores of the device's answers, larger where the device should answer, or null where an answer lacks the signal.
 *
 * `both` is the rule "to the server when scope or confidence is below its cut", with the two cuts at equal ranks: the smaller
 * of an answer's two ranks.
 */
export function routingScores(answers: readonly AnswerRecord[], signal: PlainSignal): Float64Array | null {
  if (signal === 'both') {
    const scope = routingScores(answers, 'scope');
    const confidence = routingScores(answers, 'confidence');
    if (scope === null || confidence === null) return null;
    const [a, b] = [ranks(scope), ranks(confidence)];
    return a.map((rank, i) => Math.min(rank, b[i]!));
  }
  const values = answers.map((answer) => answer[signal]);
  return values.every((x) => x !== undefined) ? Float64Array.from(values as number[]) : null;
}

/** Rank of each value from 1, the mean one where values are equal. */
export function ranks(values: Float64Array): Float64Array {
  const order = Int32Array.from(values.keys()).sort((i, j) => values[i]! - values[j]! || i - j);
  const result = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let k = from; k < to; k++) result[order[k]!] = (from + 1 + to) / 2;
    from = to;
  }
  return result;
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
}

export interface HybridSection {
  rows: HybridRow[];
  /** one for each strategy and method that the rows have */
  splits: Array<OnDevice & { rows: SplitRow[] }>;
  remarks: string[];
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
  const section: HybridSection = { rows: [], splits: [], remarks: [] };
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
    const answered = { answers: pairs.map(({ edge }) => edge), users: pairs.map(({ user }) => user) };
    for (const signal of ROUTING_SIGNALS) {
      const scores = scoresBy(signal, answered, options.seed);
      if (scores !== null) {
        const items = outcomes.map(({ edge, server }, i) => ({ edge, server, score: scores[i]! }));
        const [curve, intervals] = [hybridCurve(items), hybridIntervals(items, draws)];
        rows.push({ ...onDevice, signal, users: users.length, curve, intervals });
      } else if (signal === 'confidence' || signal === 'scope') {
        remarks.push(`${title}: not every answer has a ${signal}, so it cannot route.`);
      }
    }
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
}

/** What a rule may see. `user` has an intercept for each user and no signal: what knowing the user alone is worth. */
export type RuleKind = 'all-users' | 'per-user' | 'user' | 'other-users';

/**
 * Held-out scores, larger where the device should answer.
 *
 * - `all-users`: one rule; `per-user`: the same with an intercept for each user.
 * - `user`: only those intercepts. `other-users`: one rule, each user scored by the one fitted on all the others.
 *
 * @param seed of the folds
 * @returns null where an answer has no confidence, the prompts are fewer than the folds, or, but for `all-users`, there is one
 *   user only
 */
export function heldOutScores(of: UserAnswers, kind: RuleKind, seed: number): Float64Array | null {
  const { answers, users } = of;
  const count = new Set(users).size;
  if (kind !== 'all-users' && count < 2) return null;
  const signals = signalFeatures(answers);
  const folds = promptFolds(of, seed);
  if (signals === null || folds === null) return null;
  const features = answers.map((_, i) => [
    ...(kind === 'user' ? [] : signals[i]!),
    ...(kind === 'user' || kind === 'per-user' ? oneHot(users[i]!, count) : []),
  ]);
  const labels = answers.map((answer) => answer.correct);
  return crossFit(features, labels, kind === 'other-users' ? users : folds);
}

/** Mean log-probability, its exponential, and the scope as a part of 1 where every answer has one; null without confidence. */
function signalFeatures(answers: readonly AnswerRecord[]): number[][] | null {
  if (answers.some(({ confidence }) => confidence === undefined)) return null;
  const hasScope = answers.every(({ scope }) => scope !== undefined);
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
export function promptFolds({ answers, users }: UserAnswers, seed: number): number[] | null {
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

/** Scores each fold by the rule that was fitted on the other folds. */
function crossFit(features: number[][], labels: number[], folds: readonly number[]): Float64Array {
  const n = features.length;
  assert(labels.length === n && folds.length === n, 'a label and a fold for each example');
  const scores = new Float64Array(n);
  for (const fold of new Set(folds)) {
    const isOther = (_: unknown, i: number) => folds[i] !== fold;
    const rule = fitLogistic(features.filter(isOther), labels.filter(isOther));
    for (let i = 0; i < n; i++) if (folds[i] === fold) scores[i] = logisticProbability(rule, features[i]!);
  }
  return scores;
}
