/** Networks by name, between device and server. */

import type { NetworkShape } from './proxy.js';

export const NETWORK_NAMES = ['loopback', 'lan', 'wifi', '4g', '3g', 'offline'] as const;
export type NetworkName = (typeof NETWORK_NAMES)[number];

interface Profile {
  /** round trip without load, and the jitter of one way */
  rttMs: number;
  jitterMs: number;
  /** megabits a second; null is without limit */
  down: number | null;
  up: number | null;
  outages: { everyMs: number; lastsMs: number } | null;
  /** every connection is reset */
  offline?: true;
  source: string;
}

const UNLIMITED = { rttMs: 0, jitterMs: 0, down: null, up: null, outages: null };

/** Jitter and outages have no common source: they are crayon's own choice, of the order that mobile networks show. */
export const NETWORK_PROFILES: Record<NetworkName, Profile> = {
  loopback: { ...UNLIMITED, source: 'no proxy at all' },
  lan: { ...UNLIMITED, rttMs: 1, jitterMs: 0.1, down: 1000, up: 1000, source: 'gigabit Ethernet; own choice of delay' },
  wifi: {
    ...UNLIMITED,
    rttMs: 4,
    jitterMs: 2,
    down: 30,
    up: 15,
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
  offline: { ...UNLIMITED, offline: true, source: 'every connection is reset' },
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
