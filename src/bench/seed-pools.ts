/** The pools that a run needs at one of its seeds: built, with the learning rate that is theirs, and what a report says of them. */

import type { Progress } from '../core/long-work.js';
import { isPoolDirectory, openPool } from '../pool/pool.js';
import { readTrainingCurve } from '../pool/training-curve.js';
import { type NamedPool, poolsOf } from './plan.js';
import { mapOfTrainingSet, type ScopeSpace, scopeSpace } from './pool-space.js';
import { isChosen, OF_POOL, withLeastLoss } from './rates.js';
import { seedsOf } from './seeds.js';
import { atRate, type BenchConfig, type BenchPool } from './settings.js';
import type { BenchContext, PlannedCell } from './strategies/strategy.js';
import type { RunManifest } from './types.js';

/** What of the context differs from seed to seed. */
type OfSeed = Pick<BenchContext, 'config' | 'pools' | 'training' | 'users'>;
/** Also its cells, as they were planned. */
type SeedParts = OfSeed & { cells: readonly PlannedCell[] };

/** What there is to work with at a seed, and its cells, with the learning rate of its pool. */
export async function settleRate(
  { config, pools, training, users }: SeedParts,
  cells: readonly PlannedCell[],
  shared: Omit<BenchContext, keyof OfSeed>,
) {
  const context: BenchContext = { ...shared, config, pools, training, users };
  const { learning_rates } = config.pool;
  if (learning_rates === undefined) return { context, cells };
  if (!isChosen(OF_POOL, context)) await buildPools(poolsOf(config, [], pools), context);
  const { learning_rate } = await withLeastLoss(OF_POOL, config.pool, context);
  const settle = (pool: BenchPool): BenchPool =>
    pool.learning_rates === undefined ? pool : { ...pool, ...atRate(learning_rate) };
  // one LoRA that has no rate of its own chooses among the same for itself
  const own = (lora: BenchConfig['one_lora']) =>
    lora.learning_rate === undefined ? { learning_rates, ...lora } : lora;
  const oneLoras = { one_lora: own(config.one_lora), one_lora_total: own(config.one_lora_total) };
  const itsConfig = { ...config, ...oneLoras, pool: settle(config.pool) };
  return {
    context: { ...context, config: itsConfig, pools: pools.of(itsConfig) },
    cells: cells.map((cell) => ({ ...cell, pool: settle(cell.pool) })),
  };
}

export async function buildPools(wanted: readonly NamedPool[], context: BenchContext): Promise<void> {
  const { config, pools, signal, onProgress } = context;
  for (const [i, { pool }] of wanted.entries()) {
    const name = wanted.length === 1 ? 'pool' : `pool ${i + 1} of ${wanted.length}`;
    const report = ({ stage, ...rest }: Progress) =>
      onProgress({ stage: `${atRun(config)}${name}: ${stage}`, ...rest });
    await pools.ensure(pool, { onProgress: report, signal });
  }
}

/** Which of the run's seeds is at work, where it has several. */
const atRun = ({ seed, seeds = [] }: BenchConfig) => (seeds.length > 1 ? `seed ${seed}, ` : '');

export async function describePool(
  manifest: RunManifest,
  { cells, ...planned }: SeedParts,
  { config, base, pools }: BenchContext,
): Promise<ScopeSpace> {
  const pool = openPool(pools.path(config.pool));
  const space = scopeSpace(pool, base);
  // of all pools, those of cells that are there too: a run that goes on says what one that ran through says
  const isKnown = (pool: string) => manifest.curves?.some((curve) => curve.seed === config.seed && curve.pool === pool);
  const built = poolsOf(planned.config, cells, planned.pools).filter(
    ({ name, path }) => !isKnown(name) && isPoolDirectory(path),
  );
  const curves = built.map(({ name, path }) => {
    return { seed: config.seed, pool: name, points: readTrainingCurve(path, openPool(path).manifest) };
  });
  manifest.curves = [...(manifest.curves ?? []), ...curves];
  if (config.seed !== seedsOf(config)[0]) return space;
  const { N, tau, embedding, adapters } = pool.manifest;
  let parameters = 0;
  for (const adapter of pool.openMembers()) {
    for (const { r, in: inputs, out } of adapter.modules) parameters += r * (inputs + out);
    adapter.close();
  }
  const { kind, centred } = embedding;
  manifest.pool = { N, r: Math.max(...adapters.map((a) => a.r)), embedding: kind, centred, tau, parameters };
  manifest.clusters ??= await mapOfTrainingSet(config, pool, space);
  return space;
}
