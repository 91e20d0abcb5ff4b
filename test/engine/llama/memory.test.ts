import type { LlamaModel } from 'node-llama-cpp';
import { describe, expect, it } from 'vitest';
import { hearingWarnings } from '../../../src/core/warning.js';
import { openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import { type CacheType, type MemoryOptions, type MemoryTask, planMemory } from '../../../src/engine/llama/memory.js';
import type { GgufFile } from '../../../src/gguf/read.js';
import { edgeGguf, request } from '../../helpers/edge-gguf.js';

const gguf = edgeGguf();
const MIB = 2 ** 20;

/** A kilobyte a token in F16, half of it in Q8_0. */
const model = {
  gpuLayers: 0,
  fileInsights: {
    estimateContextResourceRequirementsV2: async (asked: {
      contextSize: number;
      sequences: number;
      batchSize: number;
      kvCacheKeyType: number;
    }) => ({
      cpuRam: asked.batchSize * 1024 + asked.contextSize * asked.sequences * (asked.kvCacheKeyType === 8 ? 512 : 1024),
    }),
  },
} as unknown as LlamaModel;

function fileOf(headSize: number): GgufFile {
  const numbers = { 'x.embedding_length': 4 * headSize, 'x.attention.head_count': 4 };
  const metadata = new Map(Object.entries(numbers).map(([key, value]) => [key, { type: 'uint32', value }]));
  return { path: 'x.gguf', architecture: 'x', sizeBytes: 10 * MIB, metadata } as unknown as GgufFile;
}
const plan = (options: MemoryOptions, task: Partial<MemoryTask> = {}) => {
  const asked = {
    name: 'edge',
    file: fileOf(32),
    ...{ processBytes: 0, loadedBytes: 0 },
    contextTokens: 4096,
    isGiven: false,
    sequences: 4,
    batchTokens: 0,
    cacheType: 'F16' as CacheType,
  };
  return planMemory(model, { ...asked, ...task }, options);
};

describe('planMemory', () => {
  it('keeps idle adapters in what is left, beside those that are to be there', async () => {
    expect(await plan({ memoryBytes: 2 ** 34, adapterBytes: 3 * MIB })).toEqual({
      contextTokens: 4096,
      keptBytes: 259 * MIB,
    });
    expect(await plan({ memoryBytes: 30 * MIB, adapterBytes: 3 * MIB })).toEqual({
      contextTokens: 4096,
      keptBytes: 4 * MIB,
    });
    expect((await plan({})).contextTokens).toBe(4096);
  });

  it('makes a context that nobody has named fit, and says so', async () => {
    const heard: string[] = [];
    const found = await hearingWarnings(
      (text) => heard.push(text),
      () => plan({ memoryBytes: 16 * MIB }),
    );
    expect(found.contextTokens).toBe(1536);
    expect(heard).toEqual([expect.stringMatching(/1536 tokens, not 4096/)]);
    expect((await plan({ memoryBytes: 15.3 * MIB })).contextTokens).toBe(1280);
    expect((await plan({ memoryBytes: 18 * MIB }, { cacheType: 'Q8_0' })).contextTokens).toBe(4096);
  });

  it('counts the process, and of the model what it takes in memory where that is more than its file', async () => {
    const held = { processBytes: 7 * MIB, loadedBytes: 27 * MIB };
    const needs =
      /needs 46 MiB \(this process 7 MiB, the model 20 MiB, the cache of 4 x 4096 tokens 16 MiB, the adapters 3 MiB\)/;
    await expect(
      plan({ memoryBytes: 45 * MIB, adapterBytes: 3 * MIB }, { ...held, isGiven: true }),
    ).rejects.toMatchObject({ code: 'out-of-memory', message: expect.stringMatching(needs) });
    expect(await plan({ memoryBytes: 46 * MIB, adapterBytes: 3 * MIB }, held)).toEqual({
      contextTokens: 4096,
      keptBytes: 3 * MIB,
    });
    await expect(
      plan({ memoryBytes: 46 * MIB, adapterBytes: 3 * MIB }, { ...held, isGiven: true, batchTokens: 1024 }),
    ).rejects.toMatchObject({ message: expect.stringContaining('needs 47 MiB') });
    // half read yet: the file is what it will be
    expect((await plan({ memoryBytes: 32 * MIB }, { ...held, loadedBytes: 8 * MIB })).contextTokens).toBe(3584);
  });

  it('refuses what does not fit, with the numbers', async () => {
    const refused = {
      code: 'out-of-memory',
      message: expect.stringContaining(
        'needs 31 MiB (this process 0 MiB, the model 10 MiB, the cache of 4 x 4096 tokens 16 MiB, the adapters 5 MiB), memory_mib gives 30 MiB',
      ),
    };
    await expect(plan({ memoryBytes: 30 * MIB, adapterBytes: 5 * MIB }, { isGiven: true })).rejects.toMatchObject(
      refused,
    );
    await expect(plan({ memoryBytes: 11 * MIB })).rejects.toMatchObject({ code: 'out-of-memory' });
  });

  it('refuses a quantised cache that the heads do not fit', async () => {
    const uneven = { file: fileOf(48), cacheType: 'Q8_0' } as const;
    await expect(plan({}, uneven)).rejects.toMatchObject({
      code: 'bad-option',
      message: expect.stringContaining('48'),
    });
    expect((await plan({}, { ...uneven, cacheType: 'F16' })).contextTokens).toBe(4096);
  });
});

describe('a quantised cache', () => {
  it('answers near what half precision answers, and what does not fit is refused before it is made', async () => {
    const options = { model: gguf.model, name: 'edge', threads: 1, gpu: false, sequences: 1 } as const;
    const scored = async (cacheType: CacheType) => {
      const engine = await openLlamaCppEngine({ ...options, cacheType });
      try {
        const ids = [...engine.tokenize({ kind: 'text', text: 'Once upon a time there was a man who had a dog.' })];
        const { signal } = request('');
        return (await engine.scoreTokens({ ids, from: 1, topLogprobs: 0, signal })).tokens.map(
          ({ logprob }) => logprob,
        );
      } finally {
        await engine.close();
      }
    };
    const [half, quantised] = [await scored('F16'), await scored('Q8_0')];
    const apart = half.map((x, i) => Math.abs(x - quantised[i]!));
    expect(Math.max(...apart)).toBeGreaterThan(0);
    expect(Math.max(...apart)).toBeLessThan(0.2);
    await expect(openLlamaCppEngine({ ...options, memoryBytes: 2 * MIB })).rejects.toMatchObject({
      code: 'out-of-memory',
      message: expect.stringMatching(/needs \d+ MiB .*the cache of 1 x 512 tokens \d+ MiB/),
    });
    // what the process has already counts
    const memoryBytes = process.memoryUsage.rss();
    await expect(openLlamaCppEngine({ ...options, memoryBytes })).rejects.toMatchObject({ code: 'out-of-memory' });
  });
});
