/**
 * Users of whom the calibration has seen nothing: may the probability of a right answer be believed, and how much of the gap does it
 * recover? On the answers of a bench run, half of whose users are left out, in several draws: rules fitted on the other half score
 * their queries as they are, through an isotonic map of what the rule said of the users that it was fitted on (`in sample`), through
 * maps and a temperature that were fitted on users who were left out in turn (`by user`), and shifted by a few labelled answers of
 * the new user (`shiftOf`). The expected calibration error beside what it would be if the probabilities were right. Means over the
 * run's seeds with their standard error.
 *
 *     npx tsx benchmarks/unseen-users.ts results/routing [crayon|per-query] [draws]
 */

import { signalFeatures } from '../src/bench/report/held-out-rules.js';
import { readRun } from '../src/bench/report/read.js';
import { exampleId, runSeedOf, seedsOfRun } from '../src/bench/report/units.js';
import { fitIsotonic, mapped } from '../src/core/isotonic.js';
import { createRandom } from '../src/core/random.js';
import { mean, standardError } from '../src/core/stats.js';
import { hybridCurve } from '../src/routing/calibrate/hybrid-curve.js';
import { equalMassBins, logLossOf, RELIABILITY_BINS } from '../src/routing/calibrate/reliability.js';
import { shiftOf } from '../src/routing/calibrate/shift.js';
import { shifted } from '../src/routing/signals/shifted.js';
import { type Answered, type Fit, overall, ratesAlone, signalsAlone, signalsAndRates } from './routing-rules.js';

const SHARES = [0.1, 0.2, 0.4];
/** Answers of a new user that are set aside for the shift, and how many of them it sees. */
const SET_ASIDE = 20;
const SEEN = [0, 3, 5, 10, 20];

const [dir, edgeStrategy = 'per-query', draws = '10'] = process.argv.slice(2);
if (dir === undefined) throw new Error('expected the directory of a bench run');
const { cells } = readRun(dir);

function answeredAt(seed: number): Answered {
  const ofSeed = cells.filter(({ cell }) => runSeedOf(cell) === seed && cell.method === 'loglikelihood');
  const all = ofSeed
    .filter(({ cell }) => cell.strategy === edgeStrategy)
    .flatMap(({ cell, answers }, user) => {
      const other = ofSeed.find((one) => one.cell.strategy === 'server' && one.cell.user.name === cell.user.name);
      const right = new Map(other?.answers.map((answer) => [exampleId(answer), answer.correct]));
      return answers.map((answer) => ({ answer, user, server: right.get(exampleId(answer)) ?? 1 }));
    });
  return {
    users: all.map(({ user }) => user),
    labels: all.map(({ answer }) => answer.correct),
    server: all.map(({ server }) => server),
    gates: all.map(({ answer }) => answer.clusters!),
    signals: signalFeatures(
      all.map(({ answer }) => answer),
      true,
    )!,
  };
}

/** What a rule says of the answers that it is fitted on, and what it says of each user when fitted on the others. */
const inSample = (fitting: Fit, of: Answered, others: readonly number[]) => others.map(fitting(of, others));
function byUser(fitting: Fit, of: Answered, others: readonly number[]): number[] {
  const said = new Map<number, number>();
  for (const user of new Set(others.map((i) => of.users[i]!))) {
    const rule = fitting(
      of,
      others.filter((i) => of.users[i] !== user),
    );
    for (const i of others) if (of.users[i] === user) said.set(i, rule(i));
  }
  return others.map((i) => said.get(i)!);
}

const isotonic =
  (fitting: Fit, saying: typeof byUser): Fit =>
  (of, others) => {
    const rule = fitting(of, others);
    const map = fitIsotonic(
      saying(fitting, of, others),
      others.map((i) => of.labels[i]!),
    );
    return (i) => mapped(map, rule(i));
  };

const logit = (p: number) => Math.log(Math.max(p, 1e-6) / Math.max(1 - p, 1e-6));
const scaled = (p: number, by: number) => 1 / (1 + Math.exp(-by * logit(p)));
const TEMPERATURES = Array.from({ length: 36 }, (_, k) => 0.1 * 1.1 ** k);
const temperature =
  (fitting: Fit): Fit =>
  (of, others) => {
    const rule = fitting(of, others);
    const said = byUser(fitting, of, others);
    const losses = TEMPERATURES.map((by) => mean(said.map((p, j) => logLossOf(scaled(p, by), of.labels[others[j]!]!))));
    const best = TEMPERATURES[losses.indexOf(Math.min(...losses))]!;
    return (i) => scaled(rule(i), best);
  };

const FITS: Record<string, Fit> = {
  'control: no signal': overall,
  "today's rule": signalsAlone,
  '  isotonic, in sample': isotonic(signalsAlone, inSample),
  '  isotonic, by user': isotonic(signalsAlone, byUser),
  '  temperature, by user': temperature(signalsAlone),
  'cluster rates': ratesAlone,
  both: signalsAndRates,
  '  both, isotonic, in sample': isotonic(signalsAndRates, inSample),
  '  both, temperature, by user': temperature(signalsAndRates),
};

/** ECE, what it would be of right probabilities, log loss, and the part of the gap at each share. */
function judged(probabilities: readonly number[], labels: readonly number[], server: readonly number[]): number[] {
  const binOf = equalMassBins(probabilities, RELIABILITY_BINS);
  const gaps: number[] = [];
  const variances: number[] = [];
  for (const [i, p] of probabilities.entries()) {
    gaps[binOf[i]!] = (gaps[binOf[i]!] ?? 0) + p - labels[i]!;
    variances[binOf[i]!] = (variances[binOf[i]!] ?? 0) + p * (1 - p);
  }
  const n = labels.length;
  const {
    edge,
    server: far,
    points,
  } = hybridCurve(
    probabilities.map((score, i) => ({ score, edge: labels[i]!, server: server[i]! })),
    SHARES,
  );
  return [
    gaps.reduce((sum, gap) => sum + Math.abs(gap), 0) / n,
    variances.reduce((sum, v) => sum + Math.sqrt((2 * v) / Math.PI), 0) / n,
    mean(probabilities.map((p, i) => logLossOf(p, labels[i]!))),
    ...points.map(({ routed }) => (routed - edge) / (far - edge)),
    ...points.map(({ oracle }) => (oracle - edge) / (far - edge)),
  ];
}

/** Of each number of answers seen, the means over draws of the users that are left out. */
function leftOut(of: Answered, fitting: Fit): number[][] {
  const all = [...of.users.keys()];
  const found = SEEN.map((): number[][] => []);
  for (let draw = 0; draw < Number(draws); draw++) {
    const users = createRandom(draw, 'users').shuffle([...new Set(of.users)]);
    const out = new Set(users.slice(0, users.length >> 1));
    const rule = fitting(
      of,
      all.filter((i) => !out.has(of.users[i]!)),
    );
    const ofUsers = [...out].map((user) =>
      createRandom(draw, `answers ${user}`).shuffle(all.filter((i) => of.users[i] === user)),
    );
    for (const [k, seen] of SEEN.entries()) {
      const tested = ofUsers.flatMap((answers) => {
        const shown = answers.slice(0, seen);
        const shift = shiftOf(
          shown.map(rule),
          shown.map((i) => of.labels[i]!),
        );
        return answers.slice(SET_ASIDE).map((i) => ({ i, p: shifted(rule(i), shift) }));
      });
      const at = (values: readonly number[]) => tested.map(({ i }) => values[i]!);
      found[k]!.push(
        judged(
          tested.map(({ p }) => p),
          at(of.labels),
          at(of.server),
        ),
      );
    }
  }
  return found.map((rows) => rows[0]!.map((_, c) => mean(rows.map((row) => row[c]!))));
}

const data = seedsOfRun(cells).map(answeredAt);
console.log(
  `${edgeStrategy}, ${data.length} seeds, ${new Set(data[0]!.users).size} users, half of them left out, ${draws} draws\n`,
);
console.log(
  `| rule | its answers seen | ECE | if right | log loss | recovered at ${SHARES.map((s) => `${100 * s} %`).join(' | ')} |`,
);
console.log(`|---|---|---|---|---|${SHARES.map(() => '---').join('|')}|`);
let oracle: number[][] = [];
for (const [name, fitting] of Object.entries(FITS)) {
  const found = data.map((of) => leftOut(of, fitting));
  for (const [k, seen] of SEEN.entries()) {
    const column = (c: number) => found.map((rows) => rows[k]![c]!);
    const shown = (c: number, digits: number, times = 1) =>
      `${(times * mean(column(c))).toFixed(digits)} ± ${(times * standardError(column(c))).toFixed(digits)}`;
    const recovered = SHARES.map((_, s) => shown(3 + s, 1, 100));
    console.log(`| ${name} | ${seen} | ${shown(0, 3)} | ${shown(1, 3)} | ${shown(2, 3)} | ${recovered.join(' | ')} |`);
    oracle = SHARES.map((_, s) => column(3 + SHARES.length + s));
  }
}
console.log(`| oracle | | | | | ${oracle.map((values) => (100 * mean(values)).toFixed(1)).join(' | ')} |`);
