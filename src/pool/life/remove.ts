/** Clusters leave a pool, or those of two pools become one. No adapter is read, trained or written anew. */

import { CrayonError } from '../../core/errors.js';
import { isSame, normalise } from '../../core/vector.js';
import { openPool, type Pool } from '../pool.js';
import { type PoolChanged, refuseGeneral, standardsNotice } from './add.js';
import { type EarlierPool, lifeOf } from './record.js';
import { changing, earlierOf, nextLife, restOf, slotsOf, writeSlots } from './slots.js';

/**
 * Their ids are never given again.
 *
 * @throws CrayonError `bad-option` for an id that the pool does not have, or where none would be left
 */
export function removeFromPool(dir: string, ids: readonly number[]): Promise<PoolChanged> {
  return changing(dir, (pool) => {
    const slots = slotsOf(pool);
    refuseUnknown(pool, ids);
    const gone = new Set(ids);
    const kept = slots.filter(({ id }) => !gone.has(id));
    if (kept.length === 0) {
      throw new CrayonError('bad-option', `${dir}: removing ${ids.join(', ')} would leave no cluster`, {
        hint: 'A pool has at least one; delete the directory, or add another adapter first.',
      });
    }
    const next = nextLife(pool);
    const removed = slots
      .filter(({ id }) => gone.has(id))
      .map(({ id, since, changed }) => ({ id, since, changed, until: next.version }));
    const manifest = writeSlots(
      dir,
      {
        manifest: { ...restOf(pool), silhouette: null, standards: undefined },
        slots: kept,
        life: { ...next, removed: [...next.removed, ...removed] },
        space: pool,
        beside: dir,
      },
      { replaces: true },
    );
    return { manifest, ids: removed.map(({ id }) => id), notices: standardsNotice(pool) };
  });
}

/** @throws CrayonError `bad-option` naming the ids that there are */
export function refuseUnknown({ dir, manifest }: Pool, ids: readonly number[]): void {
  const { members, removed } = lifeOf(manifest);
  for (const id of ids) {
    if (members.some((member) => member.id === id)) continue;
    const was = removed.find((one) => one.id === id);
    const why = was === undefined ? 'no cluster' : `was removed with version ${was.until}: cluster`;
    throw new CrayonError('bad-option', `${dir}: ${why} ${id}`, {
      hint: `Its clusters are ${members.map((member) => member.id).join(', ')} (crayon pool list ${dir}).`,
    });
  }
}

/**
 * Both pools' clusters: those of the first keep their ids, those of the second get the next ones. Coefficients of either stay valid.
 *
 * @throws CrayonError `pool-mismatch` where they are of two base models, embedding spaces or prompt forms, `output-exists`
 */
export function mergePools(first: string, second: string, out: string, { force = false } = {}): PoolChanged {
  const [a, b] = [openPool(first), openPool(second)];
  refuseGeneral(a, 'those of another pool');
  refuseGeneral(b, 'those of another pool');
  refuseOtherSpace(a, b);
  const next = nextLife(a);
  const { version } = next;
  const slots = slotsOf(b).map((slot, i) => {
    const centroid = weighedLike(a, b, slot.centroid);
    return { ...slot, centroid, id: next.nextId + i, since: version, changed: version };
  });
  const ids = slots.map(({ id }) => id);
  const ofSecond: EarlierPool = { ...earlierOf(b), version, ids };
  const manifest = writeSlots(
    out,
    {
      manifest: {
        ...restOf(a),
        data: [
          ...a.manifest.data,
          ...b.manifest.data.filter(({ sha256 }) => !a.manifest.data.some((x) => x.sha256 === sha256)),
        ],
        silhouette: null,
        standards: undefined,
      },
      slots: [...slotsOf(a), ...slots],
      life: { ...next, nextId: next.nextId + slots.length, earlier: [...next.earlier, ofSecond] },
      space: a,
      beside: first,
    },
    { replaces: false, force },
  );
  return { manifest, ids, notices: [...standardsNotice(a), ...temperatureNotice(a, b), ...frequenciesNotice(a, b)] };
}

/**
 * A tf-idf centroid of one training set in the frequencies of another: each token's weight is divided by the one and multiplied by the
 * other. Exact but for each text's length, which the weights change a little.
 */
function weighedLike(a: Pool, b: Pool, centroid: Float32Array): Float32Array {
  if (a.idf === null || isSame(a.idf, b.idf)) return centroid;
  return Float32Array.from(normalise(centroid.map((x, j) => (x * a.idf![j]!) / b.idf![j]!)));
}

function frequenciesNotice(a: Pool, b: Pool): string[] {
  if (isSame(a.idf, b.idf)) return [];
  return [
    `${b.dir} has other document frequencies: its centroids were weighed by those of ${a.dir}, as nearly as can be without texts.`,
  ];
}

function temperatureNotice({ manifest: { tau } }: Pool, { dir, manifest }: Pool): string[] {
  if (manifest.tau === tau) return [];
  return [`${dir} has a gate of temperature ${manifest.tau}; the merged pool's is ${tau}, the first one's.`];
}

/** Centroids mean something in one space alone. */
function refuseOtherSpace(a: Pool, b: Pool): void {
  const [x, y] = [a.manifest, b.manifest];
  const differences: Array<[string, boolean]> = [
    ['base model', x.base.digest === y.base.digest],
    ['tokenizer', x.base.tokenizerDigest === y.base.tokenizerDigest],
    ['prompt form', JSON.stringify(x.prompt ?? null) === JSON.stringify(y.prompt ?? null)],
    ['embedding', x.embedding.kind === y.embedding.kind && x.embedding.dim === y.embedding.dim],
    ['mean of the embeddings', isSame(a.mean, b.mean)],
    ['document frequencies of the embedding', (a.idf === null) === (b.idf === null)],
  ];
  const found = differences.filter(([, same]) => !same).map(([what]) => what);
  if (found.length === 0) return;
  throw new CrayonError('pool-mismatch', `${a.dir} and ${b.dir} have another ${found.join(', another ')}`, {
    hint:
      'Centroids are comparable in one space alone. Import the second pool’s adapters with examples of what they are for instead: ' +
      'crayon pool import FIRST SECOND/adapters/* --examples NAME=FILE.',
  });
}
