/** Networks and devices from the command line, laid over those of the configuration. */

import { CrayonError } from '../../core/errors.js';
import type { BenchConfig } from '../config.js';
import { NETWORK_NAMES, type NetworkName } from './config.js';
import { DEVICES, deviceOf } from './devices.js';

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
  const { network, device, conditions = false } = flags;
  const { live, load } = config;
  const unknown = (network ?? []).filter((name) => !(NETWORK_NAMES as readonly string[]).includes(name));
  if (unknown.length > 0) {
    throw new CrayonError('bad-option', `--network ${unknown.join(',')}: expected of ${NETWORK_NAMES.join(', ')}`);
  }
  const isAsked = network !== undefined || device !== undefined || conditions;
  if (isAsked && live === undefined && load === undefined) {
    throw new CrayonError('bad-option', '--network, --device and --conditions are for running servers', {
      hint: 'Give the configuration a section live or load: see configs/bench/hybrid.yaml.',
    });
  }
  const classes = [...Object.keys(DEVICES), ...Object.keys(config.devices ?? {})];
  const networks = (network as NetworkName[] | undefined) ?? (conditions ? [...NETWORK_NAMES] : undefined);
  const devices = device ?? (conditions ? [...new Set(classes)] : undefined);
  const over = { ...(networks === undefined ? {} : { networks }), ...(devices === undefined ? {} : { devices }) };
  const merged: BenchConfig = isAsked
    ? {
        ...config,
        ...(live === undefined
          ? {}
          : {
              live: {
                ...live,
                conditions: {
                  ...(live.conditions ?? { networks: ['loopback'], devices: ['default'], users: null }),
                  ...over,
                },
              },
            }),
        // --conditions is about the router; load takes what is named
        ...(load === undefined
          ? {}
          : {
              load: {
                ...load,
                ...(network === undefined ? {} : { networks: networks! }),
                ...(device === undefined ? {} : { devices: device }),
              },
            }),
      }
    : config;
  for (const name of [...(merged.live?.conditions?.devices ?? []), ...(merged.load?.devices ?? [])]) {
    deviceOf(name, config.devices);
  }
  return merged;
}
