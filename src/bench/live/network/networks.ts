/** Networks by name, between the edge and the server. */

import { NETWORK_NAMES, type NetworkName } from '../config.js';
import type { NetworkShape } from './proxy.js';

export const NETWORKS = NETWORK_NAMES;
export type { NetworkName } from '../config.js';

interface Profile {
  /** round trip without load */
  rttMs: number;
  jitterMs: number;
  /** megabits a second; null is without limit */
  down: number | null;
  up: number | null;
  outages: { everyMs: number; lastsMs: number } | null;
  offline?: true;
  source: string;
}

/**
 * | name | round trip | down / up | jitter, one way | outages |
 * |---|---|---|---|---|
 * | loopback | 0 | no limit | 0 | none |
 * | lan | 1 ms | 1000 / 1000 Mbit/s | 0.1 ms | none |
 * | wifi | 4 ms | 30 / 15 Mbit/s | 2 ms | none |
 * | 4g | 170 ms | 9 / 9 Mbit/s | 20 ms | 1 s, every 2 min |
 * | 3g | 300 ms | 1.6 / 0.768 Mbit/s | 50 ms | 2 s, every min |
 * | offline | - | - | - | always |
 *
 * Jitter and outages have no common source: they are crayon's own choice, of the order that mobile networks show.
 */
export const NETWORK_PROFILES: Record<NetworkName, Profile> = {
  loopback: { rttMs: 0, jitterMs: 0, down: null, up: null, outages: null, source: 'no proxy at all' },
  lan: {
    rttMs: 1,
    jitterMs: 0.1,
    down: 1000,
    up: 1000,
    outages: null,
    source: 'gigabit Ethernet; own choice of delay',
  },
  wifi: {
    rttMs: 4,
    jitterMs: 2,
    down: 30,
    up: 15,
    outages: null,
    source: 'Firefox developer tools, throttling profile "Wi-Fi": 30 / 15 Mbit/s, 2 ms each way',
  },
  '4g': {
    rttMs: 170,
    jitterMs: 20,
    down: 9,
    up: 9,
    outages: { everyMs: 120_000, lastsMs: 1000 },
    source: 'WebPageTest connectivity profile "4G": 9 / 9 Mbit/s, 170 ms',
  },
  '3g': {
    rttMs: 300,
    jitterMs: 50,
    down: 1.6,
    up: 0.768,
    outages: { everyMs: 60_000, lastsMs: 2000 },
    source: 'WebPageTest connectivity profile "3G": 1.6 / 0.768 Mbit/s, 300 ms',
  },
  offline: {
    rttMs: 0,
    jitterMs: 0,
    down: null,
    up: null,
    outages: null,
    offline: true,
    source: 'every connection is reset',
  },
};

/** null where nothing is to stand between edge and server. */
export function networkShape(name: NetworkName): NetworkShape | null {
  if (name === 'loopback') return null;
  const { rttMs, jitterMs, down, up, outages, offline = false } = NETWORK_PROFILES[name];
  const link = (megabits: number | null) => ({
    delayMs: rttMs / 2,
    jitterMs,
    bitsPerSecond: megabits === null ? null : megabits * 1e6,
  });
  return { up: link(up), down: link(down), outages, offline };
}
