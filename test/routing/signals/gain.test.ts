import { describe, expect, it } from 'vitest';
import { dryRun, explain } from '../../../src/routing/dry-run.js';
import { aRequest, type RouterSetup, readAll, setUpRouter } from '../../helpers/routing.js';

const [DEVICE, SERVER] = [
  [0.9, 0.2, 0.05],
  [0.4, 0.8, 0.05],
];
const rates = { success: DEVICE!, serverSuccess: SERVER! };
const gate = (...alpha: number[]) => ({ clusters: () => Float64Array.from(alpha) });
const asked = (setup: RouterSetup) => readAll(setUpRouter({ ...rates, ...setup }).router);

describe('advantage', () => {
  it('sends what the server gets right more often, before any work, and says so', async () => {
    const { router, device } = setUpRouter({ ...rates, thresholds: { advantage: 0.3 }, ...gate(0, 1, 0) });
    const { decision } = await readAll(router);
    expect(decision).toMatchObject({ source: 'in_cloud', reason: 'advantage', threshold: 0.3 });
    expect(decision!.score).toBeCloseTo(0.6, 12);
    expect(decision!.signals).toMatchObject({ serverRate: 0.8 });
    expect(device.requests).toEqual([]);
    expect(explain(decision!)).toBe(
      'The server answers: the server is right about such queries more often (advantage of the server 0.6 is above the cut 0.3).',
    );
  });

  it('keeps what the device gets wrong and the server too', async () => {
    const { decision } = await asked({ thresholds: { advantage: 0.01 }, ...gate(0, 0, 1) });
    expect(decision).toMatchObject({ source: 'on_device', reason: 'accepted', score: 0 });
    // which the device's rate alone would send
    const alone = await asked({ thresholds: { success: 0.1 }, ...gate(0, 0, 1) });
    expect(alone.decision).toMatchObject({ source: 'in_cloud', reason: 'success' });
  });

  it("shifts the server's rates for a user in their log-odds", async () => {
    const { decision } = await asked({ thresholds: { advantage: 1 }, serverShift: -20, ...gate(0, 1, 0) });
    expect(decision!.signals.serverRate).toBeLessThan(1e-6);
  });

  it('without clusters is absent, and so is the gain', async () => {
    const thresholds = { advantage: -1, gain: -1 };
    const { decision } = await asked({ thresholds, correctness: { intercept: 0, probability: 1 } });
    expect(decision).toMatchObject({ source: 'on_device', score: null });
  });

  it('needs both lists of rates', async () => {
    const { router } = setUpRouter({ success: DEVICE!, thresholds: { advantage: 0 }, ...gate(1, 0, 0) });
    expect((await readAll(router)).error).toMatchObject({
      message: expect.stringContaining('advantage has no weights'),
    });
  });
});

describe('gain', () => {
  const correctness = { intercept: -2, probability: 4 };

  it("is the server's rate less the probability that the answer is right", async () => {
    const { decision } = await asked({ thresholds: { gain: -0.5 }, correctness, ...gate(0, 1, 0) });
    const p = 1 / (1 + Math.exp(2 - 4 * Math.exp(decision!.signals.confidence!)));
    expect(decision).toMatchObject({ source: 'in_cloud', reason: 'gain', threshold: -0.5 });
    expect(decision!.score).toBeCloseTo(0.8 - p, 12);
    expect(decision!.signals.correctness).toBeCloseTo(p, 12);
    expect(explain(decision!)).toMatch(
      /^The server answers: the server is right with probability 0\.8 and the device's answer with 0\.\d+: the difference -?0\.\d+ is above the cut -0\.5\.$/,
    );
  });

  it('keeps a doubtful answer where the server is no better', async () => {
    const unsure = { device: { answers: () => ({ tokens: [{ text: 'a', logprob: -3 }] }) } };
    const [here, there] = await Promise.all(
      [gate(0, 0, 1), gate(0, 1, 0)].map((clusters) =>
        asked({ ...unsure, thresholds: { gain: 0 }, correctness, ...clusters }),
      ),
    );
    expect(here!.decision!.source).toBe('on_device');
    expect(there!.decision!.source).toBe('in_cloud');
  });

  it('is told by a dry run with what it is made of', async () => {
    const { device } = setUpRouter();
    const config = {
      ...{
        mode: 'prefer_on_device' as const,
        load: false,
        confidence: { measure: 'mean-logprob' as const, tokens: 2 },
      },
      ...{ thresholds: { gain: 0.9 }, correctness, ...rates },
    };
    const { values } = await dryRun(
      { device, hasServer: true, config, scope: null, adapters: [], ...gate(0, 1, 0) },
      aRequest(),
      new AbortController().signal,
    );
    expect(values.gain).toBeCloseTo(values.serverRate! - values.correctness!, 12);
    expect(values.advantage).toBeCloseTo(0.6, 12);
  });
});
