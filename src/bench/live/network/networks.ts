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

/** A seeded timetable of outages, from the moment it is made. */
export class Outages {
  readonly #shape: OutageShape | null;
  readonly #random: Random;
  readonly #spans: Array<{ from: number; to: number }> = [];
  #planned: number;

  constructor(shape: OutageShape | null, random: Random, start: number) {
    this.#shape = shape;
    this.#random = random;
    this.#planned = start;
  }

  /** When something that is to pass at `at` passes: then, or at the end of the outage. */
  passing(at: number): number {
    if (this.#shape === null) return at;
    while (this.#planned <= at) {
      const from = this.#planned + this.#exponential(this.#shape.everyMs);
      this.#planned = from + this.#exponential(this.#shape.lastsMs);
      this.#spans.push({ from, to: this.#planned });
    }
    return this.#spans.find(({ from, to }) => from <= at && at < to)?.to ?? at;
  }

  #exponential(mean: number): number {
    return -mean * Math.log(1 - this.#random.uniform());
  }
}

/** Shared by all connections, as a device's one radio is. */
export class ShapedLink {
  readonly #shape: LinkShape;
  readonly #outages: Outages;
  readonly #random: Random;
  readonly #clock: Clock;
  /** when the last piece has left the sender */
  #free = 0;

  constructor(shape: LinkShape, outages: Outages, random: Random, clock: Clock) {
    this.#shape = shape;
    this.#outages = outages;
    this.#random = random;
    this.#clock = clock;
  }

  /** The largest piece that is sent as one: 10 ms of the link, at least a packet. */
  get pieceBytes(): number {
    const { bitsPerSecond } = this.#shape;
    return bitsPerSecond === null ? 65_536 : Math.max(1460, Math.floor(bitsPerSecond / 8 / 100));
  }

  /**
   * Takes a piece that is to be sent now.
   *
   * @param notBefore when an earlier piece of the same connection arrives
   * @returns when it arrives, in the clock's time
   */
  send(bytes: number, notBefore: number): number {
    const { delayMs, jitterMs, bitsPerSecond } = this.#shape;
    const start = this.#outages.passing(Math.max(this.#clock.now(), this.#free));
    const left = start + (bitsPerSecond === null ? 0 : (8000 * bytes) / bitsPerSecond);
    this.#free = left;
    const jitter = jitterMs === 0 ? 0 : jitterMs * (2 * this.#random.uniform() - 1);
    return Math.max(left + Math.max(0, delayMs + jitter), notBefore);
  }
}
