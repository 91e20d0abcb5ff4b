/** Everything that a report says, computed once; the terminal, Markdown and HTML only arrange it. */

import { groupBy } from '../../core/group-by.js';
import { DEFAULT_RESAMPLES } from '../../core/stats.js';
import { type LatencyBox, latencyBox, meanOfSummaries } from '../latency.js';
import { strategyTitle } from '../strategies/names.js';
import type { ClusterMap, LoadCell, RunManifest, ScoringMethod } from '../types.js';
import { type HybridSection, hybridSection } from './hybrid.js';
import type { AnsweredCell, BenchRun } from './read.js';
import { type OptionRow, optionRows, type StrategyRow, strategyRows } from './strategies.js';
import { type Unit, unitsOf } from './units.js';

export interface LatencyRow {
  title: string;
  source: 'on_device' | 'in_cloud';
  box: LatencyBox;
}

/** Blend coefficients of one strategy: a row for each user, N columns. */
export interface CoefficientMap {
  strategy: string;
  title: string;
  users: string[];
  values: number[][];
}

export interface Report {
  /** last part of the directory's path */
  name: string;
  manifest: Omit<RunManifest, 'clusters'>;
  complete: boolean;
  cells: number;
  remarks: string[];
  /** the one with the most cells first */
  methods: ScoringMethod[];
  users: Unit[];
  /** by method, in the order of `methods`, and the most accurate first */
  strategies: StrategyRow[];
  ablation: OptionRow[];
  conditions: OptionRow[];
  /** cells that were routed while they ran, such as hybrid@20 */
  routed: StrategyRow[];
  hybrid: HybridSection | null;
  latency: LatencyRow[];
  coefficients: CoefficientMap[];
  /** the task most frequent in each cluster, by the points of the map; empty without a map */
  clusterTasks: string[];
  clusters: ClusterMap | null;
  load: LoadCell[];
}

export interface ReportOptions {
  resamples?: number;
  /** of the bootstrap; default 0, so that one run directory has one report */
  seed?: number;
}

export function buildReport(run: BenchRun, { resamples = DEFAULT_RESAMPLES, seed = 0 }: ReportOptions = {}): Report {
  const { cells } = run;
  const { clusters, ...manifest } = run.manifest;
  const options = { resamples, seed };
  const units = unitsOf(cells);
  const of = (table: AnsweredCell['cell']['table']) => cells.filter(({ cell }) => cell.table === table);
  const main = of('strategies');
  const remarks = [...run.remarks];
  const methods = methodsOf(cells);
  if (methods.length > 1) {
    remarks.push(
      `Answers were judged by several methods (${methods.join(', ')}). Each has tables of its own: only answers of one method are averaged or compared.`,
    );
  }
  const byMethod = (a: StrategyRow, b: StrategyRow) => methods.indexOf(a.method) - methods.indexOf(b.method);
  const strategies = strategyRows(main, units, options).sort(byMethod);
  return {
    name: nameOf(run.dir),
    manifest,
    complete: run.complete,
    cells: cells.length,
    remarks,
    methods,
    users: units,
    strategies,
    ablation: optionRows(of('ablation'), main, units, options),
    conditions: optionRows(of('conditions'), main, units, options),
    routed: strategyRows(of('hybrid'), units, options),
    hybrid: hybridSection(main, units, methods, options),
    latency: latencyRows([...main, ...of('hybrid')], strategies, methods),
    coefficients: coefficientMaps(main, units),
    clusterTasks: clusters === null ? [] : tasksOf(clusters),
    clusters,
    load: run.load,
  };
}

function nameOf(dir: string): string {
  const parts = dir.split(/[/\\]/).filter((part) => part !== '' && part !== '.');
  return parts.at(-1) ?? dir;
}

function methodsOf(cells: readonly AnsweredCell[]): ScoringMethod[] {
  const groups = [...groupBy(cells, ({ cell }) => cell.method).values()];
  return groups.sort((a, b) => b.length - a.length).map((own) => own[0]!.cell.method);
}

/** In the order of the main table, then what is not in it. */
function latencyRows(
  cells: readonly AnsweredCell[],
  order: readonly StrategyRow[],
  methods: readonly ScoringMethod[],
): LatencyRow[] {
  const place = ({ cell }: AnsweredCell) => {
    const at = order.findIndex((row) => row.strategy === cell.strategy && row.method === cell.method);
    return at === -1 ? order.length : at;
  };
  const groups = [...groupBy(cells, ({ cell }) => `${cell.strategy}\n${cell.method}`).values()];
  return groups
    .sort((a, b) => place(a[0]!) - place(b[0]!))
    .flatMap((own) => {
      const { strategy, method } = own[0]!.cell;
      const title = `${strategyTitle(strategy)}${methods.length > 1 ? ` (${method})` : ''}`;
      return (['on_device', 'in_cloud'] as const).flatMap((source) => {
        const answered = own.filter(({ answers }) => answers.some((answer) => answer.source === source));
        return answered.length === 0 ? [] : [{ title, source, box: boxOf(answered, source) }];
      });
    });
}

/**
 * All answers of the source, where each was timed by itself. A batch's answers all have the same time, its share of the whole;
 * then the cells' summaries are better, which come from answers timed alone.
 */
function boxOf(cells: readonly AnsweredCell[], source: LatencyRow['source']): LatencyBox {
  const times = cells.map(({ answers }) => answers.filter((a) => a.source === source).map((a) => a.latencyMs));
  const batched = times.some((own) => own.length > 1 && own.every((ms) => ms === own[0]));
  return batched ? meanOfSummaries(cells.map(({ cell }) => cell.latencyMs)) : latencyBox(times.flat());
}

function coefficientMaps(cells: readonly AnsweredCell[], units: readonly Unit[]): CoefficientMap[] {
  return [...groupBy(cells, ({ cell }) => cell.strategy)].flatMap(([strategy, own]) => {
    const rows = units.flatMap((unit) => {
      const first = own
        .filter(({ cell }) => cell.user.name === unit.name && cell.user.k === unit.k && cell.coefficients !== undefined)
        .sort((a, b) => a.cell.seed - b.cell.seed)[0];
      return first === undefined ? [] : [{ user: unit.title, values: first.cell.coefficients! }];
    });
    if (rows.length === 0) return [];
    const title = strategyTitle(strategy);
    return [{ strategy, title, users: rows.map((r) => r.user), values: rows.map((r) => r.values) }];
  });
}

function tasksOf({ points, centroids }: ClusterMap): string[] {
  const byCluster = groupBy(points, ({ cluster }) => String(cluster));
  return centroids.map((_, n) => {
    const counts = [...groupBy(byCluster.get(String(n)) ?? [], ({ task }) => task)];
    return counts.sort((a, b) => b[1].length - a[1].length)[0]?.[0] ?? '';
  });
}
