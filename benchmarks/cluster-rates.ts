/**
 * What the rates of clusters are worth to a router, beside today's rule of confidence and scope, on the answers of a bench run: part of
 * the gap between device and server that is recovered at three shares, by rules that were fitted on 100, 200 and 400 answers and on all.
 * First other queries of the users of these answers, cross-fitted. Then users of whom the rule has seen nothing: it is fitted on half of
 * the users and orders the queries of the other half, all by one rule, as a server would (a rule for each left-out user, as the report's
 * controls have, compares probabilities of different rules). Means over the run's seeds with their standard error, of each seed over draws.
 *
 *     npx tsx benchmarks/cluster-rates.ts results/routing [crayon|per-query]
 */

import { promptFolds, signalFeatures } from '../src/bench/report/held-out-rules.js';
import { readRun } from '../src/bench/report/read.js';
import { exampleId, runSeedOf, seedsOfRun } from '../src/bench/report/units.js';
import type { AnswerRecord } from '../src/bench/types.js';
import { createRandom } from '../src/core/random.js';
import { mean, standardError } from '../src/core/stats.js';
import { hybridCurve } from '../src/routing/calibrate/hybrid-curve.js';
import { type Answered, type Fit, ratesAlone, signalsAlone, signalsAndRates } from './routing-rules.js';

const SHARES = [0.1, 0.2, 0.4];
const COUNTS = [100, 200, 400, Number.POSITIVE_INFINITY];
const DRAWS = 20;

const [dir, edgeStrategy = 'per-query'] = process.argv.slice(2);
if (dir === undefined) throw new Error('expected the directory of a bench run');
const { cells } = readRun(dir);

interface Tested extends Answered {
  answers: AnswerRecord[];
}

/** The device's answers at a seed that the server has answered too. */
function answeredAt(seed: number): Tested {
  const ofSeed = cells.filter(({ cell }) => runSeedOf(cell) === seed && cell.method === 'loglikelihood');
  const found = ofSeed
    .filter(({ cell }) => cell.strategy === edgeStrategy)
    .flatMap(({ cell, answers }, user) => {
      const other = ofSeed.find((one) => one.cell.strategy === 'server' && one.cell.user.name === cell.user.name);
      const right = new Map(other?.answers.map((answer) => [exampleId(answer), answer.correct]));
      return answers.flatMap((answer) => {
        const server = right.get(exampleId(answer));
        return server === undefined || answer.clusters === undefined ? [] : [{ answer, user, server }];
      });
    });
  const answers = found.map(({ answer }) => answer);
  return {
    answers,
    users: found.map(({ user }) => user),
    labels: answers.map(({ correct }) => correct),
    server: found.map(({ server }) => server),
    gates: answers.map(({ clusters }) => clusters!),
    signals: signalFeatures(
      answers,
      answers.every(({ scope }) => scope !== undefined),
    )!,
  };
}

type Scoring = (others: readonly number[]) => (i: number) => number;

const RULES: Record<string, Fit> = {
  "today's rule": signalsAlone,
  'cluster rates': ratesAlone,
  both: signalsAndRates,
};

/** Scores of the `held` answers by a rule that was fitted on `count` of the others. */
function scored(scoring: Scoring, held: readonly boolean[], count: number, seed: number, scores: Float64Array): void {
  const others = [...held.keys()].filter((i) => !held[i]);
  const score = scoring(
    Number.isFinite(count) ? createRandom(seed, 'answers').shuffle(others).slice(0, count) : others,
  );
  for (const [i, isHeld] of held.entries()) if (isHeld) scores[i] = score(i);
}

/** Part of the gap that is recovered at each share, of the answers that are held: the rule's, and the oracle's. */
function recovered({ answers, server }: Tested, scores: Float64Array, held?: readonly boolean[]) {
  const items = answers
    .map(({ correct }, i) => ({ edge: correct, server: server[i]!, score: scores[i]! }))
    .filter((_, i) => held?.[i] ?? true);
  const { edge, server: far, points } = hybridCurve(items, SHARES);
  return {
    rule: points.map(({ routed }) => (routed - edge) / (far - edge)),
    oracle: points.map(({ oracle }) => (oracle - edge) / (far - edge)),
  };
}

const KINDS = {
  'users of the answers': (of: Tested, scoring: Scoring, count: number, draw: number) => {
    const scores = new Float64Array(of.answers.length);
    const folds = promptFolds(of, draw)!;
    for (const fold of new Set(folds))
      scored(
        scoring,
        folds.map((one) => one === fold),
        count,
        draw,
        scores,
      );
    return recovered(of, scores);
  },
  'users who are left out': (of: Tested, scoring: Scoring, count: number, draw: number) => {
    const scores = new Float64Array(of.answers.length);
    const users = createRandom(draw, 'users').shuffle([...new Set(of.users)]);
    const isLeftOut = new Set(users.slice(0, users.length >> 1));
    const held = of.users.map((user) => isLeftOut.has(user));
    scored(scoring, held, count, draw, scores);
    return recovered(of, scores, held);
  },
};

const data = seedsOfRun(cells).map(answeredAt);
const inWords = (rows: readonly number[][]) =>
  SHARES.map((_, s) => {
    const values = rows.map((row) => 100 * row[s]!);
    return values.length > 1
      ? `${mean(values).toFixed(0)} ± ${standardError(values).toFixed(1)}`
      : mean(values).toFixed(0);
  }).join(' | ');
const meanOf = (rows: readonly number[][]) => SHARES.map((_, s) => mean(rows.map((row) => row[s]!)));

const [{ answers, users }] = data as [Tested];
const accuracy = (of: (one: Tested) => number[]) => `${(100 * mean(data.map((one) => mean(of(one))))).toFixed(1)} %`;
const right = `device ${accuracy((one) => one.answers.map(({ correct }) => correct))}, server ${accuracy(({ server }) => server)}`;
console.log(
  `${edgeStrategy}, ${data.length} seeds, ${answers.length} answers of ${new Set(users).size} users each: ${right}`,
);
for (const [kind, judge] of Object.entries(KINDS)) {
  console.log(
    `\n| ${kind} | answers | ${SHARES.map((share) => `${100 * share} %`).join(' | ')} |\n|---|---|---|---|---|`,
  );
  let oracle: number[][] = [];
  const [first, last] = [new Map<number, number[][]>(), new Map<number, number[][]>()];
  for (const name of Object.keys(RULES)) {
    for (const count of COUNTS) {
      const found = data.map((of) => {
        const scoring = (others: readonly number[]) => RULES[name]!(of, others);
        const each = Array.from({ length: DRAWS }, (_, draw) => judge(of, scoring, count, draw));
        return { rule: meanOf(each.map(({ rule }) => rule)), oracle: meanOf(each.map((one) => one.oracle)) };
      });
      oracle = found.map((one) => one.oracle);
      const kept = name === 'both' ? last : name === 'cluster rates' ? undefined : first;
      kept?.set(
        count,
        found.map(({ rule }) => rule),
      );
      console.log(
        `| ${name} | ${Number.isFinite(count) ? count : 'all'} | ${inWords(found.map(({ rule }) => rule))} |`,
      );
    }
  }
  for (const count of COUNTS) {
    const gained = last.get(count)!.map((row, i) => row.map((x, s) => x - first.get(count)![i]![s]!));
    console.log(`| both less today's rule | ${Number.isFinite(count) ? count : 'all'} | ${inWords(gained)} |`);
  }
  console.log(`| random | | ${SHARES.map((share) => 100 * share).join(' | ')} |`);
  console.log(`| oracle | | ${inWords(oracle)} |`);
}
