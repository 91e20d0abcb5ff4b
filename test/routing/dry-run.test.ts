import { describe, expect, it } from 'vitest';
import { Query } from '../../src/engine/types.js';
import { dryRun } from '../../src/routing/dry-run.js';
import type { RoutingConfig } from '../../src/routing/types.js';
import { createScriptedEngine } from '../helpers/scripted.js';

const config = (thresholds: Partial<RoutingConfig['thresholds']> = {}): RoutingConfig => ({
  mode: 'prefer_on_device',
  thresholds: { scope: null, complexity: null, confidence: null, ...thresholds },
  confidence: { measure: 'mean-logprob', tokens: 2 },
  load: true,
});
const query = new Query({ kind: 'text', text: 'one two three' });
const { signal } = new AbortController();
const scope = () => ({ percentile: 7, similarity: 0.4 });

describe('dryRun', () => {
  it('shows every signal, also those that are off, and generates no more than it needs', async () => {
    const device = createScriptedEngine({ answers: 'a b c d e f', promptNll: 2.5 });
    const parts = { device, hasServer: true, config: config(), scope, adapters: [] };
    const found = await dryRun(parts, { query, maxTokens: 10 }, signal);
    expect(found).toMatchObject({
      decision: { source: 'on_device', reason: 'accepted', score: null },
      promptTokens: 4,
      values: { scope: 7, similarity: 0.4, complexity: 2.5, correctness: null },
      answer: 'a b',
    });
    expect(found.values.confidence).toBeCloseTo(Math.log(0.5), 12);
    expect(device.requests[0]).toMatchObject({ outcome: 'returned', tokensSent: 2 });
  });

  it.each([
    [{ scope: 10 }, 'scope'],
    [{ complexity: 2 }, 'complexity'],
    [{ confidence: -0.5 }, 'confidence'],
    [{ scope: 5, complexity: 3, confidence: -1 }, 'accepted'],
  ] as const)('decides as the router would: %o', async (thresholds, reason) => {
    const device = createScriptedEngine({ answers: 'a b c', promptNll: 2.5 });
    const parts = { device, hasServer: true, config: config(thresholds), scope, adapters: [] };
    expect((await dryRun(parts, { query, maxTokens: 10 }, signal)).decision.reason).toBe(reason);
    const alone = await dryRun({ ...parts, hasServer: false }, { query, maxTokens: 10 }, signal);
    expect(alone.decision).toMatchObject({ source: 'on_device', reason: 'mode' });
  });

  it.each([
    [999, ['in_cloud', 'memory', 999, 1000]],
    [1000, ['on_device', 'accepted', null, null]],
  ] as const)(
    'sends away what would not fit the memory: %i bytes free',
    async (free, [source, reason, score, threshold]) => {
      const device = { ...createScriptedEngine({ answers: 'a' }), freeBytes: () => free };
      const parts = { device, hasServer: true, config: { ...config(), minFreeBytes: 1000 }, scope: null, adapters: [] };
      const asked = { query, maxTokens: 10 };
      expect((await dryRun(parts, asked, signal)).decision).toMatchObject({ source, reason, score, threshold });
      const ignored = { ...parts, config: { ...parts.config, load: false } };
      expect((await dryRun(ignored, asked, signal)).decision).toMatchObject({
        source: 'on_device',
        reason: 'accepted',
      });
    },
  );

  it('computes nothing on the device for what does not fit it', async () => {
    const device = createScriptedEngine({ answers: 'a', contextTokens: 8 });
    const parts = { device, hasServer: true, config: config(), scope: null, adapters: [] };
    expect(await dryRun(parts, { query, maxTokens: 10 }, signal)).toMatchObject({
      decision: { source: 'in_cloud', reason: 'context', score: 14, threshold: 8 },
      values: { complexity: null, confidence: null },
      answer: null,
    });
    expect(device.requests).toEqual([]);
    await expect(dryRun(parts, { query, maxTokens: 10, mode: 'only_on_device' }, signal)).rejects.toMatchObject({
      code: 'context-exceeded',
    });
  });
});
