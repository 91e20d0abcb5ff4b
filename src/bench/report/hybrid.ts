/**
 * Hybrid curves of a run: the device's and the server's answers, paired by example and sorted by a routing signal, or by a
 * calibrated rule (held-out-rules.ts).
 */

import { nestedWeights, weightedMean } from '../../core/nested-mean.js';
import type { BootstrapOptions, Interval } from '../../core/stats.js';
import {
  type HybridCurve,
  type HybridIntervals,
  hybridCurve,
  hybridIntervals,
  type SharePoint,
} from '../../routing/calibrate/hybrid-curve.js';
import { PERTURBATIONS, type Perturbation } from '../perturb.js';
import { EDGES, SERVER, strategyTitle } from '../strategies/index.js';
import type { AnswerRecord, ScoringMethod } from '../types.js';
import { gapSplit, type SplitRow } from './gap-split.js';
import {
  heldOutScores,
  heldOutServerRates,
  type RuleKind,
  type RuleParts,
  type UserAnswers,
} from './held-out-rules.js';
import type { AnsweredCell } from './read.js';
import { type ReliabilityRow, rawProbabilities, reliabilityRows } from './reliability.js';
import { type RobustnessOf, robustness } from './robustness.js';
import { type PlainSignal, routingScores } from './routing-scores.js';
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
  advantage: { title: 'cluster rates of both parties', rule: 'all-users', of: 'rates', lessServer: true },
  gain: { title: "calibrated, less the server's rate", rule: 'all-users', of: 'both', lessServer: true },
  'calibrated-user': { title: 'calibrated per user', rule: 'per-user' },
  'user-alone': { title: 'control: user alone', rule: 'user', isControl: true },
  'other-users': { title: 'control: other users', rule: 'other-users', isControl: true },
  'other-rates': { title: 'control: cluster rates, other users', rule: 'other-users', of: 'rates', isControl: true },
  'other-both': { title: 'control: with cluster rates, other users', rule: 'other-users', of: 'both', isControl: true },
  'other-gain': {
    title: "control: less the server's rate, other users",
    rule: 'other-users',
    of: 'both',
    lessServer: true,
    isControl: true,
  },
} as const satisfies Record<string, Routing>;

interface Routing {
  title: string;
  rule?: RuleKind;
  of?: RuleParts;
  /** less the rate at which the server is right in the prompt's clusters, as the signals `advantage` and `gain` have it */
  lessServer?: true;
  isControl?: true;
}

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
  const routing: Routing = ROUTINGS[signal];
  return routing.rule !== undefined && routing.lessServer === undefined;
}

/**
 * Scores of the same answers by each way of routing, what two of them are made of computed once; folds are drawn with the bootstrap's seed.
 *
 * @returns larger where the device should answer, or null where the signal has none
 */
function scorer(of: UserAnswers, seed: number): (signal: RoutingSignal) => Float64Array | null {
  const known = new Map<string, Float64Array | null>();
  const once = (key: string, make: () => Float64Array | null) => {
    let scores = known.get(key);
    if (scores === undefined) {
      scores = make();
      known.set(key, scores);
    }
    return scores;
  };
  return (signal) => {
    const { rule, of: parts = 'signals', lessServer }: Routing = ROUTINGS[signal];
    if (rule === undefined) return routingScores(of.asked ?? of.answers, signal as PlainSignal, of.answers);
    const scores = once(`${rule} ${parts}`, () => heldOutScores(of, rule, seed, parts));
    if (lessServer === undefined || scores === null) return scores;
    const ofServer = once(`${rule} server`, () => heldOutServerRates(of, rule, seed));
    return ofServer && scores.map((right, i) => right - ofServer[i]!);
  };
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
    const answered = {
      answers: pairs.map(({ edge }) => edge),
      users: pairs.map(({ user }) => user),
      server: pairs.map(({ server }) => server.correct),
    };
    const changed = PERTURBATIONS.flatMap((kind) => {
      const asked = answered.answers.flatMap(({ perturbed }) => perturbed?.[kind] ?? []);
      if (asked.length < pairs.length) return [];
      const right = asked.flatMap(({ correct }) => correct ?? []);
      if (right.length === asked.length) {
        const accuracy = weightedMean(right, draws, all);
        section.changed.push({ ...onDevice, kind, accuracy });
      }
      return [[kind, scorer({ ...answered, asked }, options.seed)] as const];
    });
    const raw = rawProbabilities(answered.answers.map(({ confidence }) => confidence));
    const probabilities = [{ name: 'raw', title: 'confidence as it is', values: raw }];
    const scoresBy = scorer(answered, options.seed);
    for (const signal of ROUTING_SIGNALS) {
      const scores = scoresBy(signal);
      if (isProbability(signal)) probabilities.push({ name: signal, title: signalTitle(signal), values: scores });
      if (scores !== null) {
        const items = outcomes.map(({ edge, server }, i) => ({ edge, server, score: scores[i]! }));
        const [curve, intervals] = [hybridCurve(items), hybridIntervals(items, draws)];
        const kinds = changed.flatMap(([kind, scoresOf]) => {
          const scoresOfKind = isControl(signal) ? null : scoresOf(signal);
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
