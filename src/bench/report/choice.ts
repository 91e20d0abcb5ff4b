/**
 * How good the choices were that users' examples made: beside each user's `chosen` cell stand the cells of the candidates it chose
 * among, as far as the run has them, answered on the same test examples.
 */

import { BARE_MODEL } from '../../blend/choice-record.js';
import { CANDIDATES, type Candidate } from '../../choose/candidates.js';
import { type BootstrapOptions, groupBy, mean, standardError } from '../../core/stats.js';
import type { PoolManifest } from '../../pool/pool.js';
import { STANDARD_TAU } from '../../pool/standards.js';
import type { Cell } from '../types.js';
import type { AnsweredCell } from './read.js';
import { accuracyOf, differenceOf, type Estimate, exampleId, runSeedOf, seriesOf, type Unit, unitId } from './units.js';

/** The strategy, with its option, whose cells answer as a candidate does; a name that no strategy has where there is none. */
function cellOf({ name, ...candidate }: Candidate, pool: PoolFacts): Pick<Cell, 'strategy' | 'options'> {
  if (name === BARE_MODEL) return { strategy: name, options: {} };
  if (candidate.kind === 'per-query')
    return { strategy: 'per-query', options: name === 'per-query' ? {} : { top_k: 1 } };
  const { estimator, topK, tau, standardise } = candidate.rule(pool as PoolManifest);
  const strategy = estimator === 'similarity' ? 'crayon' : estimator;
  if (topK !== undefined) return { strategy, options: { top_k: topK } };
  if (tau !== undefined) return { strategy, options: { blend_tau: tau } };
  return { strategy, options: standardise === true ? { standard_tau: STANDARD_TAU } : {} };
}

type PoolFacts = Pick<PoolManifest, 'N' | 'tau'>;

/** One choice, and what it could have been. */
export interface MadeChoice {
  chosen: AnsweredCell;
  /** by name; those that the run has cells of */
  candidates: ReadonlyMap<string, AnsweredCell>;
}

/** Every choice of a run, with the candidates that it has cells of. */
export function choicesOf(cells: readonly AnsweredCell[], pool: PoolFacts): MadeChoice[] {
  const place = ({ cell }: AnsweredCell) => `${unitId(cell.user)}\n${runSeedOf(cell)}\n${cell.method}`;
  return [...groupBy(cells, place).values()].flatMap((alike) =>
    alike
      .filter(({ cell }) => cell.chosen !== undefined)
      .map((chosen): MadeChoice => {
        const named = CANDIDATES.flatMap((candidate): Array<[string, AnsweredCell]> => {
          const { strategy, options } = cellOf(candidate, pool);
          const wanted = JSON.stringify(options);
          const same = alike.filter(
            ({ cell }) => cell.strategy === strategy && JSON.stringify(cell.options) === wanted,
          );
          // what looks at no example has one cell for all draws of them
          const found = same.find(({ cell }) => cell.seed === chosen.cell.seed) ?? same[0];
          return found === undefined ? [] : [[candidate.name, found]];
        });
        return { chosen, candidates: new Map(named) };
      }),
  );
}

export type ChoiceSection = NonNullable<ReturnType<typeof choiceSection>>;

/** Null where nothing was chosen, or there is nothing that could have been chosen instead. */
export function choiceSection(
  cells: readonly AnsweredCell[],
  units: readonly Unit[],
  pool: PoolFacts | null,
  options: BootstrapOptions,
) {
  if (pool === null) return null;
  const choices = choicesOf(cells, pool).filter(({ candidates }) => candidates.size > 1);
  if (choices.length === 0) return null;
  const chosen = seriesOf(choices.map((choice) => choice.chosen))[0]!;
  const names = CANDIDATES.map(({ name }) => name).filter((name) =>
    choices.every(({ candidates }) => candidates.has(name)),
  );
  const rows = names.map((name) => {
    const series = seriesOf([...new Set(choices.map(({ candidates }) => candidates.get(name)!))])[0]!;
    return {
      name,
      times: choices.filter(({ chosen: { cell } }) => cell.chosen === name).length,
      accuracy: accuracyOf(series, units, options)!,
      /** of choosing, to this one for everybody */
      gain: differenceOf(chosen, series, units, options) as Estimate,
    };
  });
  return {
    choices: choices.length,
    /** chosen, of which the run has no cells for everybody */
    others: choices.length - rows.reduce((sum, { times }) => sum + times, 0),
    rows: rows.sort((a, b) => b.accuracy.estimate - a.accuracy.estimate),
    accuracy: accuracyOf(chosen, units, options)!,
    /** that no candidate was better than by more than a standard error of the paired difference */
    ties: choices.filter(({ chosen: { answers }, candidates }) => {
      return [...candidates.values()].every((other) => isTie(answersOf(other.answers, answers), hits(answers)));
    }).length,
    /** mean over choices: of the best in hindsight, which noise lifts, and of the one that half of the tests would choose for the other half */
    hindsight: mean(choices.map(({ candidates }) => Math.max(...accuracies(candidates)))),
    byTests: mean(choices.map(byOtherHalf)),
  };
}

const hits = (answers: AnsweredCell['answers']): number[] => answers.map(({ correct }) => correct);
const accuracies = (candidates: MadeChoice['candidates']) => [...candidates.values()].map(({ cell }) => cell.accuracy);

/** The other's hits in the order of these answers. */
function answersOf(other: AnsweredCell['answers'], answers: AnsweredCell['answers']): number[] {
  const found = new Map(other.map((answer) => [exampleId(answer), answer.correct]));
  return answers.map((answer) => found.get(exampleId(answer)) ?? answer.correct);
}

function isTie(better: readonly number[], than: readonly number[]): boolean {
  const gaps = better.map((hit, i) => hit - than[i]!);
  return mean(gaps) <= (gaps.length > 1 ? standardError(gaps) : 0);
}

/** Accuracy on each half of the tests of the candidate that is best on the other one. */
function byOtherHalf({ chosen: { answers }, candidates }: MadeChoice): number {
  const all = [...candidates.values()].map((other) => answersOf(other.answers, answers));
  const half = (of: number) => (_: number, i: number) => (i >> 1) % 2 === of; // in pairs: the tests of a mixture take turns
  return mean(
    [0, 1].map((of) => {
      const scores = all.map((one) => mean(one.filter(half(1 - of))));
      const best = all.filter((_, i) => scores[i] === Math.max(...scores));
      return mean(best.map((one) => mean(one.filter(half(of)))));
    }),
  );
}
