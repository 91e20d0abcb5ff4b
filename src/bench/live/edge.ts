/** One edge server of the live run: on a device, behind a network, with or without the user's adapter and thresholds. */

import { CrayonError } from '../../core/errors.js';
import { type ChatClient, openChatClient } from '../../engine/server/chat-client.js';
import { HfModel } from '../../hf/model.js';
import type { Thresholds } from '../../routing/types.js';
import type { BenchLive } from './config.js';
import { type Device, deviceSettings } from './devices.js';
import { type NetworkName, networkShape } from './network/networks.js';
import { openShapingProxy, type ShapingProxy } from './network/proxy.js';
import { type LiveServer, startServer } from './process.js';

/** The server LLM: crayon's own, running, or an endpoint of the configuration. */
export interface LiveUpstream {
  baseUrl: string;
  model: string;
  apiKeyEnv: string | null;
}

/** In place of an adapter's path. */
export const GATE = Symbol('per-query gate');

export interface LiveEdgeOptions {
  command: readonly string[];
  /** an existing directory for its configuration */
  dir: string;
  name: string;
  base: string;
  cacheDir: string;
  /** the user's blend; GATE: the pool's adapters, weighed for each prompt; null: the base model */
  adapter: string | typeof GATE | null;
  /** for the scope signal; the pool's embedding where the pool is given */
  examples: string | null;
  pool: string | null;
  thresholds: Thresholds;
  confidence: BenchLive['confidence'];
  device: Device;
  network: NetworkName;
  upstream: LiveUpstream;
  seed: number;
  env?: NodeJS.ProcessEnv;
  signal?: AbortSignal | undefined;
}

export interface LiveEdge {
  client: ChatClient;
  server: LiveServer;
  stop(): Promise<void>;
}

/** @throws CrayonError what starting throws; `config-invalid` for a network before an endpoint that is spoken to by TLS */
export async function startEdge(options: LiveEdgeOptions): Promise<LiveEdge> {
  const { device, upstream, network, adapter, examples, pool, env, signal } = options;
  const proxy = await proxyTo(upstream.baseUrl, network, options.seed);
  try {
    const { model, engine } = deviceSettings(device, options.base, contextOf(options.base));
    const server = await startServer({
      command: options.command,
      dir: options.dir,
      name: options.name,
      signal,
      ...(env === undefined ? {} : { env }),
      memoryBytes: device.memoryMib === null ? null : device.memoryMib * 2 ** 20,
      config: {
        model,
        name: 'edge',
        cache_dir: options.cacheDir,
        engine,
        ...(adapter === null ? {} : adapter === GATE ? { gate: 'per-query' } : { adapter }),
        ...(examples === null ? {} : { examples }),
        ...(pool === null ? {} : { pool }),
        routing: {
          mode: 'prefer_on_device',
          // without examples there is no scope
          thresholds: { ...options.thresholds, ...(examples === null ? { scope: null } : {}) },
          confidence: options.confidence,
        },
        server: {
          base_url: proxy === null ? upstream.baseUrl : through(upstream.baseUrl, proxy.port),
          model: upstream.model,
          api_key_env: upstream.apiKeyEnv,
        },
      },
    });
    const client = openChatClient({ baseUrl: server.baseUrl, model: server.model });
    return {
      client,
      server,
      stop: async () => {
        await server.stop();
        await proxy?.close();
      },
    };
  } catch (error) {
    await proxy?.close();
    throw error;
  }
}

function contextOf(base: string): number {
  const model = HfModel.open(base);
  try {
    return model.config.maxPositionEmbeddings;
  } finally {
    model.close();
  }
}

async function proxyTo(baseUrl: string, network: NetworkName, seed: number): Promise<ShapingProxy | null> {
  const shape = networkShape(network);
  if (shape === null) return null;
  const { protocol, hostname, port } = new URL(baseUrl);
  if (protocol !== 'http:') {
    throw new CrayonError(
      'config-invalid',
      `network ${network} cannot be put before ${baseUrl}, which is not plain http`,
      {
        hint: 'Through the proxy its certificate would not fit. Emulate networks before a server on this machine.',
      },
    );
  }
  const host = hostname.replace(/^\[|\]$/g, '');
  return openShapingProxy({ target: { host, port: port === '' ? 80 : Number(port) }, shape, seed });
}

function through(baseUrl: string, port: number): string {
  const url = new URL(baseUrl);
  url.hostname = '127.0.0.1';
  url.port = String(port);
  return url.href.replace(/\/$/, '');
}
