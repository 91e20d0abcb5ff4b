/** `serve-pool` in this process, on a real socket, and a wire before it that keeps what passes and can be cut. */

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Writable } from 'node:stream';
import { onTestFinished } from 'vitest';
import { createPoolApp } from '../../src/serve/blends/app.js';
import { assemblePool, type PoolParts } from '../../src/serve/blends/assemble.js';
import { loadPoolServerConfig, type PoolServerOverrides } from '../../src/serve/blends/config.js';
import { createCors } from '../../src/serve/http/cors.js';
import { createGuard } from '../../src/serve/http/guard.js';
import { listen } from '../../src/serve/http/listen.js';
import { createLog } from '../../src/serve/log.js';
import { temporaryDir } from './files.js';

export const POOL = 'models/crayon-edge-pool';

export interface PoolServerRig {
  url: string;
  port: number;
  parts: PoolParts;
  cacheDir: string;
  log: string[];
  post(body: unknown, headers?: Record<string, string>): Promise<Response>;
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

export async function poolServer(
  overrides: PoolServerOverrides = {},
  apiKey: string | null = null,
): Promise<PoolServerRig> {
  const cacheDir = overrides.cache_dir ?? temporaryDir();
  const config = loadPoolServerConfig(null, { pool: POOL, port: 0, cache_dir: cacheDir, ...overrides });
  const parts = assemblePool(config, config.pool);
  const log: string[] = [];
  const stream = new Writable({
    write(chunk, _, done) {
      log.push(String(chunk));
      done();
    },
  });
  let ids = 0;
  const app = createPoolApp({
    ...parts,
    config,
    limits: config.limits,
    guard: createGuard({ apiKey, host: config.host, allowedHosts: [] }),
    cors: createCors([]),
    log: createLog({ level: 'info', stream, pretty: false }),
    newId: () => `req_${ids++}`,
  });
  const { url, port, stop } = await listen(app, { host: '127.0.0.1', port: 0 });
  let isStopped = false;
  const end = async (): Promise<void> => {
    if (isStopped) return;
    isStopped = true;
    await stop(0);
    parts.close();
  };
  onTestFinished(end);
  return {
    ...{ url, port, parts, cacheDir, log, stop: end },
    post: (body, headers = {}) =>
      fetch(`${url}/v1/blends`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      }),
    metrics: async () => await (await fetch(`${url}/metrics`)).text(),
  };
}

export interface Wire {
  url: string;
  /** everything that the client sent, and that it was sent */
  up: string;
  down: number;
  /** the next so many bytes of answers pass, then all connections are cut; null: none is */
  cutAfter: number | null;
}

export async function wireTo(port: number): Promise<Wire> {
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (bytes) => {
      wire.up += bytes.toString('latin1');
      upstream.write(bytes);
    });
    upstream.on('data', (bytes) => {
      const passing = wire.cutAfter === null ? bytes : bytes.subarray(0, wire.cutAfter);
      wire.down += passing.length;
      client.write(passing);
      if (wire.cutAfter === null) return;
      wire.cutAfter -= passing.length;
      if (wire.cutAfter > 0) return;
      wire.cutAfter = null;
      client.end(() => client.destroy());
      upstream.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  const wire: Wire = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    up: '',
    down: 0,
    cutAfter: null,
  };
  return wire;
}
