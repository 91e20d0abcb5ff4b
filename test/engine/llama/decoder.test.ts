/** In which order what waits is decoded, on a made-up context that writes down what it is told. */

import type { LlamaContext, LlamaModel } from 'node-llama-cpp';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Asked, Decoder, type LoadedSet } from '../../../src/engine/llama/decoder.js';
import { insideOf } from '../../../src/engine/llama/inside.js';

/** What llama.cpp was told: adapters that were set, batches as `sequence@position+tokens`, cells that were removed. */
let told: string[];
let fails: boolean;
/** the first position that each sequence's cache has */
let first: number;
let batch: string[];
/** how tokens were asked for: by which sampler, with what of their logits, and whether with the sum */
let sampled: Array<[config: object, logits: unknown, total: unknown]>;
let likeliest: number;

const addon = {
  initBatch: () => {
    batch = [];
  },
  addToBatch: (id: number, at: number, ids: Uint32Array, outputs: Uint32Array) => {
    batch.push(`${id}@${at}+${ids.length}`);
    return outputs;
  },
  decodeBatch: async () => {
    told.push(batch.join(' '));
    if (fails) throw new Error('no room');
  },
  sampleToken: async (_: number, by: Sampler, __: boolean, ___: boolean, logits: unknown, total: boolean) => {
    sampled.push([by.config, logits, total]);
    return [likeliest, undefined, undefined, [7, 2.5, 3, 1], total ? 2 : undefined];
  },
  removeTokenCellsFromSequence: (id: number, start: number, end: number) => {
    told.push(`remove ${id} ${start}-${end}`);
    return true;
  },
  disposeSequence: (id: number) => void told.push(`empty ${id}`),
  getSequenceKvCacheMinPosition: () => first,
  setLoras: (loras: readonly { name: string }[]) => void told.push(`set ${loras.map(({ name }) => name)}`),
  getThreads: () => 1,
  setThreads: () => {},
};
class Sampler {
  config = {};
  applyConfig(config: object) {
    this.config = config;
  }
  dispose() {}
}
const model = (swaSize?: number) =>
  ({
    _model: {},
    _llama: { _bindings: { AddonSampler: Sampler } },
    fileInsights: { swaSize },
  }) as unknown as LlamaModel;
const context = { _ctx: addon, dispose: async () => void told.push('dispose') } as unknown as LlamaContext;
const open = (sequences: number, swaSize?: number) =>
  Decoder.open(model(swaSize), async () => context, { sequences, threads: { prompt: 2, answer: 1 } });

const set = (name: string): LoadedSet => ({ key: name, loras: [{ name } as never], scales: [1] });
const asked = [{ at: 0, logits: false }] as const;
const ids = (count: number) => Array.from({ length: count }, (_, i) => i);

beforeEach(() => {
  [told, fails, first, batch] = [[], false, 0, []];
  [sampled, likeliest] = [[], 7];
});

describe('what waits', () => {
  it('is decoded together where the adapters are the same, and tells what was asked for', async () => {
    const { sequences } = await open(3);
    const answers = await Promise.all(sequences.map((sequence) => sequence.evaluate([1], asked)));
    expect(told).toEqual(['0@0+1 1@0+1 2@0+1']);
    expect(answers[2]).toEqual([
      {
        token: 7,
        logits: new Map([
          [7, 2.5],
          [3, 1],
        ]),
        total: 2,
      },
    ]);
    await sequences[1]!.evaluate([5], asked);
    expect(told.at(-1)).toBe('1@1+1');
    expect(sequences[1]!.tokens).toEqual([1, 5]);
  });

  it('takes turns: a block of a prompt, by itself, and a token of every answer', async () => {
    const { sequences } = await open(3);
    const [one, two, prompt] = sequences;
    const answer = async (sequence: typeof one) => {
      for (let i = 0; i < 3; i++) await sequence!.evaluate([i], asked);
    };
    const read = async () => {
      for (let i = 0; i < 3; i++) await prompt!.evaluate(ids(128));
    };
    await Promise.all([answer(one), answer(two), read()]);
    expect(told).toEqual(['2@0+128', '0@0+1 1@0+1', '2@128+128', '0@1+1 1@1+1', '2@256+128', '0@2+1 1@2+1']);
  });

  it('stays under one set for a few rounds, and then changes to the one that has waited longest', async () => {
    const { sequences } = await open(3);
    await Promise.all(
      sequences.map(async (sequence, i) => {
        await sequence.use(set('abb'[i]!));
        for (let t = 0; t < 6; t++) await sequence.evaluate([t], asked);
      }),
    );
    const [a, b] = ['0@', '1@'].map((start) => told.map((line) => line.startsWith(start)));
    expect(told.filter((line) => line.startsWith('set'))).toEqual(['set a', 'set b', 'set a', 'set b']);
    expect(a!.filter(Boolean)).toHaveLength(6);
    expect(b!.filter(Boolean)).toHaveLength(6); // the third is in the second's batches
    expect(told.indexOf('set b')).toBe(told.indexOf('set a') + 5);
  });

  it('starves nobody, with adapters or without any: each waits four rounds of every other set at most', async () => {
    const { sequences } = await open(4);
    const done: number[] = [];
    await Promise.all(
      sequences.map(async (sequence, i) => {
        if (i > 0) await sequence.use(set('xaab'[i]!));
        for (let t = 0; t < 12; t++) await sequence.evaluate([t], asked);
        done.push(i);
      }),
    );
    const decodes = told.filter((line) => line.includes('@'));
    for (const id of [0, 1, 2, 3]) {
      const turns = decodes.flatMap((line, at) => (line.includes(`${id}@`) ? [at] : []));
      expect(turns).toHaveLength(12);
      expect(Math.max(...turns.slice(1).map((at, k) => at - turns[k]!))).toBeLessThanOrEqual(2 * 4 + 1);
    }
    expect(done).toHaveLength(4);
  });

  it('waits while something is done alone, and takes the adapters off where that has to be', async () => {
    const decoder = await open(1);
    const [sequence] = decoder.sequences;
    await sequence!.use(set('a'));
    await sequence!.evaluate([1], asked);
    const alone = decoder.alone(async (takeOff) => {
      takeOff();
      await new Promise((resolve) => setTimeout(resolve, 20));
      told.push('alone');
    });
    await Promise.all([alone, sequence!.evaluate([2], asked)]);
    expect(told.slice(2)).toEqual(['set ', 'alone', 'set a', '0@1+1']);
    await expect(decoder.alone(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    await sequence!.evaluate([3], asked);
  });
});

describe('what is asked of a token', () => {
  const tell = async (one: Omit<Asked, 'at'>) => {
    const [sequence] = (await open(1)).sequences;
    return (await sequence!.evaluate([1], [{ at: 0, ...one }]))[0]!;
  };

  it('is a partly sorted list, and the sum beside it', async () => {
    const { total } = await tell({ logits: [[5], false, false, false, 20] });
    expect(total).toBe(2);
    expect(sampled).toEqual([
      [{}, [[5], false, false, false, 0], true],
      [{ topK: 20, temperature: 1, seed: 0 }, [[], false, false, false, 20], false],
    ]);
  });

  it('is not asked again where it is known: more of a list needs no second sum', async () => {
    await tell({ logits: false, decide: async (_, more) => void (await more([[], false, false, false, 128])) });
    expect(sampled.map(([, , total]) => total)).toEqual([true, false]);
  });

  it('is the token alone where nobody wants the sum, but for the first token, which a divergence looks like', async () => {
    expect(await tell({ logits: false, total: false })).toMatchObject({ token: 7, total: undefined });
    likeliest = 0;
    expect(await tell({ logits: false, total: false })).toMatchObject({ token: 0, total: 2 });
    expect(sampled.map(([, , total]) => total)).toEqual([false, false, true]);
  });
});

describe('a sequence', () => {
  it('forgets its end, and all of it under other adapters', async () => {
    const [sequence] = (await open(1)).sequences;
    await sequence!.evaluate(ids(10));
    await sequence!.erase(6);
    expect(sequence!.tokens).toEqual(ids(6));
    await sequence!.erase(6);
    await sequence!.use(set('a'));
    expect(told).toEqual(['0@0+10', 'remove 0 6-10', 'empty 0']);
    expect(sequence!.tokens).toEqual([]);
  });

  it('forgets all where a sliding window has left behind what its end would need', async () => {
    const [sequence] = (await open(1, 4)).sequences;
    await sequence!.evaluate(ids(20));
    first = 10;
    await sequence!.erase(14); // tokens 10 to 13 are there
    expect(sequence!.tokens).toEqual(ids(14));
    first = 11;
    await sequence!.erase(13);
    expect(sequence!.tokens).toEqual([]);
    expect(told.slice(1)).toEqual(['remove 0 14-20', 'empty 0']);
  });

  it('is emptied after a computation that failed, before it is used again', async () => {
    const [one, other] = (await open(2)).sequences;
    await one!.evaluate(ids(4));
    fails = true;
    await expect(one!.evaluate([1], asked)).rejects.toThrow('no room');
    fails = false;
    expect(one!.isDamaged).toBe(true);
    await other!.evaluate([1], asked);
    await one!.erase(4);
    expect([one!.isDamaged, one!.tokens, told.at(-1)]).toEqual([false, [], 'empty 0']);
  });

  it('is empty in a new context', async () => {
    const decoder = await open(1);
    const [sequence] = decoder.sequences;
    await sequence!.evaluate(ids(4));
    await decoder.renew();
    expect([told.at(-1), sequence!.tokens]).toEqual(['dispose', []]);
  });
});

it('refuses a node-llama-cpp that looks otherwise inside', () => {
  const { decodeBatch: _, ...other } = addon;
  const refused = expect.objectContaining({
    code: 'engine-unavailable',
    message: expect.stringContaining('_ctx.decodeBatch'),
  });
  expect(() => insideOf({ _ctx: other } as unknown as LlamaContext)).toThrow(refused);
  expect(() => insideOf({} as LlamaContext)).toThrow(expect.objectContaining({ code: 'engine-unavailable' }));
});
