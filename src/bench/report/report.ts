/** Everything that a report says, computed once; the terminal, Markdown and HTML only arrange it. */

import { DEFAULT_RESAMPLES, groupBy } from '../../core/stats.js';
import { latencyBox, meanOfSummaries } from '../latency.js';
import { strategyTitle } from '../strategies/index.js';
import type { Cell, ClusterMap, ScoringMethod } from '../types.js';
import { choiceSection } from './choice.js';
import { hybridSection } from './hybrid.js';
import type { AnsweredCell, BenchRun } from './read.js';
import { optionRows, type StrategyRow, strategyRows } from './strategies.js';
import { runSeedOf, seedsOfRun, type Unit, unitsOf } from './units.js';
import { withMethod } from './words.js';

export interface ReportOptions {
  resamples?: number;
  /** of the bootstrap; default 0, so that one run directory has one report */
  seed?: number;
}

export type Report = ReturnType<typeof buildReport>;

export function buildReport(run: BenchRun, { resamples = DEFAULT_RESAMPLES, seed = 0 }: ReportOptions = {}) {
  const { clusters, ...manifest } = run.manifest;
  const options = { resamples, seed };
  const users = unitsOf(run.cells);
  const of = (table: Cell['table']) => run.cells.filter(({ cell }) => cell.table === table);
  const main = of('strategies');
  const routed = of('hybrid');
  const methods = methodsOf(run.cells);
  const strategies = strategyRows(main, users, options).sort(
    (a, b) => methods.indexOf(a.method) - methods.indexOf(b.method),
  );
  const several = `Answers were judged by several methods (${methods.join(', ')}). Each has tables of its own: only answers of one method are averaged or compared.`;
  return {
    name: nameOf(run.dir),
    manifest,
    complete: run.complete,
    cells: run.cells.length,
    remarks: [...run.remarks, ...(methods.length > 1 ? [several] : [])],
    /** the one with the most cells first */
    methods,
    users,
    /** of the run; one where its configuration has no `seeds` */
    seeds: seedsOfRun(run.cells),
    /** by method, in the order of `methods`, and the most accurate first */
    strategies,
    choice: choiceSection(run.cells, users, manifest.pool, options),
    ablation: optionRows(of('ablation'), main, users, options),
    conditions: optionRows(of('conditions'), main, users, options),
    /** cells that were routed while they ran, such as hybrid@20 */
    routed: strategyRows(routed, users, options),
    hybrid: hybridSection(main, users, methods, options),
    latency: latencyRows([...main, ...routed], strategies, methods),
    coefficients: coefficientMaps(main, users),
    /** the task most frequent in each cluster, by the points of the map; empty without a map */
    clusterTasks: clusters === null ? [] : tasksOf(clusters),
    clusters,
    /** how the loss of each pool fell, seed by seed */
    curves: manifest.curves ?? [],
    load: run.load,
  };
}

/** The last part of the directory's path. */
function nameOf(dir: string): string {
  const parts = dir.split(/[/\\]/).filter((part) => part !== '' && part !== '.');
  return parts.at(-1) ?? dir;
}

function methodsOf(cells: readonly AnsweredCell[]): ScoringMethod[] {
  const groups = [...groupBy(cells, ({ cell }) => cell.method).values()];
  return groups.sort((a, b) => b.length - a.length).map(([first]) => first!.cell.method);
}

const SOURCES = ['on_device', 'in_cloud'] as const;
type Source = (typeof SOURCES)[number];

export type LatencyRow = ReturnType<typeof latencyRows>[number];

/** In the order of the main table, then what is not in it. */
function latencyRows(cells: readonly AnsweredCell[], order: readonly StrategyRow[], methods: readonly ScoringMethod[]) {
  const place = ([first]: AnsweredCell[]) => {
    const { strategy, method } = first!.cell;
    const at = order.findIndex((row) => row.strategy === strategy && row.method === method);
    return at === -1 ? order.length : at;
  };
  const groups = [...groupBy(cells, ({ cell }) => `${cell.strategy}\n${cell.method}`).values()];
  return groups
    .sort((a, b) => place(a) - place(b))
    .flatMap((alike) => {
      const { strategy, method } = alike[0]!.cell;
      const title = withMethod({ title: strategyTitle(strategy), method }, methods);
      return SOURCES.flatMap((source) => {
        const answered = alike.filter(({ answers }) => answers.some((answer) => answer.source === source));
        return answered.length === 0 ? [] : [{ title, source, box: boxOf(answered, source) }];
      });
    });
}

/**
 * All answers of the source, where each was timed by itself. A batch's answers all have the same time, its share of the whole;
 * then the cells' summaries are better, which come from answers timed alone.
 */
function boxOf(cells: readonly AnsweredCell[], source: Source) {
  const times = cells.map(({ answers }) => answers.filter((a) => a.source === source).map((a) => a.latencyMs));
  const isBatched = times.some((ofCell) => ofCell.length > 1 && ofCell.every((ms) => ms === ofCell[0]));
  return isBatched ? meanOfSummaries(cells.map(({ cell }) => cell.latencyMs)) : latencyBox(times.flat());
}

export type CoefficientMap = ReturnType<typeof coefficientMaps>[number];

/** Blend coefficients of each strategy: a row for each user, N columns; of several seeds the lowest: each seed has its own pool. */
function coefficientMaps(cells: readonly AnsweredCell[], units: readonly Unit[]) {
  const blended = cells.filter(({ cell }) => cell.coefficients !== undefined);
  return [...groupBy(blended, ({ cell }) => cell.strategy)].map(([strategy, ofStrategy]) => {
    const rows = units.flatMap((unit) => {
      const [first] = ofStrategy
        .filter(({ cell }) => cell.user.name === unit.name && cell.user.k === unit.k)
        .sort((a, b) => runSeedOf(a.cell) - runSeedOf(b.cell) || a.cell.seed - b.cell.seed);
      return first === undefined ? [] : [{ user: unit.title, values: first.cell.coefficients! }];
    });
    return {
      strategy,
      title: strategyTitle(strategy),
      users: rows.map(({ user }) => user),
      values: rows.map(({ values }) => values),
    };
  });
}

function tasksOf({ points, centroids }: ClusterMap): string[] {
  const byCluster = groupBy(points, ({ cluster }) => String(cluster));
  return centroids.map((_, n) => {
    const counts = [...groupBy(byCluster.get(String(n)) ?? [], ({ task }) => task)];
    return counts.sort((a, b) => b[1].length - a[1].length)[0]?.[0] ?? '';
  });
}
