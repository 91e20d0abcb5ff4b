/**
 * Under which conditions running servers are measured: devices by class, and the networks and devices that the command line
 * lays over those of the configuration.
 *
 * A device is the settings with which its server is started. They limit what it may use of this machine; they do not make its
 * processor another one, so times are of this machine with these limits.
 */

import { CrayonError } from '../../core/errors.js';
import type { BenchConfig } from '../settings.js';
import { NETWORK_NAMES, type NetworkName } from './network/networks.js';
import { type BenchDevice, CONDITIONS_SCHEMA } from './settings.js';

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
  const merged = laidOver(config, flags);
  for (const name of [...(merged.live?.conditions?.devices ?? []), ...(merged.load?.devices ?? [])]) {
    deviceOf(name, config.devices);
  }
  return merged;
}

function laidOver(config: BenchConfig, { network, device, conditions = false }: ConditionFlags): BenchConfig {
  const { live, load } = config;
  const unknown = (network ?? []).filter((name) => !(NETWORK_NAMES as readonly string[]).includes(name));
  if (unknown.length > 0) {
    throw new CrayonError('bad-option', `--network ${unknown.join(',')}: expected of ${NETWORK_NAMES.join(', ')}`);
  }
  if (network === undefined && device === undefined && !conditions) return config;
  if (live === undefined && load === undefined) {
    throw new CrayonError('bad-option', '--network, --device and --conditions are for running servers', {
      hint: 'Give the configuration a section live or load: see configs/bench/hybrid.yaml.',
    });
  }
  const named = { ...(network && { networks: network as NetworkName[] }), ...(device && { devices: device }) };
  const classes = new Set([...Object.keys(DEVICES), ...Object.keys(config.devices ?? {})]);
  const all = conditions ? { networks: [...NETWORK_NAMES], devices: [...classes] } : {};
  return {
    ...config,
    ...(live && {
      live: { ...live, conditions: { ...(live.conditions ?? CONDITIONS_SCHEMA.parse({})), ...all, ...named } },
    }),
    // --conditions is about the router; load takes what is named
    ...(load && { load: { ...load, ...named } }),
  };
}
