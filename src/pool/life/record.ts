/**
 * What a manifest keeps of a pool that has changed since it was built: a number for ever of each cluster, the pool's version, and of
 * which earlier pools coefficients are still understood (coefficients.ts). A pool that never changed has none of it: its clusters are
 * 0 to N - 1, its version is 1.
 */

import * as z from 'zod';
import { sha256Text, text, whole } from '../../files/schema.js';

/** By what prompts find a cluster: by examples of it, or by the prompts that its adapter answers to most (energy.ts). */
export const GATES = ['data', 'adapter'] as const;
export type MemberGate = (typeof GATES)[number];

const LIVING = z.object({
  /** never given again */
  id: whole(0),
  /** the pool's version with which it came, and with which it got its present adapter or centroid */
  since: whole(1),
  changed: whole(1),
  gate: z.enum(GATES),
  /** the name of the directory that it came from; absent where the pool was built with it */
  source: text.optional(),
});
export type LivingMember = z.output<typeof LIVING>;

/** An earlier pool by the digests under which coefficients are kept: of its manifest, and of what a server serves of it. */
const EARLIER = z.object({
  /** of this pool's versions; of another pool, the one with which it came in */
  version: whole(1),
  manifest: sha256Text,
  served: sha256Text,
  /** of another pool that was merged into this one: the id that each of its clusters has here */
  ids: z.array(whole(0)).optional(),
});
export type EarlierPool = z.output<typeof EARLIER>;

export const LIFE = z.object({
  version: whole(1),
  nextId: whole(0),
  /** N, by ascending id, which is their order everywhere */
  members: z.array(LIVING),
  /** `until`: the first version without it */
  removed: z.array(z.object({ id: whole(0), since: whole(1), changed: whole(1), until: whole(2) })),
  earlier: z.array(EARLIER),
});
export type PoolLife = z.output<typeof LIFE>;

/** What is wrong with it, in words; null where nothing is. */
export function lifeProblem({ version, nextId, members, removed }: PoolLife, N: number): string | null {
  if (members.length !== N) return `life has ${members.length} members, expected N = ${N}`;
  if (members.some(({ id }, n) => n > 0 && id <= members[n - 1]!.id)) return 'ids of clusters do not ascend';
  const ids = [...members, ...removed].map(({ id }) => id);
  if (new Set(ids).size !== ids.length) return 'an id that was removed was given again';
  if (ids.some((id) => id >= nextId)) return `an id from nextId ${nextId} on is in use`;
  if (members.some(({ since, changed }) => since > changed || changed > version)) {
    return `a member is newer than version ${version}`;
  }
  return null;
}

/** Of a pool as it was built, too. */
export function lifeOf({ life, N }: { life?: PoolLife | undefined; N: number }): PoolLife {
  const built = (_: unknown, id: number): LivingMember => ({ id, since: 1, changed: 1, gate: 'data' });
  return life ?? { version: 1, nextId: N, members: Array.from({ length: N }, built), removed: [], earlier: [] };
}

/** Ids of the clusters (N). */
export const idsOf = (manifest: { life?: PoolLife | undefined; N: number }): number[] =>
  lifeOf(manifest).members.map(({ id }) => id);
