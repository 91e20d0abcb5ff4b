import { describe, expect, it } from 'vitest';
import {
  type LinkShape,
  NETWORK_NAMES,
  NETWORK_PROFILES,
  networkShape,
  outageTimes,
  shapedLink,
} from '../../../../src/bench/live/network/networks.js';
import { createRandom } from '../../../../src/core/random.js';
import { manualClock } from '../../../helpers/manual-clock.js';

describe('networkShape', () => {
  it('has half the round trip each way, and bits of both directions', () => {
    expect(networkShape('3g')).toEqual({
      up: { delayMs: 150, jitterMs: 50, bitsPerSecond: 768_000 },
      down: { delayMs: 150, jitterMs: 50, bitsPerSecond: 1_600_000 },
      outages: { everyMs: 60_000, lastsMs: 2000 },
      offline: false,
    });
  });
  it('puts nothing between on loopback, and everything between when offline', () => {
    expect(networkShape('loopback')).toBeNull();
    expect(networkShape('offline')?.offline).toBe(true);
  });
  it('orders the networks from fast to slow, each with a source', () => {
    const used = NETWORK_NAMES.filter((name) => networkShape(name)?.offline === false).map(
      (name) => NETWORK_PROFILES[name],
    );
    const trips = used.map(({ rttMs }) => rttMs);
    const rates = used.map(({ down }) => down!);
    expect(trips).toEqual([...trips].sort((a, b) => a - b));
    expect(rates).toEqual([...rates].sort((a, b) => b - a));
    expect(Object.values(NETWORK_PROFILES).every(({ source }) => source.length > 10)).toBe(true);
  });
});

const NONE = () => outageTimes(null, createRandom(0), 0);
const link = (shape: Partial<LinkShape>, clock = manualClock(0), outages = NONE(), seed = 0) =>
  shapedLink({ delayMs: 0, jitterMs: 0, bitsPerSecond: null, ...shape }, outages, createRandom(seed), clock);

describe('shapedLink', () => {
  it('adds its delay', () => {
    expect(link({ delayMs: 85 }).send(1000, 0)).toBe(85);
  });
  it('sends one piece after another at its bandwidth, then delays each', () => {
    // 8 Mbit/s: a byte a microsecond
    const one = link({ delayMs: 10, bitsPerSecond: 8e6 });
    expect([one.send(1000, 0), one.send(2000, 0), one.send(500, 0)]).toEqual([11, 13, 13.5]);
  });
  it('is free again when what was sent has left', async () => {
    const clock = manualClock(0);
    const one = link({ delayMs: 10, bitsPerSecond: 8e6 }, clock);
    one.send(1000, 0);
    await clock.advance(50);
    expect(one.send(1000, 0)).toBe(61);
  });
  it('keeps the order within a connection whatever the jitter, and stays within its bounds', () => {
    const one = link({ delayMs: 20, jitterMs: 15 });
    let last = 0;
    const arrivals = Array.from({ length: 200 }, () => {
      last = one.send(10, last);
      return last;
    });
    expect([...arrivals].sort((a, b) => a - b)).toEqual(arrivals);
    const other = link({ delayMs: 20, jitterMs: 15 });
    const free = Array.from({ length: 200 }, () => other.send(10, 0));
    expect(Math.min(...free)).toBeGreaterThanOrEqual(5);
    expect(Math.max(...free)).toBeLessThanOrEqual(35);
    expect(Math.max(...free) - Math.min(...free)).toBeGreaterThan(25);
  });
  it('draws the same jitter from the same seed', () => {
    const draw = (seed: number) => {
      const one = link({ delayMs: 20, jitterMs: 15 }, manualClock(0), NONE(), seed);
      return Array.from({ length: 5 }, () => one.send(1, 0));
    };
    expect(draw(3)).toEqual(draw(3));
    expect(draw(3)).not.toEqual(draw(4));
  });
  it('never delivers before it was sent', () => {
    const one = link({ delayMs: 1, jitterMs: 50 });
    for (let i = 0; i < 100; i++) expect(one.send(1, 0)).toBeGreaterThanOrEqual(0);
  });
  it.each([
    [null, 65_536],
    [1.6e6, 2000],
    [0.1e6, 1460],
  ])('at %s bit/s sends pieces of %i bytes', (bitsPerSecond, bytes) => {
    expect(link({ bitsPerSecond }).pieceBytes).toBe(bytes);
  });
});

describe('outageTimes', () => {
  const make = (seed = 5) => outageTimes({ everyMs: 1000, lastsMs: 100 }, createRandom(seed), 0);

  it('are never where there are none', () => {
    expect(NONE()(123)).toBe(123);
  });
  it('hold what is sent until they end, and are the same for the same seed', () => {
    const times = Array.from({ length: 50_000 }, (_, i) => 2 * i);
    const [one, two] = [make(), make()];
    const passed = times.map((at) => one(at));
    expect(times.map((at) => two(at))).toEqual(passed);
    const held = times.filter((at, i) => passed[i]! > at);
    // 100 of every 1100 ms
    expect(held.length / times.length).toBeGreaterThan(0.06);
    expect(held.length / times.length).toBeLessThan(0.13);
    for (const [i, at] of times.entries()) {
      expect(passed[i]).toBeGreaterThanOrEqual(at);
      if (passed[i]! > at) expect(make()(passed[i]!)).toBe(passed[i]);
      if (i > 3000) break;
    }
  });
  it('stop a link', () => {
    const outages = make();
    const from = Array.from({ length: 5000 }, (_, i) => i).find((at) => outages(at) > at)!;
    const clock = manualClock(from);
    expect(link({ delayMs: 7 }, clock, make()).send(1, 0)).toBe(make()(from) + 7);
  });
});
