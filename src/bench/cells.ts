/** Which cells a run consists of: users times strategies, and the settings of the ablation one at a time. */

import type { BenchConfig, BenchPool, BenchStrategy } from './config.js';
import type { Cell } from './types.js';
import type { PlannedUser } from './users.js';

/** How a Crayon blend departs from its defaults. */
export interface BlendVariant {
  tau?: number;
  topK?: number;
  estimator?: 'histogram' | 'nnls';
  combine?: 'svd' | 'linear';
  rank?: number;
}

export interface PlannedCell {
  key: string;
  user: PlannedUser;
  strategy: BenchStrategy;
  table: Cell['table'];
  options: Cell['options'];
  seed: number;
  /** the pool to blend from */
  pool: BenchPool;
  blend: BlendVariant;
}

/** Settings of one option: a name for the table, and what it changes. */
interface Setting {
  option: string;
  value: string | number | boolean;
  pool?: Partial<BenchPool>;
  blend?: BlendVariant;
}

/** Strategies whose result depends on which examples a user shows; the others are run for a user's first seed only. */
const LOOKS_AT_EXAMPLES: ReadonlySet<BenchStrategy> = new Set([
  ...(['in-context', 'nearest', 'few-shot-lora', 'lorahub', 'lorahub-delta', 'crayon'] as const),
]);

/** All cells, a user's together, in the order in which they are run. */
export function planCells(config: BenchConfig, users: readonly PlannedUser[]): PlannedCell[] {
  const settings = ablationSettings(config);
  return users.flatMap((user) => {
    const plain = (strategy: BenchStrategy, seed: number, inKey: Cell['options'] = {}): PlannedCell => ({
      user,
      strategy,
      options: {},
      seed,
      pool: config.pool,
      blend: {},
      key: cellKey(user.id, strategy, inKey),
      table: 'strategies',
    });
    const cells = config.strategies
      .filter((strategy) => user.isFirst || LOOKS_AT_EXAMPLES.has(strategy))
      .flatMap((strategy) =>
        strategy === 'random'
          ? Array.from({ length: config.random.seeds }, (_, seed) => plain(strategy, seed, { draw: seed }))
          : [plain(strategy, user.seed)],
      );
    for (const { option, value, pool, blend } of settings) {
      for (const strategy of config.ablation!.strategies) {
        if (!user.isFirst && !LOOKS_AT_EXAMPLES.has(strategy)) continue;
        if (strategy === 'per-query' && blend !== undefined && blend.tau === undefined) continue; // it makes no one blend
        const options = { [option]: value };
        const cell = plain(strategy, user.seed, options);
        cells.push({ ...cell, options, table: 'ablation', pool: { ...config.pool, ...pool }, blend: blend ?? {} });
      }
    }
    return cells;
  });
}

function ablationSettings({ ablation, pool }: BenchConfig): Setting[] {
  if (ablation === null) return [];
  const settings: Setting[] = [];
  for (const value of ablation.embedding ?? []) {
    const [embedding, centred] = value.split('+') as [string, string?];
    settings.push({ option: 'embedding', value, pool: { embedding, centred: centred !== undefined } });
  }
  for (const value of ablation.centred ?? []) settings.push({ option: 'centred', value, pool: { centred: value } });
  for (const value of ablation.tau ?? []) settings.push({ option: 'tau', value, pool: { tau: value } });
  for (const value of ablation.mode ?? []) settings.push({ option: 'mode', value, pool: { mode: value } });
  for (const value of ablation.clusters ?? []) settings.push({ option: 'clusters', value, pool: { clusters: value } });
  for (const value of ablation.blend_tau ?? []) settings.push({ option: 'blend_tau', value, blend: { tau: value } });
  for (const value of ablation.top_k ?? []) settings.push({ option: 'top_k', value, blend: { topK: value } });
  for (const value of ablation.estimator ?? [])
    settings.push({ option: 'estimator', value, blend: { estimator: value } });
  for (const value of ablation.combine ?? []) {
    const [combine, rank] = value.split(':') as ['svd' | 'linear', string?];
    settings.push({
      option: 'combine',
      value,
      blend: { combine, ...(rank === undefined ? {} : { rank: Number(rank) }) },
    });
  }
  // a setting at its default is the strategies' own cell
  return settings.filter(
    (s) => !Object.entries(s.pool ?? {}).every(([k, v]) => pool[k as keyof BenchPool] === v) || s.blend,
  );
}

/** Names the cell's files. */
function cellKey(user: string, strategy: string, options: Cell['options']): string {
  const parts = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  return `${user}--${strategy}${parts.join('')}`.replaceAll(/[^A-Za-z0-9._=+-]/g, '_');
}
