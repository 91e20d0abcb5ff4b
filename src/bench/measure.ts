/** What the held-out examples of a run's tasks are to its pool, where a strategy measures a user's examples by them. */

import { openPool } from '../pool/pool.js';
import { heldOutExamples } from './strategies/held-out.js';
import { strategyNamed } from './strategies/index.js';
import type { BenchContext, PlannedCell } from './strategies/strategy.js';

/** Measures the pool that the run has built, once: as `crayon measure-pool` would. A pool that is given stays as it is. */
export async function measureForCells(cells: readonly PlannedCell[], context: BenchContext): Promise<void> {
  const { config, pools, base, onProgress } = context;
  if (config.pool.dir !== undefined || config.held_out.data === undefined) return;
  if (!cells.some(({ strategy }) => strategyNamed(strategy).usesStandards === true)) return;
  const dir = pools.path(config.pool);
  if (openPool(dir).manifest.standards?.loss !== undefined) return;
  const { measurePool } = await import('../pool/measure.js');
  const report = (done: number, total: number) => onProgress({ stage: 'measure the pool', done, total });
  await measurePool(dir, base.source, heldOutExamples(context), { forward: { model: base.model }, onProgress: report });
}
