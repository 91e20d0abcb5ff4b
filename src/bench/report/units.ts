/**
 * Answers arranged for comparison: a *unit* is one user, a *series* is one strategy's scores on the examples of each unit, at
 * each seed of the run and of each draw: of the user's examples, or of what the strategy draws. More seeds and draws make a
 * steadier mean and not more users.
 */

import { meanOfNested, type NestedScore, nestedMean } from '../../core/nested-mean.js';
import { type BootstrapOptions, groupBy, type Interval, mean } from '../../core/stats.js';
import { type AnswerRecord, type Cell, type ScoringMethod, USER_KINDS, type UserInfo } from '../types.js';
import type { AnsweredCell } from './read.js';

export interface Unit extends UserInfo {
  id: string;
  /** the name, with k where the run has the user with several */
  title: string;
}

export interface Series {
  method: ScoringMethod;
  cells: AnsweredCell[];
  /** by unit's id */
  scores: ReadonlyMap<string, readonly NestedScore[]>;
}

export function unitId({ name, k }: UserInfo): string {
  return `${name}\n${k}`;
}

/** An example is the same one in two cells when id and prompt agree. */
export function exampleId({ id, promptHash }: AnswerRecord): string {
  return `${id}\n${promptHash}`;
}

/** Every user of the cells, in the order of kind and name. */
export function unitsOf(cells: readonly AnsweredCell[]): Unit[] {
  const users = new Map(cells.map(({ cell }) => [unitId(cell.user), cell.user]));
  const byName = groupBy([...users.values()], ({ name }) => name);
  const place = ({ kind }: UserInfo) => USER_KINDS.indexOf(kind);
  return [...users]
    .map(([id, user]) => {
      const hasSeveralK = byName.get(user.name)!.length > 1;
      return { ...user, id, title: hasSeveralK ? `${user.name} (k = ${user.k})` : user.name };
    })
    .sort((a, b) => place(a) - place(b) || compareText(a.name, b.name) || a.k - b.k);
}

/** By code units: the same order everywhere, whatever the language of the machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** One series for each method among the cells of one strategy: methods are never averaged together. */
export function seriesOf(cells: readonly AnsweredCell[]): Series[] {
  return [...groupBy(cells, ({ cell }) => cell.method).values()]
    .map((judged) => ({ method: judged[0]!.cell.method, cells: judged, scores: scoresOf(judged) }))
    .sort((a, b) => compareText(a.method, b.method));
}

/** That of the run's seeds which a cell belongs to; the only one of a run without `seeds` is what seed 0 is of one with. */
export const runSeedOf = ({ runSeed }: Cell): number => runSeed ?? 0;

/** All seeds of the run that cells belong to, ascending. */
export function seedsOfRun(cells: readonly AnsweredCell[]): number[] {
  return [...new Set(cells.map(({ cell }) => runSeedOf(cell)))].sort((a, b) => a - b);
}

function scoresOf(cells: readonly AnsweredCell[]): Series['scores'] {
  const byUnit = groupBy(cells, ({ cell }) => unitId(cell.user));
  return new Map([...byUnit].map(([id, ofUnit]) => [id, ofUnit.toSorted(bySeeds).flatMap(scoresOfCell)]));
}

const bySeeds = ({ cell: a }: AnsweredCell, { cell: b }: AnsweredCell) =>
  runSeedOf(a) - runSeedOf(b) || a.seed - b.seed;

const scoresOfCell = ({ cell, answers }: AnsweredCell): NestedScore[] =>
  answers.map((answer) => ({
    seed: runSeedOf(cell),
    draw: cell.seed,
    example: exampleId(answer),
    value: answer.correct,
  }));

export interface Estimate extends Interval {
  users: number;
  /** seeds of the run */
  seeds: number;
  /** draws that some user has at some seed, at most */
  draws: number;
  /** tested, of all users at all seeds */
  examples: number;
}

/** Mean over the units of each one's accuracy, or null without units. */
export function accuracyOf(series: Series, units: readonly Unit[], options: BootstrapOptions): Estimate | null {
  return estimate(
    units.map(({ id }) => series.scores.get(id) ?? []),
    options,
  );
}

/** The same without its interval, at one seed of the run. */
export function accuracyAt(series: Series, units: readonly Unit[], seed: number): number | null {
  const all = units.map(({ id }) => (series.scores.get(id) ?? []).filter((score) => score.seed === seed));
  const some = all.filter(({ length }) => length > 0);
  return some.length === 0 ? null : meanOfNested(some);
}

/** Mean over the shared units of a - b on the shared examples of each, or null where they share none or there is no b. */
export function differenceOf(
  a: Series,
  b: Series | undefined,
  units: readonly Unit[],
  options: BootstrapOptions,
): Estimate | null {
  return estimate(
    units.map(({ id }) => pairedScores(a.scores.get(id), b?.scores.get(id)).map(differenceIn)),
    options,
  );
}

/** Of what both have: the same example, at the same seed. */
export interface PairedScore extends Omit<NestedScore, 'value'> {
  here: number;
  there: number;
}

export const differenceIn = ({ here, there, ...of }: PairedScore): NestedScore => ({ ...of, value: here - there });

/** Scores of the examples that both have at a seed, draw by draw; a draw that one of them lacks has the mean of its draws. */
export function pairedScores(a: readonly NestedScore[] = [], b: readonly NestedScore[] = []): PairedScore[] {
  const tested = ({ seed, example }: NestedScore) => `${seed}\n${example}`;
  const others = groupBy(b, tested);
  return [...groupBy(a, tested)].flatMap(([key, here]) => {
    const there = others.get(key);
    if (there === undefined) return [];
    const { seed, example } = here[0]!;
    const draws = new Set([...here, ...there].map(({ draw }) => draw));
    return [...draws].map((draw) => ({ seed, draw, example, here: scoreOf(here, draw), there: scoreOf(there, draw) }));
  });
}

function scoreOf(scores: readonly NestedScore[], draw: number): number {
  const ofDraw = scores.filter((score) => score.draw === draw);
  return mean((ofDraw.length > 0 ? ofDraw : scores).map(({ value }) => value));
}

/** How many examples were tested, an example at two seeds being two. */
export function testedIn(scores: ReadonlyArray<Pick<NestedScore, 'seed' | 'example'>>): number {
  return new Set(scores.map(({ seed, example }) => `${seed}\n${example}`)).size;
}

/** Over units that have any value. */
function estimate(all: ReadonlyArray<readonly NestedScore[]>, options: BootstrapOptions): Estimate | null {
  const units = all.filter(({ length }) => length > 0);
  if (units.length === 0) return null;
  const draws = units.flatMap((scores) => {
    const bySeed = groupBy(scores, ({ seed }) => String(seed)).values();
    return [...bySeed].map((ofSeed) => new Set(ofSeed.map(({ draw }) => draw)).size);
  });
  return {
    ...nestedMean(units, options),
    users: units.length,
    seeds: new Set(units.flat().map(({ seed }) => seed)).size,
    draws: Math.max(...draws),
    examples: units.reduce((sum, scores) => sum + testedIn(scores), 0),
  };
}
