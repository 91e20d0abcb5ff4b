/**
 * `serve-pool`: a pool and its blends over HTTP, the paper's own deployment. A device fetches manifest and centroids, sends N numbers
 * and nothing else, and gets one merged adapter.
 */

import { join } from 'node:path';
import { sha256File } from '../../files/digest.js';
import { exists } from '../../files/io.js';
import { CRAYON_VERSION } from '../../files/package.js';
import { directoryVersion } from '../../files/siblings.js';
import { CHAT_TEMPLATE } from '../../hf/tokenizer.js';
import { ADAPTER_CONFIG } from '../../peft/config.js';
import { ADAPTER_WEIGHTS } from '../../peft/read.js';
import { CENTROIDS, membersOf, POOL_MANIFEST, type Pool, poolDigest } from '../../pool/pool.js';
import { withJson } from '../http/body.js';
import { type Call, compose, type Handler, type Middleware, unavailable } from '../http/call.js';
import { HttpError } from '../http/error.js';
import { isKnown, notModified, sendFile } from '../http/file.js';
import { dispatch, type RouteTable } from '../http/table.js';
import { createMeters, requestMetrics } from '../metrics.js';
import { createShell, type ShellSettings } from '../shell.js';
import type { PoolServerConfig } from './config.js';
import { BLEND_DTYPES, BLEND_FORMS, type BlendOrder, readOrder } from './order.js';
import type { BlendStore, KeptBlend, Origin } from './store.js';

export interface PoolAppOptions extends Omit<ShellSettings, 'metrics'> {
  pool: Pool;
  store: BlendStore;
  config: Pick<PoolServerConfig, 'files' | 'step' | 'model'>;
  limits: PoolServerConfig['limits'];
}

/** Beyond this, coefficients are in the adapter's crayon.json alone: clients bound their headers. */
const HEADER_CHARACTERS = 4096;

export function createPoolApp(options: PoolAppOptions) {
  const { pool, store, config, guard } = options;
  const metrics = createPoolMetrics(store);
  const digest = poolDigest(pool);
  const terms = {
    manifest: pool.manifest,
    digest,
    step: config.step,
    rank: options.limits.rank,
    hasGguf: config.model !== null,
  };

  const headersOf = ({ key, sha256 }: KeptBlend, order?: BlendOrder): Record<string, string> => {
    const numbers = order?.coefficients.join(',') ?? '';
    return {
      'content-type': order?.form === 'gguf' ? 'application/octet-stream' : 'application/x-tar',
      'content-location': `/v1/blends/${key}`,
      'cache-control': 'private, no-cache',
      'repr-digest': `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`,
      'x-crayon-pool': digest,
      'x-crayon-step': String(config.step),
      ...(order !== undefined && numbers.length <= HEADER_CHARACTERS && { 'x-crayon-coefficients': numbers }),
    };
  };
  const etagOf = (key: string) => `"${key}"`;

  const blend: Handler = withJson(options.limits.bodyBytes, async (call, body) => {
    const order = readOrder(body, terms);
    const etag = etagOf(store.keyOf(order));
    if (isKnown(call.request, etag)) {
      metrics.blend('unchanged');
      return notModified({ etag, 'x-crayon-pool': digest });
    }
    const started = performance.now();
    const { blend: found, origin } = await whileWanted(call, store.get(order));
    metrics.blend(origin);
    if (origin === 'made') call.note({ blendMs: Math.round(performance.now() - started) });
    metrics.sent(found.bytes);
    return sendFile({ path: found.path, etag, headers: headersOf(found, order) }, call);
  });

  const again: Handler = (call) => {
    const found = store.find(call.param);
    if (found === null)
      throw new HttpError(404, 'This blend is not kept any more: ask for it again.', { code: 'not_found' });
    return sendFile({ path: found.path, etag: etagOf(found.key), headers: headersOf(found) }, call);
  };

  const version = directoryVersion(pool.dir);
  const whileSame: Middleware = (call, next) => {
    if (directoryVersion(pool.dir) === version) return next(call);
    throw unavailable('The pool was replaced: this server is to be started again.', 'pool_replaced');
  };

  const table: RouteTable = {
    '/health': { name: 'health', isPublic: true, GET: () => Response.json({ status: 'ok' }) },
    '/metrics': {
      name: 'metrics',
      GET: async () => new Response(await metrics.text(), { headers: { 'content-type': metrics.contentType } }),
    },
    '/v1/blends': { name: 'blends', GET: () => Response.json(facts(options, digest)), POST: blend },
    '/v1/blends/*': { name: 'blends', GET: again },
    ...filesOf(pool, config.files),
  };
  const shell = createShell(
    { ...options, metrics },
    (_, failure) => failure.body,
    (whileRunning) =>
      dispatch(
        table,
        ({ isPublic = false }) => compose(...(isPublic ? [] : [guard.requireKey, whileSame]), whileRunning),
        (pathname) => new HttpError(404, `Unknown path: ${pathname.slice(0, 100)}.`, { code: 'unknown_url' }),
      ),
  );
  return shell;
}

/** A blend goes on being made when its client has gone: the next one finds it. */
function whileWanted<T>(call: Call, promise: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    call.signal.addEventListener('abort', () => reject(new Error('no longer wanted')), { once: true });
    promise.then(resolve, reject);
  });
}

function facts({ config, limits, pool: { manifest } }: PoolAppOptions, digest: string): object {
  const forms = BLEND_FORMS.filter((form) => form !== 'gguf' || config.model !== null);
  return {
    object: 'crayon.pool',
    version: CRAYON_VERSION,
    pool: digest,
    clusters: manifest.N,
    step: config.step,
    forms,
    dtypes: BLEND_DTYPES,
    combine: ['cat', 'svd'],
    rank: limits.rank,
    files: config.files,
  };
}

/** The pool's files, each under its own path, named by their digests. */
function filesOf({ dir, manifest }: Pool, withAdapters: boolean): RouteTable {
  const beside = membersOf(manifest).flatMap(({ dir: member }) =>
    [ADAPTER_CONFIG, ADAPTER_WEIGHTS, CHAT_TEMPLATE].map((name) => `${member}/${name}`),
  );
  const template = `${manifest.adapters[0]!.dir}/${CHAT_TEMPLATE}`;
  const names = [POOL_MANIFEST, CENTROIDS, ...(withAdapters ? beside : [template])];
  const known = new Map(membersOf(manifest).map((member) => [`${member.dir}/${ADAPTER_WEIGHTS}`, member.sha256]));
  const rows = names
    .filter((name) => exists(join(dir, name)))
    .map((name) => {
      const path = join(dir, name);
      // Manifest and centroids as they were when the server opened them; the adapters' digests are the manifest's.
      const etag = `"${(known.get(name) ?? sha256File(path)).slice(0, 32)}"`;
      const type = name.endsWith('.json') ? 'application/json' : 'application/octet-stream';
      const headers = { 'content-type': type, 'cache-control': 'no-cache' };
      const GET: Handler = (call) => sendFile({ path, etag, headers }, call);
      return [`/${name.split('/').map(encodeURIComponent).join('/')}`, { name: 'files', GET }] as const;
    });
  return Object.fromEntries(rows);
}

function createPoolMetrics(store: BlendStore) {
  const meters = createMeters();
  const { registry, counter, gauge } = meters;
  const blends = counter('blends_total', 'Blends asked for, by how they were come by', ['origin']);
  const bytes = counter('blend_bytes_total', 'Bytes of blends that were sent', []);
  gauge('blends_running', 'Blends being made', () => store.load().running);
  gauge('blends_waiting', 'Blends that wait to be made', () => store.load().waiting);
  gauge('blends_capacity', 'Blends that can be made at a time', () => store.load().capacity);
  gauge('blends_queue', 'Blends that may wait', () => store.load().queue);
  gauge('blends_kept', 'Blends that are kept', () => store.load().kept);
  gauge('blends_kept_bytes', 'Their bytes', () => store.load().bytes);
  return {
    ...requestMetrics(meters),
    contentType: registry.contentType,
    text: (): Promise<string> => registry.metrics(),
    blend: (origin: Origin | 'unchanged'): void => blends.inc({ origin }),
    sent: (size: number): void => bytes.inc(size),
  };
}
