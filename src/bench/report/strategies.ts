/** The rows of the tables of strategies and of the ablation: accuracy by kind of user, paired differences, what it costs. */

import { groupBy } from '../../core/group-by.js';
import type { BootstrapOptions } from '../../core/stats.js';
import { meanOfSummaries } from '../latency.js';
import { isReference, strategyTitle } from '../strategies/names.js';
import { type Cell, type ScoringMethod, USER_KINDS, type UserKind } from '../types.js';
import type { AnsweredCell } from './read.js';
import { accuracyOf, compareText, differenceOf, type Estimate, type Series, seriesOf, type Unit } from './units.js';

/** Means over cells; what one of them does not have is left out, and null where none has it. */
export interface Costs {
  accuracyNorm: number | null;
  loss: number | null;
  customisationMs: number;
  bytesToServer: number;
  adapterBytes: number;
  adapterParameters: number;
  serverShare: number;
  costPer1000: number | null;
  latencyP50: number;
  latencyP95: number;
}

export interface StrategyRow extends Costs {
  strategy: string;
  title: string;
  method: ScoringMethod;
  accuracy: Estimate;
  byKind: Partial<Record<UserKind, Estimate>>;
  byUser: Array<{ user: string; accuracy: Estimate }>;
  /** paired by example; only against rows of the same method */
  differences: Array<{ reference: string; difference: Estimate }>;
}

/** All strategies of the cells, the most accurate first. */
export function strategyRows(
  cells: readonly AnsweredCell[],
  units: readonly Unit[],
  options: BootstrapOptions,
): StrategyRow[] {
  const all = [...groupBy(cells, ({ cell }) => cell.strategy)].flatMap(([strategy, own]) =>
    seriesOf(own).map((series) => ({ strategy, series })),
  );
  const references = all.filter(({ strategy }) => isReference(strategy));
  return all
    .map(({ strategy, series }): StrategyRow => {
      const differences = references.flatMap((reference) => {
        if (reference.strategy === strategy || reference.series.method !== series.method) return [];
        const difference = differenceOf(series, reference.series, units, options);
        return difference === null ? [] : [{ reference: reference.strategy, difference }];
      });
      return {
        strategy,
        title: strategyTitle(strategy),
        method: series.method,
        accuracy: accuracyOf(series, units, options)!,
        byKind: byKind(series, units, options),
        byUser: units.flatMap((unit) => {
          const accuracy = accuracyOf(series, [unit], options);
          return accuracy === null ? [] : [{ user: unit.title, accuracy }];
        }),
        differences,
        ...costsOf(series.cells),
      };
    })
    .sort((a, b) => b.accuracy.estimate - a.accuracy.estimate || compareText(a.strategy, b.strategy));
}

function byKind(series: Series, units: readonly Unit[], options: BootstrapOptions): StrategyRow['byKind'] {
  const result: StrategyRow['byKind'] = {};
  for (const kind of USER_KINDS) {
    const accuracy = accuracyOf(
      series,
      units.filter((unit) => unit.kind === kind),
      options,
    );
    if (accuracy !== null) result[kind] = accuracy;
  }
  return result;
}

/** Means over cells; percentiles of latency too, since users differ in the length of their prompts. */
export function costsOf(cells: readonly AnsweredCell[]): Costs {
  const average = (of: (cell: Cell) => number | null): number | null => {
    const values = cells.map(({ cell }) => of(cell)).filter((value) => value !== null);
    return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
  };
  const latency = meanOfSummaries(cells.map(({ cell }) => cell.latencyMs));
  return {
    accuracyNorm: average((cell) => cell.accuracyNorm),
    loss: average((cell) => cell.loss),
    customisationMs: average((cell) => cell.customisationMs)!,
    bytesToServer: average((cell) => cell.bytesToServer)!,
    adapterBytes: average((cell) => cell.adapterBytes)!,
    adapterParameters: average((cell) => cell.adapterParameters)!,
    serverShare: average((cell) => cell.serverShare)!,
    costPer1000: average((cell) => cell.costPer1000),
    latencyP50: latency.p50,
    latencyP95: latency.p95,
  };
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
  const rows = [...groups.values()].flatMap((own) => {
    const { strategy } = own[0]!.cell;
    const baselines = seriesOf(defaults.filter(({ cell }) => cell.strategy === strategy));
    return seriesOf(own).map((series): OptionRow => {
      const baseline = baselines.find(({ method }) => method === series.method);
      return {
        strategy,
        ...settingOf(own[0]!.cell),
        method: series.method,
        accuracy: accuracyOf(series, units, options)!,
        difference: baseline === undefined ? null : differenceOf(series, baseline, units, options),
        ...costsOf(series.cells),
      };
    });
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
