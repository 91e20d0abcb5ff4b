/**
 * Who should answer, on what `crayon calibrate` has recorded of real users: accuracy at three shares of the server's by today's rule, of
 * confidence and scope, by the rates of the pool's clusters, by both, at random, and by an oracle; and what part of the oracle's gain
 * each has. First users of whom the rule has seen other questions (cross-fitted), then users of whom it has seen nothing: it is fitted on
 * half of them and orders the other half's questions, in several draws of the halves; with a row for a rule that is shifted by some
 * answers of each such user, set aside for all rows. ECE beside what it would be of probabilities that are right.
 *
 * A user is a data set of the records, and a file of them is a draw of examples and tests. Intervals are over questions, drawn
 * within each user, and over files.
 *
 *     npx tsx benchmarks/routing-real.ts draw-0.records.jsonl draw-1.records.jsonl ...
 */

import { readFileSync } from 'node:fs';
import { promptFolds, signalFeatures } from '../src/bench/report/hybrid.js';
import { fitIsotonic, mapped } from '../src/core/isotonic.js';
import { nestedWeights } from '../src/core/nested-mean.js';
import { createRandom } from '../src/core/random.js';
import { type Interval, mean, percentileInterval } from '../src/core/stats.js';
import { hybridCurve } from '../src/routing/calibrate/hybrid-curve.js';
import { reliability } from '../src/routing/calibrate/reliability.js';
import { shiftOf } from '../src/routing/calibrate/shift.js';
import { shifted } from '../src/routing/signals/correctness.js';
import { type Answered, type Fit, ratesAlone, signalsAlone, signalsAndRates } from './routing-rules.js';

const SHARES = [0.1, 0.2, 0.4];
const GOALS = { ofOracle: 0.85, ece: 0.05 };
const SPLITS = 20;
const MOST_SET_ASIDE = 10;
const OPTIONS = { seed: 0, resamples: 500 };

const files = process.argv.slice(2);
if (files.length === 0) throw new Error('expected records of crayon calibrate');

interface Asked {
  id: string;
  user: string;
  seed: number;
  record: { confidence: number; scope: number | null; clusters: number[]; edgeCorrect: number; serverCorrect: number };
}

const asked = files.flatMap((path, seed): Asked[] => {
  const [, ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n'); // the first says what was asked
  return lines
    .map((line) => JSON.parse(line))
    .filter(({ confidence }) => typeof confidence === 'number') // an answer without a token has none
    .map((record) => {
      // <place among the examples>:<data set>:<place in it>
      const id = record.id.slice(record.id.indexOf(':') + 1);
      return { id, user: id.slice(0, id.lastIndexOf(':')), seed, record };
    });
});
const names = [...new Set(asked.map(({ user }) => user))];
const hasScope = asked.every(({ record }) => record.scope !== null);
const of: Answered = {
  users: asked.map(({ user }) => names.indexOf(user)),
  labels: asked.map(({ record }) => record.edgeCorrect),
  server: asked.map(({ record }) => record.serverCorrect),
  gates: asked.map(({ record }) => record.clusters),
  signals: signalFeatures(
    asked.map(({ record }) => ({ ...record, scope: record.scope ?? undefined })),
    hasScope,
  )!,
};
const all = [...asked.keys()];
const draws = nestedWeights(
  asked.map(({ id, seed }, i) => ({ unit: of.users[i]!, seed, example: id })),
  OPTIONS,
);

/** Of each user who is left out: what is left has to judge. */
const setAside = Math.min(
  MOST_SET_ASIDE,
  ...names.map((_, user) => all.filter((i) => of.users[i] === user).length >> 1),
);

/** Probabilities of some answers by a rule that has not seen them. */
interface Scored {
  at: number[];
  probabilities: number[];
}

/** Read off an isotonic map of what the rule says of the answers that it is fitted on. */
const isotonic =
  (fitting: Fit): Fit =>
  (answered, others) => {
    const rule = fitting(answered, others);
    const map = fitIsotonic(
      others.map(rule),
      others.map((i) => answered.labels[i]!),
    );
    return (i) => mapped(map, rule(i));
  };

/** Every answer, by a rule that was fitted on answers to other questions of all users. */
function covered(fitting: Fit): Scored[] {
  const folds = promptFolds({ answers: asked.map(({ id }) => ({ promptHash: id })), users: of.users }, OPTIONS.seed);
  if (folds === null) throw new Error('fewer questions than folds');
  const probabilities = new Array<number>(asked.length);
  for (const fold of new Set(folds)) {
    const rule = fitting(
      of,
      all.filter((i) => folds[i] !== fold),
    );
    for (const i of all) if (folds[i] === fold) probabilities[i] = rule(i);
  }
  return [{ at: all, probabilities }];
}

/** The answers of half of the users at a time, less those set aside, by a rule of the other half's, shifted by `shown` of these. */
function leftOut(fitting: Fit, shown: number): Scored[] {
  return Array.from({ length: SPLITS }, (_, split): Scored => {
    const users = createRandom(split, 'users').shuffle([...names.keys()]);
    const out = users.slice(0, users.length >> 1);
    const rule = fitting(
      of,
      all.filter((i) => !out.includes(of.users[i]!)),
    );
    const scored: Scored = { at: [], probabilities: [] };
    for (const user of out) {
      const own = all.filter((i) => of.users[i] === user);
      const order = createRandom(split, `answers ${user}`).shuffle(own);
      const seen = order.slice(0, shown);
      const shift = shiftOf(
        seen.map(rule),
        seen.map((i) => of.labels[i]!),
      );
      for (const i of order.slice(setAside)) {
        scored.at.push(i);
        scored.probabilities.push(shifted(rule(i), shift));
      }
    }
    return scored;
  });
}

type Quality = 'accuracy' | 'ofOracle' | 'random' | 'oracle';

/** Means over the parts; each answer counts as often as it is drawn. */
function statistics(parts: readonly Scored[], weights: ArrayLike<number>): Array<Record<Quality, number>> {
  const curves = parts.map(({ at, probabilities }) => {
    const items = at.flatMap((i, j) =>
      Array.from({ length: weights[i]! }, () => ({
        edge: of.labels[i]!,
        server: of.server[i]!,
        score: probabilities[j]!,
      })),
    );
    return hybridCurve(items, SHARES);
  });
  return SHARES.map((_, s) => {
    const over = (
      value: (curve: (typeof curves)[number], point: (typeof curves)[number]['points'][number]) => number,
    ) => mean(curves.map((curve) => value(curve, curve.points[s]!)));
    const [edge, accuracy, oracle] = [
      over((curve) => curve.edge),
      over((_curve, { routed }) => routed),
      over((_curve, point) => point.oracle),
    ];
    const random = over((_curve, point) => point.random.estimate);
    // of the means: a part in which the server never helps has no ratio of its own
    return { accuracy, ofOracle: (accuracy - edge) / (oracle - edge), random, oracle };
  });
}

const percent = (x: number) => (100 * x).toFixed(1);
const inWords = ({ estimate, low, high }: Interval) => `${percent(estimate)} [${percent(low)}, ${percent(high)}]`;

function print(title: string, rows: Record<string, Scored[]>): void {
  const columns = SHARES.flatMap((share) => [`${100 * share} %`, "of the oracle's gain"]);
  console.log(
    `\n| ${title} | ${columns.join(' | ')} | ECE (of right ones) |\n|---|${'---|'.repeat(columns.length + 1)}`,
  );
  const once = new Uint8Array(asked.length).fill(1);
  for (const [place, [name, parts]] of Object.entries(rows).entries()) {
    const estimates = statistics(parts, once);
    const resampled = draws.map((weights) => statistics(parts, weights));
    const interval = (quality: Quality, s: number) =>
      percentileInterval(
        estimates[s]![quality],
        Float64Array.from(resampled, (found) => found[s]![quality]),
      );
    const cells = (quality: Quality) => SHARES.map((_, s) => `${inWords(interval(quality, s))} | `).join('| ');
    if (place === 0) {
      console.log(`| random | ${cells('random')}| |`);
      console.log(`| oracle | ${cells('oracle')}| |`);
    }
    const judged = parts.map(({ at, probabilities }) =>
      reliability(
        probabilities,
        at.map((i) => of.labels[i]!),
        { seed: 0, resamples: 200 },
      ),
    );
    const ece = mean(judged.map((one) => one.ece.estimate));
    const right = mean(judged.map(({ eceOfPerfect }) => eceOfPerfect));
    const found = SHARES.map((_, s) => {
      const isMet = estimates[s]!.ofOracle >= GOALS.ofOracle;
      return `${inWords(interval('accuracy', s))} | ${inWords(interval('ofOracle', s))}${isMet ? ', met' : ''}`;
    });
    console.log(
      `| ${name} | ${found.join(' | ')} | ${ece.toFixed(3)} (${right.toFixed(3)})${ece <= GOALS.ece ? ', met' : ''} |`,
    );
  }
}

const [device, server] = [of.labels, of.server].map((right) => `${percent(mean(right))} %`);
console.log(
  `${asked.length} answers, ${files.length} draws, ${names.length} users: device ${device}, server ${server}\n`,
);
console.log('| user | answers | device | server |\n|---|---|---|---|');
for (const [user, name] of names.entries()) {
  const own = all.filter((i) => of.users[i] === user);
  const right = (labels: readonly number[]) => percent(mean(own.map((i) => labels[i]!)));
  console.log(`| ${name} | ${own.length} | ${right(of.labels)} | ${right(of.server)} |`);
}
const FITS: Record<string, Fit> = {
  "today's rule": signalsAlone,
  'cluster rates': ratesAlone,
  both: signalsAndRates,
  'both, through an isotonic map': isotonic(signalsAndRates),
};
print(
  'users of the answers',
  Object.fromEntries(Object.entries(FITS).map(([name, fitting]) => [name, covered(fitting)])),
);
print(
  'users who are left out',
  Object.fromEntries([
    ...Object.entries(FITS).map(([name, fitting]) => [name, leftOut(fitting, 0)] as const),
    ...Object.entries(FITS).map(([name, fitting]) => [
      `${name}, shifted by ${setAside} answers`,
      leftOut(fitting, setAside),
    ]),
  ]),
);
