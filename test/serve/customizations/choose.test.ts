/** A choice over a scripted engine: through which mixtures it scores. */

import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { throwIfAborted } from '../../../src/engine/clock.js';
import type { DeviceEngine } from '../../../src/engine/types.js';
import type { Pool, PoolManifest } from '../../../src/pool/pool.js';
import { type ChooserParts, createChooser } from '../../../src/serve/customizations/choose.js';

const N = 3;
const manifest = { N, tau: 0.1, embedding: { kind: 'tfidf', centred: false, dim: N } } as unknown as PoolManifest;
const members = Array.from({ length: N }, (_, n) => ({ id: `m${n}`, path: `/x/${n}`, name: `n${n}` }));
const pool = { manifest, centroids: Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1) } as Pool;
const never = new AbortController().signal;
const rowsOf = (...axes: number[]) => {
  const data = new Float32Array(axes.length * N).fill(0.1);
  for (const [i, axis] of axes.entries()) data[i * N + axis] = 1;
  return { data, n: axes.length, d: N };
};
const shown = Array.from({ length: 4 }, () => ({ prompt: 'p', completion: ' x' }));

/** The first token of an example names its axis. */
function scripted(logprob: (mixture: number[], axis: number) => number, before: (call: number) => unknown = () => {}) {
  const asked = new Set<string>();
  let calls = 0;
  const scoreTokens: DeviceEngine['scoreTokens'] = async ({ ids, from, adapters, signal }) => {
    await before(calls++);
    throwIfAborted(signal);
    const mixture = members.map(({ id }) => adapters!.find((one) => one.id === id)?.scale ?? 0);
    asked.add(mixture.join());
    const tokens = ids.slice(from).map((id) => ({ id, logprob: logprob(mixture, ids[0]!), best: id, top: [] }));
    return { tokens, cachedTokens: 0 };
  };
  const parts = (axes: number[], gateTopK: number | null = null): ChooserParts => ({
    gateTopK,
    pool,
    members,
    device: { contextTokens: 64, scoreTokens },
    encode: async ({ examples }) => ({
      prepared: [],
      made: {
        sequences: examples.map((_, i) => ({ ids: Int32Array.of(axes[i]!, 5), promptLength: 1 })),
        owners: examples.map((_, i) => i),
        places: examples.map((_, i) => ({ choices: undefined, completion: i })),
        cutPrompts: 0,
      },
    }),
  });
  return { parts, asked };
}

/** The likelier, the more of the example's own adapter there is. */
const helps = (mixture: number[], axis: number) => -2 + mixture[axis]!;

describe('createChooser', () => {
  it('lets a user of one task choose what is nearly the nearest adapter, through the mixtures as they are served', async () => {
    const { parts, asked } = scripted(helps);
    const axes = [1, 1, 1, 1];
    const { chosen, rule } = await createChooser(parts(axes))({ shown, seconds: 60 }, rowsOf(...axes), never);
    expect([chosen.candidate.name, chosen.record.chosen]).toEqual(['per-query', 'mean-gate']);
    expect([rule.estimator, chosen.record.evidence]).toEqual(['mean-gate', 'tokens']);
    expect(asked).not.toContain('1,0,0');
    expect(chosen.notices).toEqual([]);
    expect(chosen.candidates.find(({ candidate }) => candidate.name === 'base')).toMatchObject({
      loss: 2,
      difference: 1,
    });
    for (const mixture of ['0,0,0', '0,1,0', '0.34,0.34,0.32']) expect(asked).toContain(mixture);
    expect(asked.size).toBeLessThan(10); // four examples of one task have one mixture a candidate
  });

  it('lets a user of two tasks choose a mixture for each prompt, and one outside the pool the bare model', async () => {
    const axes = [0, 0, 2, 2];
    const two = await createChooser(scripted(helps).parts(axes))({ shown, seconds: 60 }, rowsOf(...axes), never);
    expect(two.chosen.candidate.kind).toBe('per-query');
    expect(two.rule.estimator).not.toBe('given');
    const hurts = scripted((mixture) => -2 - mixture.reduce((a, b) => a + b, 0));
    const none = await createChooser(hurts.parts(axes))({ shown, seconds: 60 }, rowsOf(...axes), never);
    expect(none.chosen.candidate.name).toBe('base');
    expect([...(none.rule.coefficients as Float64Array)]).toEqual([0, 0, 0]);
  });

  it('scores without the coefficients that serving drops', async () => {
    const axes = [0, 0, 2, 2];
    const asked = async (dropBelow: number) => {
      const { parts, asked } = scripted(helps);
      await createChooser(parts(axes))({ shown, seconds: 60, dropBelow }, rowsOf(...axes), never);
      return [...asked].map((mixture) => mixture.split(',').filter((a) => a !== '0').length);
    };
    const [all, few] = [await asked(0), await asked(0.9)];
    expect(few.filter((k) => k === 2).length).toBeLessThan(all.filter((k) => k === 2).length);
    expect(few).toContain(3); // all adapters alike
  });

  it('scores a mixture for each prompt of as few adapters as it is served with', async () => {
    const { parts, asked } = scripted(helps);
    const rows = { data: Float32Array.of(1, 0.9, 0, 0.9, 1, 0, 0, 0.9, 1, 0.9, 0, 1), n: 4, d: N };
    const chosenBy = (gateTopK: number | null) =>
      createChooser(parts([0, 1, 2, 2], gateTopK))({ shown, seconds: 60 }, rows, never);
    const lossOf = async (gateTopK: number | null) =>
      (await chosenBy(gateTopK)).chosen.candidates.find(({ candidate }) => candidate.name === 'per-query')!.loss;
    expect(await lossOf(null)).toBeGreaterThan(1);
    asked.clear();
    // one adapter, the example's own, at 1
    expect(await lossOf(1)).toBeCloseTo(1, 9);
    expect(asked).toContain('1,0,0');
  });

  it('tries nothing after its time, and then is the blend by similarity', async () => {
    const slow = scripted(helps, (call) => (call === 0 ? setTimeout(60) : undefined));
    const axes = [1, 1, 1, 1];
    const { chosen, rule } = await createChooser(slow.parts(axes))({ shown, seconds: 0.03 }, rowsOf(...axes), never);
    expect([chosen.candidate.name, rule.estimator]).toEqual(['similarity', 'similarity']);
    expect(chosen.candidates.map(({ loss }) => loss)).toEqual(chosen.candidates.map(() => null));
    expect(chosen.notices).toEqual([expect.stringContaining('time was up')]);
  });

  it('ends at once when the client goes', async () => {
    const gone = new AbortController();
    let calls = 0;
    const left = scripted(helps, (call) => {
      calls = call + 1;
      if (call === 6) gone.abort();
    });
    const axes = [1, 1, 1, 1];
    const choice = createChooser(left.parts(axes))({ shown, seconds: 60 }, rowsOf(...axes), gone.signal);
    await expect(choice).rejects.toMatchObject({ code: 'interrupted' });
    expect(calls).toBe(7);
  });
});
