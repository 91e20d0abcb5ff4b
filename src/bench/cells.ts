/**
 * The cells of a run: which there are to be, users times strategies and the settings of the ablation one at a time; and what
 * answers make of one.
 */

import { mean, standardError } from '../core/stats.js';
import type { Example } from '../data/dataset.js';
import { summariseLatency } from './latency.js';
import { cellKey } from './run-directory.js';
import { drawAt } from './seeds.js';
import {
  atRate,
  type BenchConfig,
  type BenchPool,
  FROM_BLEND_SETTING,
  SEPARATE_SETTING,
  TRAINING_SETTING,
} from './settings.js';
import { strategyNamed } from './strategies/index.js';
import type { BlendVariant, PlannedCell } from './strategies/strategy.js';
import { type AnswerRecord, CELL_SCHEMA, type Cell } from './types.js';
import type { PlannedUser } from './users.js';

/** One option at one value: what of the pool or of the blend it changes. */
interface Setting {
  option: string;
  value: string | number | boolean;
  pool?: Partial<BenchPool>;
  blend?: BlendVariant;
}

/** All cells of a seed, a user's together, in the order in which they are run. */
export function planCells(config: BenchConfig, users: readonly PlannedUser[]): PlannedCell[] {
  const settings = ablationSettings(config);
  return users.flatMap((user) => {
    const plain = (strategy: string, seed: number, inKey: Cell['options'] = {}): PlannedCell => ({
      user,
      strategy,
      options: {},
      seed,
      runSeed: user.runSeed,
      pool: config.pool,
      blend: {},
      key: cellKey(user.id, strategy, inKey),
      table: 'strategies',
    });
    const isRun = (name: string) => {
      const { looksAtExamples, appliesTo } = strategyNamed(name);
      return (user.isFirst || looksAtExamples) && (appliesTo?.(user, config) ?? true);
    };
    const cells = config.strategies.filter(isRun).flatMap((name) => {
      const draws = strategyNamed(name).draws?.(config);
      if (draws === undefined) return [plain(name, user.seed)];
      return Array.from({ length: draws }, (_, seed) => plain(name, drawAt(config, seed), { draw: seed }));
    });
    for (const { option, value, pool, blend = {} } of settings) {
      for (const strategy of config.ablation!.strategies.filter(isRun)) {
        const ofGate = pool !== undefined || blend.tau !== undefined || blend.topK !== undefined;
        if (strategy === 'per-query' && !ofGate) continue; // it makes no one blend
        const options = { [option]: value };
        const cell = plain(strategy, user.seed, options);
        cells.push({ ...cell, options, table: 'ablation', pool: { ...config.pool, ...pool }, blend });
      }
    }
    return cells;
  });
}

/** What each option of an ablation changes at a value. */
const CHANGES = {
  embedding: (value: string) => {
    const [embedding, isCentred] = value.split('+') as [string, string?];
    return { pool: { embedding, centred: isCentred !== undefined } };
  },
  centred: (centred: boolean) => ({ pool: { centred } }),
  tau: (tau: number) => ({ pool: { tau } }),
  mode: (mode: BenchPool['mode']) => ({ pool: { mode } }),
  training: (value: string) => {
    const [, size, rate] = TRAINING_SETTING.exec(value)!;
    return { pool: { batch_size: Number(size), ...atRate(Number(rate)) } };
  },
  separate: (value: string, { batch_size }: BenchPool) => {
    const [, size, fraction, rate] = SEPARATE_SETTING.exec(value)!;
    const learning = rate === undefined ? {} : { learning_rate: Number(rate) };
    const joint = fraction === undefined ? {} : { joint: { fraction: Number(fraction), ...learning, batch_size } };
    return { pool: { mode: 'separate' as const, batch_size: Number(size), ...joint } };
  },
  epochs: (epochs: number) => ({ pool: { epochs } }),
  clusters: (clusters: number) => ({ pool: { clusters } }),
  blend_tau: (tau: number) => ({ blend: { tau } }),
  estimator: (estimator: BlendVariant['estimator']) => ({ blend: { estimator } }),
  lambda: (lambda: number) => ({ blend: { estimator: 'label-evidence' as const, lambda } }),
  standard_tau: (tau: number) => ({ blend: { standardise: true, tau } }),
  refine: (refine: number) => ({ blend: { refine } }),
  lora_from_blend: (value: string) => {
    const [, steps, learningRate, pull] = FROM_BLEND_SETTING.exec(value)!.map(Number) as [0, number, number, number];
    return { blend: { loraFromBlend: { steps, learningRate, ...(Number.isNaN(pull) ? {} : { pull }) } } };
  },
  top_k: (topK: number) => ({ blend: { topK } }),
  combine: (value: string) => {
    const [combine, rank] = value.split(':') as ['svd' | 'linear', string?];
    return { blend: { combine, rank: rank === undefined ? undefined : Number(rank) } };
  },
} satisfies Record<string, (value: never, pool: BenchPool) => Pick<Setting, 'pool' | 'blend'>>;

function ablationSettings({ ablation, pool }: BenchConfig): Setting[] {
  if (ablation === null) return [];
  const settings = Object.entries(CHANGES).flatMap(([option, change]) =>
    (ablation[option as keyof typeof CHANGES] ?? []).map(
      (value): Setting => ({ option, value, ...change(value as never, pool) }),
    ),
  );
  // a setting at its default is the strategies' own cell
  return settings.filter(
    (setting) => setting.blend || Object.entries(setting.pool!).some(([key, v]) => pool[key as keyof BenchPool] !== v),
  );
}

/** What answers alone do not say: whose they are, and what they cost. */
type CellParts = Omit<
  Cell,
  'examples' | 'accuracy' | 'accuracyStderr' | 'accuracyNorm' | 'serverShare' | 'latencyMs'
> & {
  test: readonly Example[];
  records: readonly AnswerRecord[];
  /** milliseconds of answers; the records' own where there are none */
  timed?: readonly number[];
};

/** @param parts of which `bytesToServer` is that of the customisation; prompts that leave the device come on top */
export function cellOf({ test, records, timed = [], ...parts }: CellParts): Cell {
  const hits = records.map(({ correct }) => correct);
  const norm = records.flatMap(({ correctNorm }) => correctNorm ?? []);
  const sent = test.filter((_, i) => records[i]!.source === 'in_cloud');
  const cell: Cell = {
    ...parts,
    examples: records.length,
    accuracy: mean(hits),
    accuracyStderr: hits.length > 1 ? standardError(hits) : 0,
    accuracyNorm: norm.length === records.length ? mean(norm) : null,
    bytesToServer: sent.reduce((sum, { prompt }) => sum + Buffer.byteLength(prompt), parts.bytesToServer),
    serverShare: sent.length / records.length,
    latencyMs: summariseLatency(timed.length > 0 ? timed : records.map(({ latencyMs }) => latencyMs)),
  };
  // The keys and their order are the schema's: parts may have more.
  return Object.fromEntries(Object.keys(CELL_SCHEMA.shape).map((key) => [key, cell[key as keyof Cell]])) as Cell;
}
