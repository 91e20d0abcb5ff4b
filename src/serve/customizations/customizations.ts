/**
 * The customisations of a server: made, replaced, rolled back, deleted, and found again after a restart.
 *
 * One that is acknowledged is on the disk (user-files.ts). Each keeps the version before the last one. What was made with another pool
 * is kept and refused until it is made again; one that is merged is merged again after a restart, while others are served.
 */

import { randomBytes } from 'node:crypto';
import { isCrayonError, messageOf } from '../../core/errors.js';
import { interrupted } from '../../engine/clock.js';
import { HttpError, toHttpError } from '../http/error.js';
import { type BlendMaker, type BlendOrder, type MadeBlend, OTHER_POOL, type Served } from './maker.js';
import type { Blend } from './record.js';
import type { StoredUser, StoredVersion, UserFiles } from './user-files.js';

/** One as it is shown; its numbers are those of the current version. */
export interface Customization extends Blend {
  id: string;
  name: string | null;
  /** Of the current version, seconds since 1970. */
  created: number;
  version: number;
  /** The one that a rollback goes to. */
  previous: number | null;
  /** Why it cannot be used, where it cannot. */
  problem: HttpError | null;
  /** @throws HttpError `problem` */
  serve(): Served;
}

/** `present` is null while it cannot be served, which `problem` explains. */
interface Kept {
  stored: StoredUser;
  present: Served | null;
  problem: HttpError | null;
}

export interface CustomizationLimits {
  /** kept at a time */
  customizations: number;
  /** of them, those with a merged adapter of their own */
  mergedCustomizations: number;
}

export type Customizations = ReturnType<typeof createCustomizations>;

/** @param files null: nothing outlives the server */
export function createCustomizations(
  maker: BlendMaker,
  limits: CustomizationLimits,
  files: UserFiles | null = null,
  now: () => number = Date.now,
) {
  const kept = new Map<string, Kept>();
  const making = { new: 0, merged: 0 };
  const closing = new AbortController();
  const isMerged = ({ form }: Pick<Blend, 'form'>) => form !== 'scales';

  const show = ({ stored, present, problem }: Kept): Customization => {
    const { id, name, versions } = stored;
    const [{ version, created, blend }, previous] = versions;
    const serve = (): Served => {
      if (present !== null) return present;
      throw problem!;
    };
    return { ...blend, id, name, created, version, previous: previous?.version ?? null, problem, serve };
  };
  const found = (name: string | null): Kept | undefined =>
    name === null ? undefined : [...kept.values()].findLast(({ stored }) => stored.name === name);

  const refuseMore = (what: string, count: number, limit: number): void => {
    if (count < limit) return;
    throw new HttpError(429, `${limit} ${what} are kept, which is the limit: delete one first.`, {
      type: 'rate_limit_error',
      code: 'customizations_full',
      headers: { 'x-should-retry': 'false' },
    });
  };
  const refuseMoreMerged = (): void => {
    const count = [...kept.values()].filter(({ stored }) => isMerged(stored.versions[0].blend)).length;
    refuseMore('merged customisations', count + making.merged, limits.mergedCustomizations);
  };

  /** The file first: what is acknowledged must be there. */
  const put = (stored: StoredUser, made: MadeBlend): Kept => {
    const before = kept.get(stored.id);
    try {
      files?.write(stored);
    } catch (error) {
      made.remove();
      throw error;
    }
    const one: Kept = { stored, present: made, problem: null };
    kept.set(stored.id, one);
    before?.present?.remove();
    return one;
  };

  /** Of an earlier state of the pool: as it is of this one, where that is known. */
  const asOfNow = (one: StoredVersion): StoredVersion => {
    const blend = one.pool === maker.pool ? one.blend : maker.carry(one.pool, one.blend);
    return 'why' in blend ? one : { ...one, pool: maker.pool, blend };
  };
  const whyNot = ({ pool, blend }: StoredVersion): string => {
    const found = maker.carry(pool, blend);
    return 'why' in found ? found.why : OTHER_POOL;
  };

  const takeUp = async (one: Kept): Promise<void> => {
    const [{ blend }] = one.stored.versions;
    try {
      const made = await maker.restore(blend, closing.signal);
      if (kept.get(one.stored.id) !== one)
        made.remove(); // replaced or deleted meanwhile
      else Object.assign(one, { present: made, problem: null });
    } catch (error) {
      one.problem = isCrayonError(error, 'coefficients-invalid') ? stale(messageOf(error)) : toHttpError(error);
    }
  };

  const needed = (id: string): Kept => {
    const one = kept.get(id);
    if (one !== undefined) return one;
    throw new HttpError(404, `There is no customisation ${JSON.stringify(id.slice(0, 64))}.`, {
      code: 'customization_not_found',
    });
  };

  return {
    size: () => kept.size,
    list: () => [...kept.values()].map(show),
    /** @throws HttpError 404 */
    get: (id: string): Customization => show(needed(id)),
    has: (id: string): boolean => kept.has(id),
    /**
     * A new one, or the next version of the one that has this name.
     *
     * @throws HttpError 429 when as many are kept as may be; what the blend throws
     */
    create: async (order: BlendOrder, name: string | null, signal: AbortSignal): Promise<Customization> => {
      const isNew = found(name) === undefined;
      const merges = isMerged({ form: order.form ?? maker.form });
      if (isNew) refuseMore('customisations', kept.size + making.new, limits.customizations);
      if (merges) refuseMoreMerged();
      making.new += Number(isNew);
      making.merged += Number(merges);
      try {
        const made = await maker.make(order, signal);
        if (signal.aborted) {
          made.remove(); // nobody is left who would learn its id
          throw interrupted();
        }
        const { adapters: _, scope: __, hold: ___, remove: ____, ...blend } = made;
        const [last, ...older] = found(name)?.stored.versions ?? [];
        const version = 1 + Math.max(0, ...[last, ...older].map((one) => one?.version ?? 0));
        const next: StoredVersion = { version, created: Math.floor(now() / 1000), pool: maker.pool, blend };
        const id = found(name)?.stored.id ?? randomBytes(8).toString('hex');
        return show(put({ id, name, versions: last === undefined ? [next] : [next, last] }, made));
      } finally {
        making.new -= Number(isNew);
        making.merged -= Number(merges);
      }
    },
    /**
     * Exchanges the current version and the one before it; once more, and it is as it was.
     *
     * @throws HttpError 404; 409 where there is none before it, or it is of another pool
     */
    rollback: async (id: string, signal: AbortSignal): Promise<Customization> => {
      const { stored } = needed(id);
      const [current, previous] = stored.versions;
      if (previous === undefined) throw conflict('There is no version before this one.', 'no_previous_version');
      if (previous.pool !== maker.pool) throw stale(whyNot(previous));
      if (isMerged(previous.blend) && !isMerged(current.blend)) refuseMoreMerged();
      const made = await maker.restore(previous.blend, signal);
      if (kept.get(id)?.stored !== stored) {
        made.remove();
        throw conflict('It was replaced or deleted meanwhile.', 'customization_changed');
      }
      return show(put({ ...stored, versions: [previous, current] }, made));
    },
    /** No new request can use it; running ones finish. @throws HttpError 404 */
    delete: (id: string): void => {
      const { present } = needed(id);
      files?.remove(id);
      kept.delete(id);
      present?.remove();
    },
    /**
     * Takes up what the files hold. Those at scales can be used then; merged ones are merged again, one after the other.
     *
     * @returns what resolves when they can be used too
     */
    restore: async (): Promise<{ merged: Promise<void> }> => {
      const again: Kept[] = [];
      for (const loaded of files?.load() ?? []) {
        const [first, second] = loaded.versions;
        const versions: StoredUser['versions'] =
          second === undefined ? [asOfNow(first)] : [asOfNow(first), asOfNow(second)];
        const stored = { ...loaded, versions };
        const [{ pool, blend }] = versions;
        const problem = pool === maker.pool ? merging() : stale(whyNot(first));
        const one: Kept = { stored, present: null, problem };
        kept.set(stored.id, one);
        if (pool === maker.pool && isMerged(blend)) again.push(one);
        else if (pool === maker.pool) await takeUp(one);
      }
      const merged = (async () => {
        for (const one of again) await takeUp(one);
      })();
      return { merged };
    },
    close: (): void => {
      closing.abort();
      for (const { present } of kept.values()) present?.remove();
      kept.clear();
      maker.close();
      files?.close();
    },
  };
}

const NO_RETRY = { 'x-should-retry': 'false' };

const conflict = (message: string, code: string) => new HttpError(409, message, { code, headers: NO_RETRY });

const stale = (why: string) =>
  conflict(`This customisation cannot be used: ${why}. Make it again under the same name.`, 'customization_stale');

const merging = () =>
  new HttpError(503, 'This customisation is being merged again after a restart.', {
    code: 'customization_loading',
    headers: { 'retry-after': '2' },
  });
