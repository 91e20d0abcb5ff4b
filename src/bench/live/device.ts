/** One device's server of the live run: of a class, behind a network, with or without the user's adapter and thresholds. */

import { CrayonError, isCrayonError } from '../../core/errors.js';
import type { Progress } from '../../core/long-work.js';
import { type ChatClient, openChatClient } from '../../engine/server/chat-client.js';
import { HfModel } from '../../hf/model.js';
import type { Thresholds } from '../../routing/signals/index.js';
import type { BenchRunDirectory } from '../run-directory.js';
import type { BenchConfig } from '../settings.js';
import { deviceOf, deviceSettings } from './conditions.js';
import { type NetworkName, networkShape } from './network/networks.js';
import { openShapingProxy } from './network/proxy.js';
import { HOME, type Place } from './plan.js';
import { withServer } from './process.js';
import type { BenchLive } from './settings.js';

/** The server LLM: crayon's own, running, or an endpoint of the configuration. */
export type LiveUpstream = NonNullable<BenchLive['endpoint']>;

/** What all servers of a run share. */
export interface LiveContext {
  config: BenchConfig;
  /** where cells go */
  directory: BenchRunDirectory;
  /** what starts crayon: program and first arguments */
  command: readonly string[];
  /** the base model, and a pool of it */
  base: string;
  pool: string;
  /** the pool where its embedding needs no forward pass, so that a device can measure scope by it */
  scopePool: string | undefined;
  upstream: LiveUpstream;
  /** for exported models, which are used again, and the users' files */
  cacheDir: string;
  env: NodeJS.ProcessEnv | undefined;
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

export interface DeviceServerOptions {
  /** an existing directory for its configuration */
  dir: string;
  /** the user's blend, or the pool's adapters weighed for each prompt, or neither: the base model */
  blend: { adapter?: string; gate?: 'per-query' };
  /** for the scope signal; the pool's embedding where the pool is given */
  examples: string | undefined;
  pool: string | undefined;
  thresholds: Thresholds;
  place: Place;
}

export interface DeviceServer {
  client: ChatClient;
  /** fires when the run is stopped, and when the server is over before its time */
  signal: AbortSignal;
}

/**
 * Starts a device's server, works with it, and stops it.
 *
 * @throws CrayonError what starting and working throw; `config-invalid` for a network before an endpoint that is spoken to by
 *   TLS
 */
export async function withDevice<T>(
  context: LiveContext,
  { dir, blend, examples, pool, thresholds, place }: DeviceServerOptions,
  work: (server: DeviceServer) => Promise<T>,
): Promise<T> {
  const { config, upstream, base, command, env, signal } = context;
  const device = deviceOf(place.device, config.devices);
  const modelSettings = deviceSettings(device, base, contextOf(base));
  const proxy = await behind(place.network, upstream.base_url, config.seed);
  const settings = {
    ...modelSettings,
    name: 'edge',
    cache_dir: context.cacheDir,
    ...blend,
    examples,
    pool,
    routing: {
      mode: 'prefer_on_device',
      // without examples there is no scope
      thresholds: { ...thresholds, ...(examples === undefined && { scope: null }) },
      confidence: config.live?.confidence ?? { measure: 'mean-logprob', tokens: 16 },
    },
    server: { ...upstream, base_url: proxy?.base_url ?? upstream.base_url },
  };
  const memoryBytes = device.memory_mib && device.memory_mib * 2 ** 20;
  try {
    return await withServer({ command, dir, name: 'edge', signal, env, memoryBytes, config: settings }, (server) => {
      const client = openChatClient({ baseUrl: server.baseUrl, model: server.model });
      return work({ client, signal: AbortSignal.any([signal, server.failed]) });
    });
  } finally {
    await proxy?.close();
  }
}

/** Whether a device could not hold the server: that is a result, not a failure of the run. */
export function isTooSmall(error: unknown, device: string): error is CrayonError {
  return isCrayonError(error, 'out-of-memory') && device !== HOME.device;
}

function contextOf(base: string): number {
  const model = HfModel.open(base);
  try {
    return model.config.maxPositionEmbeddings;
  } finally {
    model.close();
  }
}

/** The server LLM as it is behind a network: through a proxy; null where nothing is to stand between. */
async function behind(network: NetworkName, baseUrl: string, seed: number) {
  const shape = networkShape(network);
  if (shape === null) return null;
  const url = new URL(baseUrl);
  if (url.protocol !== 'http:') {
    const message = `network ${network} cannot be put before ${baseUrl}, which is not plain http`;
    throw new CrayonError('config-invalid', message, {
      hint: 'Through the proxy its certificate would not fit. Emulate networks before a server on this machine.',
    });
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const { port, close } = await openShapingProxy({ target: { host, port: Number(url.port || 80) }, shape, seed });
  url.hostname = '127.0.0.1';
  url.port = String(port);
  return { base_url: url.href.replace(/\/$/, ''), close };
}
