/** The rows of the tables of strategies and of the ablation: accuracy by kind of user, paired differences, what it costs. */

import { type BootstrapOptions, groupBy, mean } from '../../core/stats.js';
import { meanOfSummaries } from '../latency.js';
import { isCrayon, isReference, strategyTitle } from '../strategies/index.js';
import { type Cell, type ScoringMethod, USER_KINDS, type UserKind } from '../types.js';
import type { AnsweredCell } from './read.js';
import {
  accuracyAt,
  accuracyOf,
  compareText,
  differenceOf,
  type Estimate,
  type Series,
  seedsOfRun,
  seriesOf,
  type Unit,
} from './units.js';

const COSTS = [
  ...(['accuracyNorm', 'loss', 'customisationMs', 'bytesToServer', 'adapterBytes', 'adapterParameters'] as const),
  ...(['serverShare', 'costPer1000'] as const),
];

/** Means over cells; what one of them does not have is left out, and null where none has it. */
export interface Costs extends Pick<Cell, (typeof COSTS)[number]> {
  latencyP50: number;
  latencyP95: number;
}

function costsOf(cells: readonly AnsweredCell[]): Costs {
  const means = COSTS.map((key) => {
    const values = cells.map(({ cell }) => cell[key]).filter((value) => value !== null);
    return [key, values.length === 0 ? null : mean(values)];
  });
  // Percentiles too, since users differ in the length of their prompts.
  const { p50, p95 } = meanOfSummaries(cells.map(({ cell }) => cell.latencyMs));
  return { ...(Object.fromEntries(means) as Pick<Cell, (typeof COSTS)[number]>), latencyP50: p50, latencyP95: p95 };
}

export interface StrategyRow extends Costs {
  strategy: string;
  title: string;
  method: ScoringMethod;
  accuracy: Estimate;
  byKind: Partial<Record<UserKind, Estimate>>;
  byUser: Array<{ user: string; accuracy: Estimate }>;
  /** by number of examples shown */
  byK: Array<{ k: number; accuracy: Estimate }>;
  /** at each seed of the run that it has */
  bySeed: Array<{ seed: number; accuracy: number }>;
  /** paired by example; only against rows of the same method */
  differences: Array<{ reference: string; difference: Estimate }>;
  /** of Crayon's strategies, over every other: likewise, and for each kind of user */
  margins: Array<{ over: string; difference: Estimate; byKind: StrategyRow['byKind'] }>;
}

/** All strategies of the cells, the most accurate first. */
export function strategyRows(
  cells: readonly AnsweredCell[],
  units: readonly Unit[],
  options: BootstrapOptions,
): StrategyRow[] {
  const all = [...groupBy(cells, ({ cell }) => cell.strategy)].flatMap(([strategy, ofStrategy]) =>
    seriesOf(ofStrategy).map((series) => ({ strategy, series })),
  );
  const rows = all.map(({ strategy, series }): StrategyRow => {
    const accuracyIn = (some: readonly Unit[]) => accuracyOf(series, some, options);
    const byKind = (of: (some: readonly Unit[]) => Estimate | null): StrategyRow['byKind'] => {
      const kinds = USER_KINDS.map((kind) => [kind, of(units.filter((unit) => unit.kind === kind))] as const);
      return Object.fromEntries(kinds.filter(([, found]) => found !== null));
    };
    const others = all.filter((other) => other.strategy !== strategy && other.series.method === series.method);
    return {
      strategy,
      title: strategyTitle(strategy),
      method: series.method,
      accuracy: accuracyIn(units)!,
      byKind: byKind(accuracyIn),
      byUser: units.flatMap((unit) => {
        const accuracy = accuracyIn([unit]);
        return accuracy === null ? [] : [{ user: unit.title, accuracy }];
      }),
      byK: [...new Set(units.map(({ k }) => k))]
        .sort((a, b) => a - b)
        .flatMap((k) => {
          const accuracy = accuracyIn(units.filter((unit) => unit.k === k));
          return accuracy === null ? [] : [{ k, accuracy }];
        }),
      bySeed: seedsOfRun(series.cells).flatMap((seed) => {
        const accuracy = accuracyAt(series, units, seed);
        return accuracy === null ? [] : [{ seed, accuracy }];
      }),
      margins: (isCrayon(strategy) ? others : []).flatMap((other) => {
        const over = (some: readonly Unit[]) => differenceOf(series, other.series, some, options);
        const difference = over(units);
        return difference === null ? [] : [{ over: other.strategy, difference, byKind: byKind(over) }];
      }),
      differences: others.flatMap((reference) => {
        if (!isReference(reference.strategy)) return [];
        const difference = differenceOf(series, reference.series, units, options);
        return difference === null ? [] : [{ reference: reference.strategy, difference }];
      }),
      ...costsOf(series.cells),
    };
  });
  return rows.sort((a, b) => b.accuracy.estimate - a.accuracy.estimate || compareText(a.strategy, b.strategy));
}

export interface OptionRow extends Costs {
  strategy: string;
  /** names of the options that differ from the defaults, joined */
  option: string;
  /** their values, joined */
  setting: string;
  method: ScoringMethod;
  accuracy: Estimate;
  /** to the same strategy at its defaults, paired by example; null where the run has no such cells */
  difference: Estimate | null;
}

/** One row for each setting, next to the same strategy at its defaults; settings of one option stand together. */
export function optionRows(
  cells: readonly AnsweredCell[],
  defaults: readonly AnsweredCell[],
  units: readonly Unit[],
  options: BootstrapOptions,
): OptionRow[] {
  const groups = groupBy(cells, ({ cell }) => JSON.stringify([cell.strategy, settingOf(cell)]));
  const rows = [...groups.values()].flatMap((alike) => {
    const { cell } = alike[0]!;
    const baselines = seriesOf(defaults.filter((other) => other.cell.strategy === cell.strategy));
    const baselineOf = (series: Series) => baselines.find(({ method }) => method === series.method);
    return seriesOf(alike).map(
      (series): OptionRow => ({
        strategy: cell.strategy,
        ...settingOf(cell),
        method: series.method,
        accuracy: accuracyOf(series, units, options)!,
        difference: differenceOf(series, baselineOf(series), units, options),
        ...costsOf(series.cells),
      }),
    );
  });
  return rows.sort(
    (a, b) =>
      compareText(a.strategy, b.strategy) ||
      compareText(a.option, b.option) ||
      a.setting.localeCompare(b.setting, 'en', { numeric: true }),
  );
}

function settingOf({ options }: Cell): { option: string; setting: string } {
  const names = Object.keys(options).sort();
  return {
    option: names.length === 0 ? 'defaults' : names.join(', '),
    setting: names.map((name) => String(options[name])).join(', '),
  };
}
