import { describe, expect, it } from 'vitest';
import { CrayonError } from '../../src/core/errors.js';
import type { DeviceEngine, ScoreRequest } from '../../src/engine/types.js';
import { engineScorer } from '../../src/serve/engine-scorer.js';

/** Every token has the logarithm of its id, and is the likeliest where its id is odd. */
function device(fail: (call: number) => void = () => {}) {
  const requests: ScoreRequest[] = [];
  let calls = 0;
  const scoreTokens: DeviceEngine['scoreTokens'] = async (request) => {
    fail(calls++);
    requests.push(request);
    const tokens = request.ids.slice(request.from).map((id) => ({ id, logprob: -id, best: id | 1, top: [] }));
    return { tokens, cachedTokens: 0 };
  };
  return { requests, scoreTokens };
}

const sequence = (length: number, promptLength: number) => ({
  ids: Int32Array.from({ length }, (_, i) => i),
  promptLength,
});
const adapters = (i: number) => [{ id: `a${i}`, path: '/x', scale: 1 }];

describe('engineScorer', () => {
  it('sums what the engine says of the completion’s tokens, token by token as they are served', async () => {
    const { requests, scoreTokens } = device();
    const scores = await engineScorer({ scoreTokens }, adapters)([sequence(4, 2), sequence(4, 3)], [0, 7]);
    expect(scores).toEqual([
      { logprob: -5, tokens: 2, isGreedy: false, likeliest: [3, 3] },
      { logprob: -3, tokens: 1, isGreedy: true, likeliest: [3] },
    ]);
    expect(requests.map((one) => [one.adapters![0]!.id, one.asGenerated])).toEqual([
      ['a0', true],
      ['a7', true],
    ]);
  });

  it('beside others reads a long prompt a batch at a time, and gives the same scores', async () => {
    const [alone, beside] = [device(), device()];
    const long = [sequence(400, 390), sequence(395, 390), sequence(20, 10)];
    const how = { beside: true };
    const scores = await engineScorer(beside, adapters, how)(long, [0, 0, 1]);
    expect(scores).toEqual(await engineScorer(alone, adapters)(long, [0, 0, 1]));
    expect(beside.requests.map(({ ids, from }) => [ids.length, from])).toEqual([
      [128, 127],
      [256, 255],
      [384, 383],
      [400, 390],
      [395, 390], // whose prompt is read
      [20, 10],
    ]);
    expect(alone.requests).toHaveLength(3);
  });

  it('beside others waits while the queue is full; alone it says so', async () => {
    const busy = (call: number) => {
      if (call < 2) throw new CrayonError('engine-busy', 'full');
    };
    await expect(engineScorer(device(busy), adapters)([sequence(4, 2)], [0])).rejects.toMatchObject({
      code: 'engine-busy',
    });
    expect(await engineScorer(device(busy), adapters, { beside: true })([sequence(4, 2)], [0])).toHaveLength(1);
    const signal = AbortSignal.timeout(20);
    const always = device(() => busy(0));
    await expect(engineScorer(always, adapters, { beside: true, signal })([sequence(4, 2)], [0])).rejects.toMatchObject(
      {
        code: 'interrupted',
      },
    );
  });
});
