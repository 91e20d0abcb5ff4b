/** Networks and devices from the command line, laid over those of the configuration. */

import { CrayonError } from '../../core/errors.js';
import type { BenchConfig } from '../settings.js';
import { DEVICES, deviceOf } from './devices.js';
import { NETWORK_NAMES, type NetworkName } from './network/networks.js';
import { CONDITIONS_SCHEMA } from './settings.js';

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
  const named = {
    ...(network && { networks: network as NetworkName[] }),
    ...(device && { devices: device }),
  };
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
