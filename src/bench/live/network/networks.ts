/** Networks by name, between device and server, and the links that they are emulated by. */

import type { Random } from '../../../core/random.js';
import type { Clock } from '../../../engine/clock.js';

export const NETWORK_NAMES = ['loopback', 'lan', 'wifi', '4g', '3g', 'offline'] as const;
export type NetworkName = (typeof NETWORK_NAMES)[number];

export interface LinkShape {
  /** one way */
  delayMs: number;
  /** added to the delay of each piece: uniform from -jitter to +jitter, as tc-netem's default */
  jitterMs: number;
  /** null is without limit */
  bitsPerSecond: number | null;
}

/** Times at which nothing passes: what is sent then waits for the end. */
export interface OutageShape {
  /** mean time between two outages, and mean length of one; both exponentially distributed */
  everyMs: number;
  lastsMs: number;
}

export interface NetworkShape {
  /** from the client to the server */
  up: LinkShape;
  down: LinkShape;
  /** null is none */
  outages: OutageShape | null;
  /** no network at all: every connection is reset */
  offline: boolean;
}

interface Profile {
  /** round trip without load, and the jitter of one way */
  rttMs: number;
  jitterMs: number;
  /** megabits a second; null is without limit */
  down: number | null;
  up: number | null;
  outages: OutageShape | null;
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

/** null where nothing is to stand between device and server. */
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

/**
 * A seeded timetable of outages, from `start` on.
 *
 * @returns when something that is to pass at a time passes: then, or at the end of the outage
 */
export function outageTimes(shape: OutageShape | null, random: Random, start: number): (at: number) => number {
  if (shape === null) return (at) => at;
  const { everyMs, lastsMs } = shape;
  const exponential = (mean: number) => -mean * Math.log(1 - random.uniform());
  const spans: Array<{ from: number; to: number }> = [];
  let planned = start;
  return (at) => {
    while (planned <= at) {
      const from = planned + exponential(everyMs);
      planned = from + exponential(lastsMs);
      spans.push({ from, to: planned });
    }
    return spans.find(({ from, to }) => from <= at && at < to)?.to ?? at;
  };
}

/**
 * One direction of a link: what is sent leaves one piece after another at the link's bandwidth, and arrives later by its
 * delay. Order is kept, nothing is lost: TCP above a real link repairs both.
 */
export interface ShapedLink {
  /** The largest piece that is sent as one: 10 ms of the link, at least a packet. */
  readonly pieceBytes: number;
  /**
   * Takes a piece that is to be sent now.
   *
   * @param notBefore when an earlier piece of the same connection arrives
   * @returns when it arrives, in the clock's time
   */
  send(bytes: number, notBefore: number): number;
}

/** Shared by all connections, as a device's one radio is. */
export function shapedLink(
  { delayMs, jitterMs, bitsPerSecond }: LinkShape,
  passing: (at: number) => number,
  random: Random,
  clock: Clock,
): ShapedLink {
  let free = 0; // when the last piece has left the sender
  return {
    pieceBytes: bitsPerSecond === null ? 65_536 : Math.max(1460, Math.floor(bitsPerSecond / 8 / 100)),
    send(bytes, notBefore) {
      free = passing(Math.max(clock.now(), free)) + (bitsPerSecond === null ? 0 : (8000 * bytes) / bitsPerSecond);
      const jitter = jitterMs === 0 ? 0 : jitterMs * (2 * random.uniform() - 1);
      return Math.max(free + Math.max(0, delayMs + jitter), notBefore);
    },
  };
}
