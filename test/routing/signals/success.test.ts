import { describe, expect, it } from 'vitest';
import { dryRun, explain } from '../../../src/routing/dry-run.js';
import { RoutingRule } from '../../../src/routing/rule.js';
import { expectedRate, recordedGate } from '../../../src/routing/signals/success.js';
import { aRequest, type RouterSetup, readAll, setUpRouter } from '../../helpers/routing.js';

const RATES = [0.9, 0.2, 0.05];
const inFirst = () => Float64Array.of(0.8, 0.2, 0);
const stray = () => Float64Array.of(0, 0, 1);
const asked = (setup: RouterSetup) => readAll(setUpRouter({ success: RATES, ...setup }).router);

describe('the expected rate', () => {
  it('is the mean of the rates by the gate', () => {
    expect(expectedRate(RATES, inFirst())).toBeCloseTo(0.8 * 0.9 + 0.2 * 0.2, 12);
    expect(expectedRate([0.3], [1])).toBe(0.3); // a pool of one
  });

  it('is never certain, so that a cut of 1 sends everything', () => {
    expect(expectedRate([1, 1], [0.5, 0.5])).toBeLessThan(1);
  });

  it('keeps a NaN', () => {
    expect(expectedRate(RATES, [Number.NaN, 0, 1])).toBeNaN();
  });

  it('is of gates that records keep to four digits', () => {
    expect(recordedGate(Float64Array.of(1 / 3, 2 / 3, 1e-9))).toEqual([0.3333, 0.6667, 0]);
  });
});

describe('success', () => {
  it('below its cut sends the query before any work, and says so', async () => {
    const { router, device } = setUpRouter({ success: RATES, thresholds: { success: 0.5 }, clusters: stray });
    const { decision } = await readAll(router);
    expect(decision).toMatchObject({ source: 'in_cloud', reason: 'success', score: 0.05, threshold: 0.5 });
    expect(decision!.signals).toMatchObject({ success: 0.05, cluster: 2 });
    expect(device.requests).toEqual([]);
    expect(explain(decision!)).toBe(
      'The server answers: the device is seldom right about such queries (success rate 0.05 is below the cut 0.5).',
    );
  });

  it('at its cut or above it lets the device answer', async () => {
    const { decision } = await asked({ thresholds: { success: 0.76 }, clusters: inFirst });
    expect(decision).toMatchObject({ source: 'on_device', reason: 'accepted', threshold: 0.76 });
    expect(explain(decision!)).toBe('The device answers: its success rate 0.76 is at least the cut 0.76.');
  });

  it('is a part of the probability of a right answer, without a cut of its own', async () => {
    const correctness = { intercept: 0, success: 4, probability: 1 };
    const { decision } = await asked({ thresholds: { correctness: 0.99 }, correctness, clusters: inFirst });
    const { confidence } = decision!.signals;
    expect(decision!.score).toBeCloseTo(1 / (1 + Math.exp(-(4 * 0.76 + Math.exp(confidence!)))), 12);
    expect(explain(decision!)).toContain(`success rate 0.76`);
  });

  it('without a pool is absent, with all that is made of it', async () => {
    const thresholds = { success: 0.99, correctness: 0.99 };
    const { decision } = await asked({ thresholds, correctness: { intercept: 0, success: 1 } });
    expect(decision).toMatchObject({ source: 'on_device', reason: 'accepted', score: null });
    expect(decision!.signals).not.toHaveProperty('success');
  });

  it('that is not a number is a failure of the device', async () => {
    const clusters = () => Float64Array.of(Number.NaN, Number.NaN, 0);
    const { decision } = await asked({ thresholds: { success: 0.5 }, clusters });
    expect(decision).toMatchObject({ source: 'in_cloud', reason: 'device-failed', failure: { code: 'model-invalid' } });
  });

  it('has no cut without rates', () => {
    const { router } = setUpRouter({});
    const config = { ...router.parts.config, thresholds: { success: 0.5 } };
    const situation = { hasServer: true } as ConstructorParameters<typeof RoutingRule>[1];
    expect(() => new RoutingRule(config, situation)).toThrow(/success has no weights or rates/);
  });

  it('is shown by a dry run where there are rates', async () => {
    const { device, router } = setUpRouter({ success: RATES });
    const parts = { device, hasServer: true, scope: null, clusters: inFirst, adapters: [] };
    const { query, signal } = aRequest();
    const values = async (config: typeof router.parts.config) =>
      (await dryRun({ ...parts, config }, { query, maxTokens: 4 }, signal)).values;
    expect(await values(router.parts.config)).toMatchObject({ success: expectedRate(RATES, inFirst()), cluster: 0 });
    expect(await values({ ...router.parts.config, success: null })).toMatchObject({ success: null, cluster: null });
  });
});
