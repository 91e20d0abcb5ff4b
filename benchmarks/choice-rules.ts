/**
 * Rules of choosing beside the one that `--choose` has, on the evidence that a bench run has kept: what each would have chosen, and the
 * accuracy of that on the tests. Candidates are those that the run has cells of for every user and seed.
 *
 *     npx tsx benchmarks/choice-rules.ts results/real-short
 */

import { choicesOf, type MadeChoice } from '../src/bench/report/choice.js';
import { type AnsweredCell, readRun } from '../src/bench/report/read.js';
import { accuracyOf, differenceOf, seriesOf, unitsOf } from '../src/bench/report/units.js';
import { interval, signedInterval } from '../src/bench/report/words.js';
import { CANDIDATES } from '../src/choose/candidates.js';
import { groupBy, mean, standardError } from '../src/core/stats.js';

interface Evidence {
  name: string;
  losses: number[];
  right: number[];
}
type Rule = (evidence: readonly Evidence[], others: readonly MadeChoice[]) => Evidence;

const least = (evidence: readonly Evidence[], of: (one: Evidence) => number): Evidence =>
  evidence.reduce((a, b) => (of(b) < of(a) ? b : a));
const loss = ({ losses }: Evidence) => mean(losses);
const wrong = ({ right }: Evidence) => 1 - mean(right);

/** The first, in this order, that is not worse than the best by more than so many standard errors. */
const firstTie =
  (errors: number, order: (evidence: readonly Evidence[]) => readonly Evidence[] = (all) => all): Rule =>
  (evidence) => {
    const best = least(evidence, loss);
    return order(evidence).find((one) => {
      const gaps = one.losses.map((x, i) => x - best.losses[i]!);
      return mean(gaps) <= errors * standardError(gaps);
    })!;
  };
const beginningWith =
  (...names: string[]) =>
  (all: readonly Evidence[]) => {
    const first = names.flatMap((name) => all.filter((one) => one.name === name));
    return [...first, ...all.filter((one) => !first.includes(one))];
  };
const always =
  (name: string): Rule =>
  (evidence) =>
    evidence.find((one) => one.name === name) ?? evidence[0]!;

const RULES: Record<string, Rule> = {
  'first within 1 standard error, in the order of preference (today)': firstTie(1),
  'in the order of simplicity': firstTie(1, beginningWith('base', 'nearest', 'similarity', 'uniform', 'mean-gate')),
  'within 0.5': firstTie(0.5),
  'least loss': firstTie(0),
  'most right, then least loss': (evidence) => least(evidence, (one) => wrong(one) + 1e-6 * loss(one)),
  'mean-gate unless another is better by more than 1': firstTie(1, beginningWith('mean-gate')),
  'per query unless another is better by more than 1': firstTie(1, beginningWith('per-query')),
  'per query, then mean-gate, similarity, uniform': firstTie(
    1,
    beginningWith('per-query', 'mean-gate', 'similarity', 'uniform'),
  ),
  'least of loss and its mean over the other users, in equal parts': (evidence, others) =>
    least(
      evidence,
      (one) =>
        loss(one) -
        loss(evidence[0]!) +
        mean(
          others.map((other) => {
            const all = evidenceOf(other);
            return loss(all.find(({ name }) => name === one.name)!) - loss(all[0]!);
          }),
        ),
    ),
  'always by similarity': always('similarity'),
  'always mean-gate': always('mean-gate'),
  'always per query': always('per-query'),
};

/** In the order of preference. */
function evidenceOf({ chosen, candidates }: MadeChoice): Evidence[] {
  const found = new Map(chosen.cell.evidence!.map(({ candidate, ...of }) => [candidate, { name: candidate, ...of }]));
  return CANDIDATES.flatMap(({ name }) => (candidates.has(name) ? (found.get(name) ?? []) : []));
}

const [dir] = process.argv.slice(2);
if (dir === undefined) throw new Error('expected the directory of a bench run');
const run = readRun(dir);
const units = unitsOf(run.cells);
const options = { resamples: 2000, seed: 0 };
const choices = choicesOf(run.cells, run.manifest.pool!).filter(({ chosen }) => chosen.cell.evidence !== undefined);
const series = (cells: readonly AnsweredCell[]) => seriesOf([...new Set(cells)])[0]!;
const lora = run.cells.filter(({ cell }) => cell.strategy === 'one-lora-total');
const counted = evidenceOf(choices[0]!).map(({ name }) => name);
console.log(`${choices.length} choices among ${counted.join(', ')}`);
for (const [name, rule] of Object.entries(RULES)) {
  const picked = choices.map((choice) => {
    const others = choices.filter((other) => other.chosen.cell.user.name !== choice.chosen.cell.user.name);
    return { choice, name: rule(evidenceOf(choice), others).name };
  });
  const cells = series(picked.map((one) => one.choice.candidates.get(one.name)!));
  const best = mean(
    picked.map(({ choice, name: of }) => {
      const all = counted.map((one) => choice.candidates.get(one)!.cell.accuracy);
      return Math.max(...all) - choice.candidates.get(of)!.cell.accuracy;
    }),
  );
  const beyond =
    lora.length === 0
      ? ''
      : `; to one LoRA of equal parameters ${signedInterval(differenceOf(cells, series(lora), units, options)!)}`;
  const spread = [...groupBy(picked, (one) => one.name)].map(([of, all]) => `${of} ${all.length}`);
  console.log(
    `${name}: ${interval(accuracyOf(cells, units, options)!)}${beyond}; below the best in hindsight by ${(100 * best).toFixed(1)}; ${spread.join(', ')}`,
  );
}
