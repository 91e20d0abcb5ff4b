/**
 * A blend that is made where the pool is: `crayon serve-pool` gets N numbers, and gives one merged adapter. The numbers are all that
 * leaves the device, rounded to what a blend needs.
 */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { warn } from '../core/warning.js';
import { writeDirectoryAtomic } from '../files/atomic.js';
import { sha256, sha256File } from '../files/digest.js';
import { fileSize } from '../files/io.js';
import { readJsonObject } from '../files/json.js';
import { unpackInto } from '../files/tar.js';
import { ADAPTER_RECORD_FILE } from '../hf/adapter-record.js';
import { CHAT_TEMPLATE } from '../hf/tokenizer.js';
import { ADAPTER_CONFIG } from '../peft/config.js';
import { ADAPTER_WEIGHTS, openPeftAdapter } from '../peft/read.js';
import { poolDigest } from '../pool/pool.js';
import type { RemotePool } from './place.js';
import { shownUrl } from './url.js';

export interface AskedBlend {
  /** of the base LoRAs (N) */
  coefficients: readonly number[];
  combine: 'cat' | 'svd';
  /** of svd; the largest in the pool when absent */
  rank?: number | undefined;
  dtype?: 'F32' | 'F16' | 'BF16' | undefined;
  /** the adapter directory to write */
  out: string;
  force?: boolean | undefined;
}

const BLENDS = 'v1/blends';
/** Decimals of the coefficients that are sent. */
const DECIMALS = 3;
const FILES = [ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTER_RECORD_FILE, CHAT_TEMPLATE];

/**
 * Asks for a blend and writes the adapter's directory. One that was brought before is asked about by its ETag, and used as it is where
 * there is no network.
 *
 * @throws CrayonError as PoolServer.made; `server-invalid` for what is no blend of these coefficients' pool, `output-exists`
 */
export async function blendOnServer(pool: RemotePool, asked: AskedBlend): Promise<ReturnType<typeof readBrought>> {
  const started = performance.now();
  const { combine, rank, dtype, out, force } = asked;
  const document = {
    pool: poolDigest(pool),
    coefficients: asked.coefficients.map((x) => Number(x.toFixed(DECIMALS))),
    combine: combine === 'svd' && rank !== undefined ? `svd:${rank}` : combine,
    ...(dtype !== undefined && { dtype }),
  };
  const path = await fetchBlend(pool, document);
  let brought: ReturnType<typeof readBrought> | undefined;
  writeDirectoryAtomic(out, { force: force ?? false, marker: ADAPTER_CONFIG }, (dir) => {
    unpackInto(path, dir, FILES);
    brought = readBrought(dir, pool, asked.coefficients.length, performance.now() - started);
  });
  return brought!;
}

/** @returns the archive in the cache */
async function fetchBlend({ server, cache, url, isOffline }: RemotePool, document: object): Promise<string> {
  const request = sha256(JSON.stringify([url.href, document])).slice(0, 32);
  const kept = cache.blend(request);
  if (isOffline) {
    if (kept === null) {
      throw new CrayonError('server-unreachable', `pool ${shownUrl(url)}: this blend was not fetched before`, {
        hint: 'Without a network only blends of the same examples are here.',
      });
    }
    warn(`pool ${shownUrl(url)}: the blend is the one that was fetched before.`);
    return kept.path;
  }
  const part = cache.part(`blend-${request}`);
  try {
    const most = Math.min(LIMITS.poolAdapterBytes, cache.maxBytes);
    const headers = await server.made(BLENDS, document, most, part, kept?.etag ?? null);
    if (headers === null) return kept!.path;
    return cache.keepBlend(request, headers.get('etag'), part);
  } finally {
    part.release();
    cache.evict();
  }
}

/**
 * What came, looked at as a stranger's adapter is; of the right pool, and finite. Its coefficients are those that the server rounded, and
 * its modules' `relativeError` is NaN: the server does not say.
 */
function readBrought(dir: string, pool: RemotePool, N: number, ms: number) {
  const refuse = (problem: string) =>
    new CrayonError('server-invalid', `pool ${shownUrl(pool.url)}: sent an adapter ${problem}`);
  const adapter = openPeftAdapter(dir);
  try {
    adapter.validate();
    const { pool: of, coefficients } = readJsonObject(join(dir, ADAPTER_RECORD_FILE), LIMITS.jsonBytes);
    if (of !== poolDigest(pool)) throw refuse('of another pool');
    const isList = Array.isArray(coefficients) && coefficients.length >= N;
    if (!isList || !coefficients.every((x) => Number.isFinite(x)))
      throw refuse('without the coefficients that it is made of');
    const weights = join(dir, ADAPTER_WEIGHTS);
    return {
      coefficients: coefficients.slice(0, N),
      blend: {
        modules: adapter.modules.map(({ name, r }) => ({ name, rank: r, relativeError: Number.NaN })),
        rank: adapter.config.r,
        bytes: fileSize(weights),
        ms,
        digest: sha256File(weights),
        notices: [],
      },
    };
  } finally {
    adapter.close();
  }
}
