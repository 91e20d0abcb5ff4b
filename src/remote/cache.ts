/**
 * What was fetched, on this disk: pools by the digests of their manifests, the adapters in them, beginnings of adapters, and blends.
 * Bounded by a size: what was not of use for longest goes first.
 *
 *     pools/at-<address>.json      of an address: the pool that was there last, and its ETag
 *     pools/<manifest>/            a pool's directory, with the adapters that were fetched
 *     pools/parts/<adapter>.*      a file on its way, by its digest (src/files/partial.ts)
 *     pools/blends/<request>-<ETag>.tar
 */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { formatBytes } from '../core/format.js';
import { ensureDirectory } from '../files/atomic.js';
import { sha256, sha256File } from '../files/digest.js';
import { entriesOf, exists, fileSize, modifiedMs, removePath, touchQuietly } from '../files/io.js';
import { readOptionalJson, writeJson } from '../files/json.js';
import { linkFile, PartialFile } from '../files/partial.js';
import { ADAPTER_WEIGHTS } from '../peft/read.js';
import { CENTROIDS, FETCHED_POOL, membersOf, POOL_MANIFEST, type PoolManifest } from '../pool/pool.js';

/** Of everything fetched, where nobody says. */
export const POOL_CACHE_BYTES = 4 * 2 ** 30;

const ID = /^[0-9a-f]{32}$/;
const PARTS = 'parts';
const BLENDS = 'blends';

/** What an address led to last. */
interface Known {
  id: string;
  etag: string | null;
}

export class PoolCache {
  /** what this process uses, which stays */
  readonly #used = new Set<string>();
  readonly #root: string;

  /** @param maxBytes see above; what is in use stays all the same */
  constructor(
    cacheDir: string,
    readonly maxBytes = POOL_CACHE_BYTES,
  ) {
    this.#root = join(cacheDir, 'pools');
  }

  /** The name of a pool's directory: of its manifest's bytes. */
  idOf(manifest: Uint8Array): string {
    return sha256(manifest).slice(0, 32);
  }

  dirOf(id: string): string {
    return join(this.#root, id);
  }

  known(address: string): Known | null {
    const { id, etag = null } = readOptionalJson(this.#knownFile(address)) ?? {};
    if (typeof id !== 'string' || !ID.test(id) || !exists(join(this.dirOf(id), POOL_MANIFEST))) return null;
    return { id, etag: typeof etag === 'string' ? etag : null };
  }

  remember(address: string, known: Known): void {
    writeJson(this.#knownFile(address), known);
  }

  /** Marks a directory as used, which then stays. */
  use(dir: string): void {
    this.#used.add(dir);
    touchQuietly(join(dir, FETCHED_POOL));
  }

  /** Likewise an adapter's weights. */
  useAdapter(weights: string): void {
    this.#used.add(weights);
    touchQuietly(weights);
  }

  part(name: string): PartialFile {
    return new PartialFile(join(this.#root, PARTS), name);
  }

  /** An adapter that another pool has already, an earlier version of this one perhaps, under a second name. */
  linkAdapter(digest: string, to: string): boolean {
    for (const id of this.#poolIds()) {
      const members = readOptionalJson(join(this.dirOf(id), POOL_MANIFEST)) as Partial<PoolManifest> | undefined;
      for (const { dir, sha256: of } of Array.isArray(members?.adapters) ? membersOf(members as PoolManifest) : []) {
        const from = join(this.dirOf(id), dir, ADAPTER_WEIGHTS);
        if (of !== digest || from === to || !exists(from) || sha256File(from) !== digest) continue;
        if (linkFile(from, to)) return true;
      }
    }
    return false;
  }

  /** A blend that this request brought before. */
  blend(request: string): { path: string; etag: string } | null {
    const dir = join(this.#root, BLENDS);
    const name = exists(dir) ? entriesOf(dir).find((entry) => entry.startsWith(`${request}-`)) : undefined;
    const etag = /-([\w.-]+)\.tar$/.exec(name ?? '')?.[1];
    if (name === undefined || etag === undefined) return null;
    const path = join(dir, name);
    this.useAdapter(path);
    return { path, etag: `"${etag}"` };
  }

  /** @param etag a strong one; without one that names a file, nothing is kept for another time */
  keepBlend(request: string, etag: string | null, part: PartialFile): string {
    const dir = join(this.#root, BLENDS);
    ensureDirectory(dir);
    const tag = /^"([\w.-]{1,100})"$/.exec(etag ?? '')?.[1] ?? 'none';
    const path = join(dir, `${request}-${tag}.tar`);
    part.finish(path);
    this.useAdapter(path);
    return path;
  }

  /** @throws CrayonError `disk-full` for a file that has no room here */
  refuseLarger(bytes: number, what: string): void {
    if (bytes <= this.maxBytes) return;
    throw new CrayonError(
      'disk-full',
      `${what}: ${formatBytes(bytes)}, and what is fetched may take ${formatBytes(this.maxBytes)}`,
      {
        hint: 'Allow more: --pool-cache, or pool_cache_mib in the YAML.',
      },
    );
  }

  /** Removes what was not of use for longest until the rest fits. */
  evict(): void {
    const entries = [
      ...this.#poolIds().flatMap((id) => this.#entriesOfPool(id)),
      ...this.#loose(PARTS),
      ...this.#loose(BLENDS),
    ];
    let bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    for (const entry of entries.sort((a, b) => a.usedMs - b.usedMs)) {
      if (bytes <= this.maxBytes) return;
      if (this.#used.has(entry.path)) continue;
      removePath(entry.path);
      bytes -= entry.bytes;
    }
  }

  #knownFile(address: string): string {
    return join(this.#root, `at-${sha256(address).slice(0, 32)}.json`);
  }

  #poolIds(): string[] {
    return exists(this.#root) ? entriesOf(this.#root).filter((name) => ID.test(name)) : [];
  }

  /** The adapters, and the rest as one. */
  #entriesOfPool(id: string): Entry[] {
    const dir = this.dirOf(id);
    const { adapters = [], general } = (readOptionalJson(join(dir, POOL_MANIFEST)) ?? {}) as Partial<PoolManifest>;
    const weights = membersOf({ adapters, general }).map((member) => join(dir, member.dir, ADAPTER_WEIGHTS));
    const rest = [POOL_MANIFEST, CENTROIDS].map((name) => join(dir, name)).filter(exists);
    const bytes = rest.reduce((sum, path) => sum + fileSize(path), 0);
    const marker = join(dir, FETCHED_POOL);
    return [
      ...weights.filter(exists).map(entryOf),
      { path: dir, bytes, usedMs: exists(marker) ? modifiedMs(marker) : 0 },
    ];
  }

  #loose(folder: string): Entry[] {
    const dir = join(this.#root, folder);
    return exists(dir) ? entriesOf(dir).map((name) => entryOf(join(dir, name))) : [];
  }
}

interface Entry {
  path: string;
  bytes: number;
  usedMs: number;
}

const entryOf = (path: string): Entry => ({ path, bytes: fileSize(path), usedMs: modifiedMs(path) });
