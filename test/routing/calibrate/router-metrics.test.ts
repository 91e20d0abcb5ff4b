/** The metrics of a router, on curves of few answers where each can be worked out by hand. */

import { describe, expect, it } from 'vitest';
import { METRICS, randomMetrics, routerMetrics } from '../../../src/routing/calibrate/router-metrics.js';

/** Ten queries: the device has 4 right, the server 8, so the gap is 4 answers. Gains one by one: 1 1 0 1 -1 1 1 1 -1 0. */
const TEN = { sent: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], gain: [0, 1, 2, 2, 3, 2, 3, 4, 5, 4, 4] };

describe('the metrics of a router', () => {
  const found = routerMetrics(TEN, 0.4, 0.8);

  it('have the least share of queries to the server that recovers half and four fifths of the gap', () => {
    expect(found.cpt50).toBeCloseTo(0.2, 12); // 2 of 4 answers after 2 of 10 queries
    expect(found.cpt80).toBeCloseTo(0.62, 12); // 3.2 of 4: first between 3, after 6 queries, and 4, after 7
  });

  it('have the cost at which routing is as accurate as the server, and what that saves', () => {
    expect(found.qnc).toBeCloseTo(0.7, 12);
    expect(found.costSave).toBeCloseTo(0.3, 12);
  });

  it('have what the best point gains over the server', () => {
    expect(found.perfGain).toBeCloseTo(0.9 / 0.8 - 1, 12); // 4 + 5 right of 10
  });

  it('have the mean over all shares of the recovered part', () => {
    // trapezoids: half of the last gain, and all before
    expect(found.apgr).toBeCloseTo((1 + 2 + 2 + 3 + 2 + 3 + 4 + 5 + 4 + 2) / 10 / 4, 12);
  });

  it('of random routing are those of a straight line', () => {
    const random = randomMetrics(0.4, 0.8);
    expect(METRICS.map((name) => Number(random[name].toFixed(9)))).toEqual([0.5, 0.5, 0.8, 1, 0, 0]);
  });

  it('compare with the device where that is the better one, which costs nothing', () => {
    // one of four queries is for the server, two are the device's alone
    const worse = routerMetrics({ sent: [0, 1, 2, 3, 4], gain: [0, 1, 1, 0, -1] }, 0.75, 0.5);
    expect(worse).toMatchObject({ apgr: Number.NaN, cpt50: Number.NaN, qnc: Number.NaN, costSave: Number.NaN });
    expect(worse.perfGain).toBeCloseTo(1 / 0.75 - 1, 12);
    expect(routerMetrics({ sent: [0, 2], gain: [0, 0] }, 0, 0).perfGain).toBeNaN();
  });
});
