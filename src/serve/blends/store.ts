/**
 * The blends of serve-pool: made on threads, kept as files under what they are made of, found again by whoever asks for the same.
 * Requests for a blend that is being made wait for that one; the number of those that are to be made, and the bytes that are kept,
 * have bounds.
 */

import { join } from 'node:path';
import { CrayonError } from '../../core/errors.js';
import { formatBytes } from '../../core/format.js';
import { threadScript } from '../../core/long-work.js';
import { createSlots } from '../../engine/slots.js';
import { workThread } from '../../engine/thread.js';
import { ensureDirectory } from '../../files/atomic.js';
import { sha256 } from '../../files/digest.js';
import { entriesOf, exists, fileSize, modifiedMs, removePath, renamePath, touchQuietly } from '../../files/io.js';
import { CRAYON_VERSION } from '../../files/package.js';
import type { Pool } from '../../pool/pool.js';
import type { BlendOrder } from './order.js';

/** What all jobs of a thread have in common. */
export interface MakePlace {
  pool: string;
  /** of its manifest: another pool in its place is not blended */
  digest: string;
  /** the base model; null where no GGUF is made */
  model: string | null;
}

export interface MakeJob {
  order: BlendOrder;
  /** the file to write, whole or not at all */
  out: string;
}

export interface MadeFile {
  bytes: number;
  sha256: string;
  ms: number;
}

/** A blend that is kept. */
export interface KeptBlend {
  /** of what it is made of; its name */
  key: string;
  path: string;
  bytes: number;
  sha256: string;
}

/** How a blend was come by. */
export type Origin = 'kept' | 'joined' | 'made';

export interface StoreOptions extends MakePlace {
  /** of the base model, for the names of GGUF files */
  base: string | null;
  dir: string;
  cacheBytes: number;
  workers: number;
  queue: number;
}

const NAME = /^([0-9a-f]{32})\.([0-9a-f]{64})\.(tar|gguf)$/;

export type BlendStore = ReturnType<typeof openBlendStore>;

/** @throws CrayonError `write-failed` for a directory that cannot be made */
export function openBlendStore(options: StoreOptions) {
  const { dir, digest, base, pool, model, cacheBytes, workers, queue } = options;
  ensureDirectory(dir);
  // In the order of their use: the first was not of use for longest.
  const kept = new Map<string, KeptBlend>();
  for (const one of found(dir)) kept.set(one.key, one);
  let bytes = [...kept.values()].reduce((sum, one) => sum + one.bytes, 0);
  const making = new Map<string, Promise<KeptBlend>>();
  const slots = createSlots('blends', workers, queue);
  const place: MakePlace = { pool, digest, model };
  const script = threadScript(import.meta.url, 'blend-file-worker');
  const idle = Array.from({ length: workers }, () => workThread<MakeJob, MadeFile>(script, place));
  const threads = [...idle];
  const closing = new AbortController();

  const keyOf = (order: BlendOrder): string => {
    const of = order.form === 'gguf' ? base : null;
    return sha256(JSON.stringify([CRAYON_VERSION, digest, of, order])).slice(0, 32);
  };
  const forget = (one: KeptBlend): void => {
    kept.delete(one.key);
    bytes -= one.bytes;
  };
  const find = (key: string): KeptBlend | null => {
    const one = kept.get(key);
    if (one === undefined) return null;
    kept.delete(key);
    if (!exists(one.path)) {
      bytes -= one.bytes; // another server, or somebody who wanted the room
      return null;
    }
    kept.set(key, one);
    touchQuietly(one.path);
    return one;
  };
  const evict = (): void => {
    for (const one of kept.values()) {
      if (bytes <= cacheBytes || kept.size === 1) return;
      removePath(one.path); // who is reading it has it open
      forget(one);
    }
  };
  const make = async (key: string, order: BlendOrder): Promise<KeptBlend> => {
    const release = await slots.take(closing.signal);
    const thread = idle.pop()!;
    const temporary = join(dir, `${key}.new`);
    try {
      const { sha256: of, bytes: size } = await thread.run({ order, out: temporary }, closing.signal);
      const path = join(dir, `${key}.${of}.${order.form === 'gguf' ? 'gguf' : 'tar'}`);
      renamePath(temporary, path);
      const one = { key, path, bytes: size, sha256: of };
      kept.set(key, one);
      bytes += size;
      evict();
      return one;
    } finally {
      idle.push(thread);
      release();
    }
  };

  return {
    keyOf,
    /** A blend that is here, by its key. */
    find,
    /** @throws CrayonError `engine-busy` where too many wait, and what the blend throws */
    async get(order: BlendOrder): Promise<{ blend: KeptBlend; origin: Origin }> {
      const key = keyOf(order);
      const before = find(key);
      if (before !== null) return { blend: before, origin: 'kept' };
      const underWay = making.get(key);
      if (underWay !== undefined) return { blend: await underWay, origin: 'joined' };
      const made = make(key, order).finally(() => making.delete(key));
      making.set(key, made);
      return { blend: await made, origin: 'made' };
    },
    load: () => ({ ...slots.load(), kept: kept.size, bytes }),
    close(): void {
      closing.abort();
      for (const thread of threads) thread.close();
    },
  };
}

function found(dir: string): KeptBlend[] {
  const files = entriesOf(dir).flatMap((name) => {
    const path = join(dir, name);
    const [, key, of] = NAME.exec(name) ?? [];
    return key === undefined ? [] : [{ key, path, bytes: fileSize(path), sha256: of!, usedMs: modifiedMs(path) }];
  });
  return files.sort((a, b) => a.usedMs - b.usedMs).map(({ usedMs: _, ...one }) => one);
}

/** About the memory that one blend takes at a time: the factors of its largest module, with those of all adapters, a few times over. */
export function blendBytes(pool: Pool): number {
  const adapters = pool.openMembers();
  const parts = new Map<string, { k: number; sides: number }>();
  for (const { modules } of adapters) {
    for (const { name, r, in: inputs, out } of modules) {
      parts.set(name, { k: (parts.get(name)?.k ?? 0) + r, sides: inputs + out });
    }
  }
  for (const adapter of adapters) adapter.close();
  const largest = [...parts.values()].map(({ k, sides }) => 8 * (3 * k * sides + 4 * k * k));
  return THREAD_BYTES + Math.max(...largest);
}

/** Of a thread with this program in it. */
const THREAD_BYTES = 64 * 2 ** 20;

/** @throws CrayonError `memory-too-small` where not one blend fits */
export function workersFor(pool: Pool, wanted: number, memoryBytes: number): number {
  const each = blendBytes(pool);
  const fitting = Math.min(wanted, Math.floor(memoryBytes / each));
  if (fitting >= 1) return fitting;
  throw new CrayonError(
    'memory-too-small',
    `memory_mib: ${formatBytes(memoryBytes)}, and a blend takes ${formatBytes(each)}`,
    {
      hint: 'Allow more memory, or build a pool of fewer or smaller adapters.',
    },
  );
}
