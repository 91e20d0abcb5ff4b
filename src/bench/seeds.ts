/**
 * The seeds of a bench run: what each of them changes of the configuration, and which draw it makes of a draw.
 *
 * With `seeds: [s, ...]` a run is repeated with each s: the tests are drawn with s (in place of `seed`), the pool is drawn,
 * clustered and trained with pool.seed + s, a pool that is given is the one at pool.dir with s for `{seed}`, and draw u of a
 * user's examples is draw 1000 s + u. So seed 0 is what a run without `seeds` is by default. Without the key, nothing is varied.
 */

import type { BenchConfig } from './settings.js';

/** What stands for the seed in pool.dir. */
const PLACE = '{seed}';
/** Draws of examples that each seed has: more of a user's own `seeds` would meet those of the next one. */
export const DRAWS_PER_SEED = 1000;

type Seeded = Pick<BenchConfig, 'seed' | 'seeds'>;

export function seedsOf({ seed, seeds }: Seeded): number[] {
  return seeds ?? [seed];
}

/** Whether one pool would have to serve several seeds, which would then not be independent. */
export function sharesPool({ pool: { dir }, ...config }: Pick<BenchConfig, 'pool' | 'seed' | 'seeds'>): boolean {
  return dir !== undefined && seedsOf(config).length > 1 && !dir.includes(PLACE);
}

/** The configuration of one of its seeds. */
export function atSeed(config: BenchConfig, seed: number): BenchConfig {
  const { pool, seeds } = config;
  const dir = pool.dir?.replaceAll(PLACE, String(seed));
  return {
    ...config,
    seed,
    pool: {
      ...pool,
      ...(seeds === undefined ? {} : { seed: pool.seed + seed }),
      ...(dir === undefined ? {} : { dir }),
    },
  };
}

/** The seed by which something is drawn that is draw `n` at the configuration's seed. */
export function drawAt({ seed, seeds }: Seeded, n: number): number {
  return seeds === undefined ? n : DRAWS_PER_SEED * seed + n;
}
