/**
 * Where a pool is: a directory, or an address, of which as much is fetched as is used. Manifest and centroids first (kilobytes), by
 * which the device chooses; then the adapters that were chosen. What opens a pool opens a directory either way.
 *
 * Adapters and a chat template are what the manifest's digests say, or refused. Of centroids and adapter_config.json it has none: they
 * are held to the shapes and ranks that it names, and the manifest is compared again behind them, so that they are of one version.
 */

import { dirname, join } from 'node:path';
import { CrayonError, isCrayonError, messageOf } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { isLoopback } from '../core/loopback.js';
import { warn } from '../core/warning.js';
import { ensureDirectory, writeDirectoryAtomic, writeFileAtomic } from '../files/atomic.js';
import { exists, removePath } from '../files/io.js';
import { writeJson } from '../files/json.js';
import { defaultCacheDir } from '../gguf/cache.js';
import { ADAPTER_RECORD_FILE, adapterRecordText } from '../hf/adapter-record.js';
import { templateDigest } from '../hf/prompt-form.js';
import { CHAT_TEMPLATE } from '../hf/tokenizer.js';
import { ADAPTER_CONFIG } from '../peft/config.js';
import { ADAPTER_WEIGHTS } from '../peft/read.js';
import {
  CENTROIDS,
  FETCHED_POOL,
  isPoolDirectory,
  membersOf,
  openPool,
  POOL_MANIFEST,
  type PoolManifest,
  parseManifest,
  usesIdf,
} from '../pool/pool.js';
import { POOL_CACHE_BYTES, PoolCache } from './cache.js';
import { isOffline, PoolServer, type PoolServerOptions } from './server.js';
import { fileUrl, isPoolUrl, poolUrl, shownUrl } from './url.js';

export interface PoolPlace {
  /** The pool's directory. */
  readonly dir: string;
  /** Null for a directory. */
  readonly remote: RemotePool | null;
  /**
   * Fetches the members that these coefficients (of the members, see `membersOf`) need and that are not here yet; all of them where no
   * coefficients are given.
   *
   * @throws CrayonError as PoolServer.file; `disk-full`, `adapter-invalid`, `pool-invalid`
   */
  members(coefficients?: ArrayLike<number>): Promise<void>;
}

export interface PlaceOptions extends PoolServerOptions {
  /** default: `crayon` in $XDG_CACHE_HOME, or in ~/.cache */
  cacheDir?: string | undefined;
  /** the most that everything fetched may take; what is in use stays */
  cacheBytes?: number | undefined;
}

/** Adapters fetched at a time. */
const AT_A_TIME = 4;

/**
 * A pool's place by its path or its address.
 *
 * @throws CrayonError `bad-option`, what PoolServer throws where nothing of it is here, `pool-invalid`
 *
 * @example
 * const place = await poolPlace('https://example.org/pools/demo');
 * const pool = openPool(place.dir);
 */
export async function poolPlace(pool: string, options: PlaceOptions = {}): Promise<PoolPlace> {
  if (!isPoolUrl(pool)) return { dir: pool, remote: null, members: async () => {} };
  const { cacheDir = defaultCacheDir(), cacheBytes = POOL_CACHE_BYTES, key = null } = options;
  const url = poolUrl(pool);
  if (key !== null && url.protocol === 'http:' && !isLoopback(url.hostname)) {
    warn(`${shownUrl(url)}: the key goes over the network unencrypted, for others to read; https does not.`);
  }
  return await RemotePool.open(url, new PoolServer(url, options), new PoolCache(cacheDir, cacheBytes));
}

export class RemotePool implements PoolPlace {
  readonly remote = this;

  private constructor(
    readonly dir: string,
    readonly url: URL,
    readonly manifest: PoolManifest,
    /** could not be asked: what is in the cache is all there is */
    readonly isOffline: boolean,
    readonly server: PoolServer,
    readonly cache: PoolCache,
  ) {}

  static async open(url: URL, server: PoolServer, cache: PoolCache): Promise<RemotePool> {
    const before = cache.known(url.href);
    let isCut = false;
    let id: string;
    try {
      id = await fetchPool(url, server, cache);
      if (before !== null && before.id !== id) warn(updatedText(url, cache, before.id, id));
    } catch (error) {
      if (before === null || !isOffline(error)) throw error;
      warn(`${messageOf(error)}. The pool is used as it was fetched before.`);
      isCut = true;
      id = before.id;
    }
    const dir = cache.dirOf(id);
    cache.use(dir);
    return new RemotePool(dir, url, openPool(dir).manifest, isCut, server, cache);
  }

  async members(coefficients?: ArrayLike<number>): Promise<void> {
    const all = membersOf(this.manifest);
    const chosen = all.filter((_, n) => coefficients === undefined || coefficients[n] !== 0);
    const left = chosen.length > 0 ? [...chosen] : all.slice(0, 1);
    const work = async (): Promise<void> => {
      for (let member = left.shift(); member !== undefined; member = left.shift()) await this.#member(member);
    };
    const done = await Promise.allSettled(Array.from({ length: AT_A_TIME }, work));
    const failed = done.find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    this.cache.evict();
  }

  async #member(member: PoolManifest['adapters'][number]): Promise<void> {
    const { cache, server } = this;
    const dir = join(this.dir, member.dir);
    const weights = join(dir, ADAPTER_WEIGHTS);
    if (exists(weights)) return cache.useAdapter(weights);
    if (this.isOffline) {
      throw new CrayonError('server-unreachable', `pool ${shownUrl(this.url)}: ${member.dir} was not fetched before`, {
        hint: 'Without a network only the adapters that were used before are here.',
      });
    }
    const { base, prompt } = this.manifest;
    const config = (await server.bytes(`${member.dir}/${ADAPTER_CONFIG}`, LIMITS.configBytes))!.bytes;
    ensureDirectory(dir);
    writeFileAtomic(join(dir, ADAPTER_CONFIG), config);
    writeFileAtomic(join(dir, ADAPTER_RECORD_FILE), adapterRecordText(base.name, base, prompt));
    if (!cache.linkAdapter(member.sha256, weights)) {
      const part = cache.part(member.sha256);
      try {
        const most = Math.min(LIMITS.poolAdapterBytes, cache.maxBytes);
        await server.file(`${member.dir}/${ADAPTER_WEIGHTS}`, member.sha256, most, part);
        part.finish(weights);
      } finally {
        part.release();
      }
    }
    cache.useAdapter(weights);
    this.#check(member, dir);
  }

  /** What does not fit the manifest goes again, so that it is not found there the next time. */
  #check(member: PoolManifest['adapters'][number], dir: string): void {
    try {
      const pool = openPool(this.dir);
      const n = membersOf(this.manifest).indexOf(member);
      pool.openAdapter(n).close();
    } catch (error) {
      removePath(join(dir, ADAPTER_WEIGHTS));
      throw error;
    }
  }
}

/** Attempts to read a pool that is being replaced. */
const READS = 3;

/**
 * Manifest, centroids and chat template, where the manifest is not the one that is known.
 *
 * @returns the pool's name in the cache
 */
async function fetchPool(url: URL, server: PoolServer, cache: PoolCache): Promise<string> {
  const { href } = url;
  for (let attempt = 1; ; attempt++) {
    const known = cache.known(href);
    const found = await server.bytes(POOL_MANIFEST, LIMITS.manifestBytes, known?.etag);
    if (found === null) return known!.id;
    const { bytes, etag } = found;
    const id = cache.idOf(bytes);
    if (!isPoolDirectory(cache.dirOf(id))) {
      const where = shownUrl(fileUrl(url, POOL_MANIFEST));
      const files = await fetchBeside(parseManifest(bytes, where), server, where);
      const again = await server.bytes(POOL_MANIFEST, LIMITS.manifestBytes, etag);
      if (again !== null && cache.idOf(again.bytes) !== id) {
        if (attempt < READS) continue;
        throw new CrayonError('pool-invalid', `${where}: was replaced while it was being read, ${READS} times`);
      }
      makeDirectory(cache.dirOf(id), { ...files, [POOL_MANIFEST]: bytes });
    }
    cache.remember(href, { id, etag });
    return id;
  }
}

/** What lies beside a manifest and is needed whatever is chosen, by its place in the pool. */
async function fetchBeside(
  { N, embedding, prompt, adapters, ...rest }: PoolManifest,
  server: PoolServer,
  where: string,
): Promise<Record<string, Uint8Array>> {
  const numbers = (N + 1) * embedding.dim + (usesIdf({ embedding }) ? LIMITS.vocabulary : 0);
  const most = Math.min(4 * numbers + LIMITS.noteBytes, LIMITS.poolTensorBytes);
  const files = { [CENTROIDS]: (await server.bytes(CENTROIDS, most))!.bytes };
  if (prompt?.form !== 'chat') return files;
  const template = (await server.bytes(`${adapters[0]!.dir}/${CHAT_TEMPLATE}`, LIMITS.configBytes))!.bytes;
  if (templateDigest(Buffer.from(template).toString()) !== prompt.templateSha256) {
    throw new CrayonError('pool-invalid', `${where}: ${CHAT_TEMPLATE} beside it is not the one of its training`);
  }
  const places = membersOf({ adapters, general: rest.general }).map(({ dir }) => `${dir}/${CHAT_TEMPLATE}`);
  return { ...files, ...Object.fromEntries(places.map((path) => [path, template])) };
}

/** Whole and checked, or not at all; another process may make the same one meanwhile. */
function makeDirectory(path: string, files: Record<string, Uint8Array>): void {
  try {
    writeDirectoryAtomic(path, {}, (dir) => {
      for (const [name, bytes] of Object.entries(files)) {
        ensureDirectory(dirname(join(dir, name)));
        writeFileAtomic(join(dir, name), bytes);
      }
      writeJson(join(dir, FETCHED_POOL), { format: 'crayon-fetched-pool' });
      openPool(dir);
    });
  } catch (error) {
    if (!isCrayonError(error, 'output-exists') || !isPoolDirectory(path)) throw error;
  }
}

/** What has changed at an address, in one sentence. */
function updatedText(url: URL, cache: PoolCache, before: string, now: string): string {
  const digests = (id: string) => new Map(membersOf(openPool(cache.dirOf(id)).manifest).map((m) => [m.dir, m.sha256]));
  const earlier = digests(before);
  const members = [...digests(now)];
  const changed = members.filter(([dir, digest]) => earlier.get(dir) !== digest).length;
  return (
    `pool ${shownUrl(url)}: has been updated since it was fetched last (${changed} of ${members.length} adapters are others); ` +
    'what was blended of the earlier one stays as it is until it is blended again.'
  );
}
