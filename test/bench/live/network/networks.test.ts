import { describe, expect, it } from 'vitest';
import { NETWORK_NAMES, NETWORK_PROFILES, networkShape } from '../../../../src/bench/live/network/networks.js';

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
