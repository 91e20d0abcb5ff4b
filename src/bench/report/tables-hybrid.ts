/** The tables of hybrid inference: what each way of routing recovers, at one share and at all of them. */

import { groupBy, type Interval } from '../../core/stats.js';
import { METRICS, type RouterMetric, randomMetrics } from '../../routing/calibrate/router-metrics.js';
import { PERTURBATIONS } from '../perturb.js';
import { isCrayon, strategyTitle } from '../strategies/index.js';
import type { SplitRow } from './gap-split.js';
import { FOLDS } from './held-out-rules.js';
import {
  atHeadline,
  HEADLINE_SHARE,
  type HybridRow,
  type OnDevice,
  oracleRecovered,
  ROUTING_SIGNALS,
  type RoutingSignal,
  signalTitle,
} from './hybrid.js';
import type { ReliabilityRow } from './reliability.js';
import type { Report } from './report.js';
import { difference, figure, type ReportTable, table, text, when } from './table.js';
import * as words from './words.js';

/** Rows of one strategy on the device, judged by one method: they stand in one picture. */
export function hybridGroups({ hybrid }: Report): HybridRow[][] {
  return [...groupBy(hybrid?.rows ?? [], (row) => `${row.edgeStrategy}\n${row.method}`).values()];
}

/**
 * What each way of routing recovers at one share, Crayon's fixed blend and its per-query gate side by side: a table for each
 * method of scoring.
 */
export function hybridSummaryTables({ hybrid, methods, seeds }: Report): ReportTable[] {
  const crayons = (hybrid?.rows ?? []).filter((row) => isCrayon(row.edgeStrategy));
  return [...groupBy(crayons, (row) => row.method)].flatMap(([method, all], i) => {
    const signals = ROUTING_SIGNALS.filter((signal) => all.some((row) => row.signal === signal));
    const columns = [...groupBy(all, (row) => row.edgeStrategy).values()].flatMap((ofEdge) => {
      const point = (signal: RoutingSignal) => ofEdge.filter((row) => row.signal === signal).map(atHeadline)[0];
      const oracle = oracleRecovered(ofEdge[0]!.intervals, atHeadline(ofEdge[0]!));
      return [
        figure(`${ofEdge[0]!.title}: gap recovered`, (signal: RoutingSignal | 'oracle') => {
          if (signal === 'oracle') return percentOrDash(oracle);
          const at = point(signal);
          return at === undefined ? '-' : words.percentInterval(at.recovered);
        }),
        figure('over random', (signal: RoutingSignal | 'oracle') =>
          signal === 'oracle' ? '' : difference(point(signal)?.overRandom),
        ),
      ];
    });
    return table(
      {
        id: `at-share-${method}`,
        title: `Hybrid at ${words.percent(HEADLINE_SHARE)} server share${methods.length > 1 ? ` (${method})` : ''}`,
        notes: i > 0 ? [] : [basisOf(all, seeds), SUMMARY_NOTE, ...calibrationNotes(all)],
      },
      [...signals, 'oracle' as const],
      [text('routed by', (signal) => (signal === 'oracle' ? signal : signalTitle(signal))), ...columns],
    );
  });
}

/** How many queries the rows rest on. */
function basisOf(rows: readonly HybridRow[], { length }: readonly number[]): string {
  return `${words.basis(rows.map(({ users, curve: { examples } }) => ({ users, seeds: length, draws: 1, examples })))}.`;
}

const SUMMARY_NOTE = `${strategyTitle('crayon')} is the fixed blend; ${strategyTitle('per-query')} mixes anew for each query. The gap is server less device, and random routing recovers ${words.percent(HEADLINE_SHARE)} of it; over random in points, paired by example.`;

/** What the calibrated rows mean and what they do not; nothing where there are none. */
function calibrationNotes(rows: readonly HybridRow[]): string[] {
  const notes = {
    calibrated: `Calibrated: the probability that the device's answer is right, by one logistic rule of confidence and scope for all users; each example is scored by a rule that was fitted on the other ${FOLDS - 1} of ${FOLDS} folds, and the intervals do not fit it again. It has seen other examples of the same users.`,
    rates:
      "Cluster rates: how often the device is right in the prompt's clusters of the pool, counted on the other folds; one number for each cluster and one for strays, and nothing of the answer. With cluster rates: that number is one more part of the calibrated rule.",
    gain: "Rates of both parties: the device's less the server's in the prompt's clusters, counted on the other folds; less the server's rate: the calibrated probability, with cluster rates, less that rate. Both send what the server is likelier to be right about, as calibrate's signals advantage and gain do.",
    'other-rates': 'The controls of “other users” are counted and fitted without the user whose queries they route.',
    'calibrated-user':
      'Calibrated per user has an intercept for each user as well: it needs labelled, held-out examples of that user. Two controls: “user alone” has only these intercepts and no signal of the query; “other users” is the one rule, fitted without the user whose queries it routes.',
  };
  return Object.entries(notes).flatMap(([signal, note]) => (rows.some((row) => row.signal === signal) ? [note] : []));
}

/** For each strategy on the device: the metrics of each way of routing, accuracy at shares, what routing adds to chance, where the gap lies. */
export function hybridTables(report: Report): ReportTable[][] {
  return hybridGroups(report).map((rows, i) => [
    ...metricsTable(report, rows),
    ...shareTables(report, rows, i === 0 ? report.hybrid!.remarks : []),
    ...splitTable(report, rows),
    ...reliabilityTable(report, rows),
    ...robustnessTable(report, rows),
  ]);
}

/** What the section has for the same strategy and method. */
const sameAs =
  ([row]: readonly HybridRow[]) =>
  (one: OnDevice) =>
    one.edgeStrategy === row!.edgeStrategy && one.method === row!.method;

export function reliabilityOf({ hybrid }: Report, rows: readonly HybridRow[]): ReliabilityRow[] {
  return hybrid!.reliability.find(sameAs(rows))!.rows;
}

const nameOf = ({ methods }: Report, [row]: readonly HybridRow[]) => words.withMethod(row!, methods);
const idOf = ([row]: readonly HybridRow[]) => `${row!.edgeStrategy}-${row!.method}`;

const METRIC_HEADS: Readonly<Record<RouterMetric, string>> = {
  apgr: 'APGR',
  cpt50: 'CPT(50)',
  cpt80: 'CPT(80)',
  qnc: 'QNC',
  perfGain: 'PerfGain',
  costSave: 'CostSave',
};

/** What is known without an interval, as of the oracle, is a number alone. */
function metricText(name: RouterMetric, value: number | Interval): string {
  const isKnown = typeof value === 'number';
  if (name === 'apgr') return isKnown ? words.decimal(value, 2) : words.ratioInterval(value);
  if (name === 'perfGain') return isKnown ? words.signedPercent(value) : words.signedPercentInterval(value);
  if (name === 'costSave') return percentOrDash(isKnown ? value : value.estimate); // as wide as that of QNC, mirrored
  return isKnown ? percentOrDash(value) : words.percentInterval(value);
}

const METRIC_NOTES = [
  'The gap is server less device. APGR, the average performance gap recovered, is the mean over all shares of the part of the gap that routing recovers: 0.5 is what random routing has. CPT(50) and CPT(80), the call-performance thresholds, are the least shares of queries to the server that recover 50 and 80 % of it (RouteLLM, arXiv 2406.18665).',
  'QNC, the quality-neutral cost, is the least cost at which routing is as accurate as the better of the two alone, as a part of what that one costs (UniRoute, arXiv 2502.08773). PerfGain is how much more accurate than the better one routing is at its best, as a part of that accuracy; CostSave what it saves where it is as accurate (LLMRouterBench, arXiv 2601.07206).',
  'A query to the server costs 1 and one on the device nothing, so CostSave is 100 % less QNC. All of these are read off the curve in hindsight, and PerfGain is a maximum over it, so it is never below 0: a threshold that was set on other examples meets them only nearly. QNC hangs on the last wrong answer that is found, which a good third of the bootstrap draws lack, so its interval leans to the cheap side.',
];

function metricsTable(report: Report, rows: readonly HybridRow[]): ReportTable[] {
  const { curve } = rows[0]!;
  const random = randomMetrics(curve.edge, curve.server);
  const lines = [
    { title: 'random', at: (name: RouterMetric) => random[name] },
    ...rows.map((row) => ({ title: signalTitle(row.signal), at: (name: RouterMetric) => row.intervals[name] })),
    { title: 'oracle', at: (name: RouterMetric) => curve.ceiling[name] },
  ];
  const notes = [
    aloneOf(report, rows),
    ...when(!(curve.server > curve.edge), NO_GAP),
    ...METRIC_NOTES,
    intervalsOver(report),
  ];
  const title = `Hybrid, ${nameOf(report, rows)} on the device: the metrics of each way of routing`;
  return table({ id: `metrics-${idOf(rows)}`, title, notes }, lines, [
    text('routed by', (line) => line.title),
    ...METRICS.map((name) =>
      figure(METRIC_HEADS[name], ({ at }: (typeof lines)[number]) => metricText(name, at(name))),
    ),
  ]);
}

const NO_GAP = 'There is no gap to recover.';

/** What the two have alone, and how many queries that rests on. */
function aloneOf(report: Report, rows: readonly HybridRow[]): string {
  const { curve, intervals, users } = rows[0]!;
  return `${nameOf(report, rows)} alone has ${words.interval(intervals.edge)}, the server ${words.interval(intervals.server)}, on ${words.plural(curve.examples, 'example')} of ${words.plural(users, 'user')} at ${words.plural(report.seeds.length, 'seed')}.`;
}

/** What the intervals of the hybrid are over. */
function intervalsOver({ seeds }: Report): string {
  const over = words.bootstrapOver([{ seeds: seeds.length, draws: 1 }]);
  return `95 % intervals by ${over}, paired by example; every query counts alike, and one threshold serves all users.`;
}

function shareTables(report: Report, rows: readonly HybridRow[], remarks: readonly string[]): ReportTable[] {
  const { curve, intervals } = rows[0]!;
  const { shares } = intervals;
  type Line = { title: string; at: (i: number) => ReturnType<typeof difference> };
  const columns = [
    text('routed by', ({ title }: Line) => title),
    ...shares.map(({ share }, s) => figure(`${words.percent(share)} server`, ({ at }: Line) => at(s))),
  ];
  const line = (title: string, at: Line['at']): Line => ({ title, at });
  const accuracy = table(
    {
      id: `hybrid-${idOf(rows)}`,
      title: `Hybrid, ${nameOf(report, rows)} on the device: accuracy against server share`,
      notes: [
        aloneOf(report, rows),
        ...when(curve.apgr === null, NO_GAP),
        `Points of accuracy; ${intervalsOver(report)} What beats random routing stands out. The shares are exact: a threshold that was set on other examples meets its share only nearly.`,
        ...calibrationNotes(rows),
        ...remarks,
      ],
    },
    [
      line('random', (s) => words.interval(shares[s]!.random)),
      ...rows.map(({ signal, intervals: { shares: at } }) =>
        line(signalTitle(signal), (s) => {
          const { routed, overRandom } = at[s]!;
          return { text: words.interval(routed), clear: overRandom.low > 0 };
        }),
      ),
      line('oracle', (s) => words.interval(shares[s]!.oracle)),
    ],
    columns,
  );
  const recovered = table(
    {
      id: `recovered-${idOf(rows)}`,
      title: `Hybrid, ${nameOf(report, rows)} on the device: over random routing, and part of the gap recovered`,
      notes: [
        'Points over random routing, paired by example; the gap is server less device. No router recovers more than the oracle: “of the oracle” is the part of what that one gains at the same share.',
      ],
    },
    [
      ...rows.flatMap(({ signal, intervals: { shares: at } }) => [
        line(`${signalTitle(signal)}: over random`, (s) => difference(at[s]!.overRandom)),
        line(`${signalTitle(signal)}: gap recovered`, (s) => words.percentInterval(at[s]!.recovered)),
        line(`${signalTitle(signal)}: of the oracle`, (s) => words.percentInterval(at[s]!.ofOracle)),
      ]),
      line('oracle: gap recovered', (s) => percentOrDash(oracleRecovered(intervals, shares[s]!))),
    ],
    columns,
  );
  return [...accuracy, ...recovered];
}

function splitTable(report: Report, rows: readonly HybridRow[]): ReportTable[] {
  const split = report.hybrid!.splits.find(sameAs(rows))!;
  const title = `Hybrid, ${nameOf(report, rows)} on the device: where the gap lies`;
  const notes = [
    'Parts of the queries, in per cent: right on the device, only the server right, and neither, which add up to 100. Only the middle one is for a router to gain, and “only the device right”, a part of the first, is what it loses by sending: so the best of both is what no router exceeds.',
    intervalsOver(report),
  ];
  const isAll = (row: SplitRow) => row.user === null;
  return table({ id: `split-${idOf(rows)}`, title, notes, isStrong: isAll }, split.rows, [
    text('user', ({ user }) => user ?? 'all users'),
    figure('examples', ({ examples }) => words.count(examples)),
    figure('right on the device', ({ device }) => words.interval(device)),
    figure('only the server right', ({ onlyServer }) => words.interval(onlyServer)),
    figure('neither right', ({ neither }) => words.interval(neither)),
    figure('only the device right', ({ onlyDevice }) => words.interval(onlyDevice)),
    figure('best of both', ({ neither }) => words.points(1 - neither.estimate)),
  ]);
}

function reliabilityTable(report: Report, rows: readonly HybridRow[]): ReportTable[] {
  const all = reliabilityOf(report, rows);
  const title = `Hybrid, ${nameOf(report, rows)} on the device: whether the probabilities can be believed`;
  return table({ id: `reliability-${idOf(rows)}`, title, notes: [RELIABILITY_NOTE] }, all, [
    text('probability of a right answer', (row) => row.title),
    figure('answers', (row) => words.count(row.answers)),
    figure('bins', (row) => String(row.bins.length)),
    figure('ECE', (row) => words.fineInterval(row.ece)),
    figure('if they were right', (row) => words.decimal(row.eceOfPerfect)),
    figure('Brier score', (row) => words.decimal(row.brier)),
    figure('log loss', (row) => words.decimal(row.logLoss)),
  ]);
}

/** What the diagrams and their table show. */
const RELIABILITY_NOTE =
  'Answers in the order of their predicted probability are cut into bins of equal numbers. ECE, the expected calibration error, is the mean distance between what a bin predicts and its share of right answers (arXiv 1706.04599, equal mass); even probabilities that are right have one above 0 on so few answers: “if they were right” says how large. Each answer has the probability of a rule that was fitted without it; confidence as it is, exp of the mean log-probability, was fitted on nothing. The isotonic map keeps the order of the calibrated rule, and so its curve. 95 % intervals by bootstrap over answers, not over seeds.';

function robustnessTable(report: Report, rows: readonly HybridRow[]): ReportTable[] {
  const asked = rows.filter(({ robustness }) => Object.keys(robustness).length > 0);
  const share = words.percent(HEADLINE_SHARE);
  const title = `Hybrid, ${nameOf(report, rows)} on the device: decisions that typos and rewording leave unchanged`;
  const notes = [
    `Share of the queries whose decision stays the same when the prompt is changed and the cut is not: that which sends ${share} of the prompts as they are. Beside it the share of the changed ones that it sends.`,
    'Changed by rules from a seed: typos are slips of the keyboard in some words, rewording is an opening sentence and one change of style (lower case, contractions, punctuation), which is less than a paraphrase. Routing at random at that share would leave 68 % unchanged.',
    ...report
      .hybrid!.changed.filter(sameAs(rows))
      .map(({ kind, accuracy }) => `With ${kind} the device alone has ${words.interval(accuracy)}.`),
    intervalsOver(report),
  ];
  return table({ id: `robustness-${idOf(rows)}`, title, notes }, asked, [
    text('routed by', ({ signal }) => signalTitle(signal)),
    ...PERTURBATIONS.flatMap((kind) => [
      figure(`${kind}: unchanged`, ({ robustness }: HybridRow) => atCut(robustness[kind]?.unchanged)),
      figure('to the server', ({ robustness }: HybridRow) => atCut(robustness[kind]?.sent)),
    ]),
  ]);
}

const atCut = (share: Interval | undefined) => (share === undefined ? '-' : words.percentInterval(share));

function percentOrDash(part: number): string {
  return Number.isFinite(part) ? `${words.wholePercent(part)} %` : '-';
}
