/**
 * One direction of an emulated network link: what is sent leaves one piece after another at the link's bandwidth, and
 * arrives later by its delay. Order is kept, nothing is lost: TCP above a real link repairs both.
 */

import type { Random } from '../../../core/random.js';
import type { Clock } from '../../../engine/clock.js';

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
