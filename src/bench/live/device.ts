/**
 * Where the live run's servers stand: a device's server, of a class, behind a network, with or without the user's adapter and
 * thresholds; and the networks and devices that the command line lays over those of the configuration.
 *
 * A device is the settings with which its server is started. They limit what it may use of this machine; they do not make its
 * processor another one, so times are of this machine with these limits.
 */

import { CrayonError, isCrayonError } from '../../core/errors.js';
import type { Progress } from '../../core/long-work.js';
import { type ChatClient, openChatClient } from '../../engine/server/chat-client.js';
import { openBase } from '../../gguf/base.js';
import type { Thresholds } from '../../routing/signals/index.js';
import type { BenchRunDirectory } from '../run-directory.js';
import type { BenchConfig } from '../settings.js';
import { NETWORK_NAMES, type NetworkName, networkShape } from './network/networks.js';
import { openShapingProxy } from './network/proxy.js';
import { HOME, type Place } from './plan.js';
import { withServer } from './process.js';
import { type BenchDevice, type BenchLive, CONDITIONS_SCHEMA } from './settings.js';

export type Device = BenchDevice & Required<Pick<BenchDevice, 'threads' | 'type'>>;

/** Round numbers of what such devices give to one program; the default has the model's own context, at most 4096. */
export const DEVICES: Readonly<Record<string, Device>> = {
  default: { threads: 'auto', type: 'F16' },
  laptop: { threads: 4, context: 4096, type: 'F16', memory_mib: 8192 },
  phone: { threads: 2, context: 2048, type: 'Q8_0', memory_mib: 2048 },
  board: { threads: 1, context: 512, type: 'Q8_0', memory_mib: 512 },
};

/**
 * A class by name, or one of the configuration's own, whose missing settings are the default's.
 *
 * @throws CrayonError `config-invalid` for a name that is neither
 */
export function deviceOf(name: string, configured: Readonly<Record<string, BenchDevice>> = {}): Device {
  if (Object.hasOwn(configured, name)) return { ...DEVICES.default!, ...configured[name] };
  if (Object.hasOwn(DEVICES, name)) return DEVICES[name]!;
  const known = [...Object.keys(DEVICES), ...Object.keys(configured)].join(', ');
  throw new CrayonError('config-invalid', `device ${JSON.stringify(name)} is not known, expected one of ${known}`);
}

/**
 * As keys of the configuration of the device's server.
 *
 * @param baseContext tokens that the base was made for: a device with room for more gives no more
 */
export function deviceSettings({ threads, context, type, gguf }: Device, base: string, baseContext: number) {
  return { model: gguf ?? base, engine: { threads, type, context: context && Math.min(context, baseContext) } };
}

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
  const model = openBase(base, { someWeights: true });
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

export interface ConditionFlags {
  network?: string[];
  device?: string[];
  /** all networks and device classes */
  conditions?: boolean;
}

/**
 * Every named device is looked up, so that a run does not end at one that is misspelt.
 *
 * @throws CrayonError `bad-option` for an unknown name, or where the configuration has neither live nor load
 */
export function withConditions(config: BenchConfig, flags: ConditionFlags): BenchConfig {
  const { network: networks, device: devices, conditions = false } = flags;
  const { live, load } = config;
  const unknown = (networks ?? []).filter((name) => !(NETWORK_NAMES as readonly string[]).includes(name));
  if (unknown.length > 0) {
    throw new CrayonError('bad-option', `--network ${unknown.join(',')}: expected of ${NETWORK_NAMES.join(', ')}`);
  }
  let merged = config;
  if (networks !== undefined || devices !== undefined || conditions) {
    if (live === undefined && load === undefined) {
      throw new CrayonError('bad-option', '--network, --device and --conditions are for running servers', {
        hint: 'Give the configuration a section live or load: see configs/bench/hybrid.yaml.',
      });
    }
    const named = { ...(networks && { networks: networks as NetworkName[] }), ...(devices && { devices }) };
    const classes = new Set([...Object.keys(DEVICES), ...Object.keys(config.devices ?? {})]);
    const all = conditions ? { networks: [...NETWORK_NAMES], devices: [...classes] } : {};
    const before = live?.conditions ?? CONDITIONS_SCHEMA.parse({});
    merged = {
      ...config,
      ...(live && { live: { ...live, conditions: { ...before, ...all, ...named } } }),
      // --conditions is about the router; load takes what is named
      ...(load && { load: { ...load, ...named } }),
    };
  }
  for (const name of [...(merged.live?.conditions?.devices ?? []), ...(merged.load?.devices ?? [])]) {
    deviceOf(name, config.devices);
  }
  return merged;
}
