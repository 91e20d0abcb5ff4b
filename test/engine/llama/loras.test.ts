/** LoRAs go from llama.cpp's memory with the last context that uses them: by what node-llama-cpp has inside, in the version installed. */

import type { LlamaContext, LlamaModel } from 'node-llama-cpp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adapterSet, ContextPool } from '../../../src/engine/llama/contexts.js';
import { freeLora, LoraUsers, setLoras } from '../../../src/engine/llama/loras.js';
import type { AdapterScale } from '../../../src/engine/types.js';
import { edgeGguf } from '../../helpers/edge-gguf.js';
import { endLlamaCpp, llamaCpp } from '../../helpers/llama-cpp.js';

const gguf = edgeGguf();
endLlamaCpp();
let model: LlamaModel;

beforeAll(async () => {
  model = await (await llamaCpp()).loadModel({ modelPath: gguf.model });
});
afterAll(() => model.dispose());

/** What llama.cpp holds, by file; an upgrade that names it otherwise fails here. */
const held = (): Map<string, { disposed: boolean }> =>
  (model as unknown as { _loraAdapters: Map<string, { disposed: boolean }> })._loraAdapters;

const create = async (adapters: readonly AdapterScale[], spare: LlamaContext | null = null): Promise<LlamaContext> => {
  if (spare !== null && (await setLoras(spare, adapters))) return spare;
  made++;
  return model.createContext({
    contextSize: 64,
    sequences: 2,
    threads: 1,
    lora: { adapters: adapters.map(({ path, scale }) => ({ filePath: path, scale })) },
  });
};
let made = 0;

const { signal } = new AbortController();
const ids = [1, 100, 200];

function openPool(maxContexts = 2, open = create): ContextPool {
  return new ContextPool({
    loras: new LoraUsers(model),
    create: open,
    sequences: 2,
    maxContexts,
    vocabularySize: 4096,
  });
}

/** Uses the adapters for one token. */
async function use(pool: ContextPool, ...adapters: AdapterScale[]): Promise<number> {
  let released = 0;
  const reader = await pool.lease(adapterSet(adapters), ids, signal, () => released++);
  await reader.prompt(ids, 0);
  reader.cancel();
  return released;
}

const settled = () => expect.poll(() => held().size, { timeout: 5000 });

describe('a LoRA', () => {
  it('is freed, once, and can be loaded again', async () => {
    const { path } = gguf.adapter(0);
    for (let round = 0; round < 2; round++) {
      const context = await create([gguf.adapter(0)]);
      await context.dispose();
      const lora = held().get(path);
      expect(lora?.disposed).toBe(false); // node-llama-cpp itself keeps it
      expect(await freeLora(model, path)).toBe(true);
      expect(lora?.disposed).toBe(true);
      expect(held().size).toBe(0);
      expect(await freeLora(model, path)).toBe(false);
    }
  });

  it('stays in a context that looks otherwise inside', async () => {
    for (const other of [{}, { _setLoras: () => {} }, { _loraAdapters: new Set() }]) {
      expect(await setLoras(other as unknown as LlamaContext, [])).toBe(false);
    }
  });

  it('stays where node-llama-cpp looks otherwise inside', async () => {
    for (const other of [
      {},
      { _loraAdapters: {} },
      { _loraAdapters: new Map([[gguf.adapter(0).path, {}]]) },
      { _loraAdapters: new Map([[gguf.adapter(0).path, null]]) },
    ]) {
      expect(await freeLora(other as unknown as LlamaModel, gguf.adapter(0).path)).toBe(false);
    }
  });

  it('goes with the last context that uses it', async () => {
    const pool = openPool();
    await use(pool, gguf.adapter(0));
    await use(pool, gguf.adapter(0, 0.5), gguf.adapter(1));
    expect(held().size).toBe(2);
    const shared = held().get(gguf.adapter(0).path);
    await use(pool, gguf.adapter(2)); // in the place of the first, whose LoRA the second still uses
    expect([...held().keys()].sort()).toEqual([0, 1, 2].map((n) => gguf.adapter(n).path).sort());
    await use(pool, gguf.adapter(0, 0.25)); // in the place of the second: one of its LoRAs is taken over, not read anew
    expect([...held().keys()].sort()).toEqual([0, 2].map((n) => gguf.adapter(n).path).sort());
    expect(held().get(gguf.adapter(0).path)).toBe(shared);
    for (const n of [0, 2]) pool.forget(gguf.adapter(n).path);
    expect(pool.size).toBe(0);
    await settled().toBe(0);
  });

  it('that is forgotten while a request uses it goes when that has ended, and stays when it is asked for again', async () => {
    const pool = openPool();
    const lease = () => pool.lease(adapterSet([gguf.adapter(3)]), ids, signal, () => {});
    const first = await lease();
    pool.forget(gguf.adapter(3).path);
    await first.prompt(ids, 0); // as if nothing had happened
    expect(held().size).toBe(1);
    const again = await lease();
    first.cancel();
    again.cancel();
    expect(pool.size).toBe(1);
    const last = await lease();
    pool.forget(gguf.adapter(3).path);
    last.cancel();
    expect(pool.size).toBe(0);
    await settled().toBe(0);
  });

  it('goes where the context could not be made', async () => {
    let fails = true;
    const pool = openPool(2, async (adapters, spare) => {
      const context = await create(adapters, spare);
      if (!fails) return context;
      await context.dispose();
      throw new Error('no memory');
    });
    await expect(use(pool, gguf.adapter(4), gguf.adapter(5))).rejects.toThrow('no memory');
    await settled().toBe(0);
    await expect(
      use(pool, gguf.adapter(4), { ...gguf.adapter(5), id: 'gone', path: `${gguf.dir}/gone` }),
    ).rejects.toThrow();
    await settled().toBe(0);
    fails = false;
    expect(await use(pool, gguf.adapter(4))).toBe(1);
    pool.forget(gguf.adapter(4).path);
    await settled().toBe(0);
  });

  it('leaves its context to the next, which answers as in a new one', async () => {
    const pool = openPool();
    const logprob = async (adapters: AdapterScale[]) => {
      const reader = await pool.lease(adapterSet(adapters), ids, signal, () => {});
      const { next } = await reader.prompt(ids, 3);
      reader.cancel();
      return [next.total, ...next.ids, ...next.logits];
    };
    const before = made;
    const sets = [[gguf.adapter(0)], [gguf.adapter(1, 0.5)], [], [gguf.adapter(2), gguf.adapter(3)]];
    const first: number[][] = [];
    for (const set of sets) first.push(await logprob(set));
    expect(new Set(first.map(String)).size).toBe(4);
    expect(made - before).toBe(2);
    for (const [i, set] of sets.entries()) expect(await logprob(set)).toEqual(first[i]);
    for (const [i, set] of sets.entries()) {
      const alone = openPool();
      const reader = await alone.lease(adapterSet(set), ids, signal, () => {});
      const { next } = await reader.prompt(ids, 3);
      expect([next.total, ...next.ids, ...next.logits]).toEqual(first[i]);
      reader.cancel();
      for (const { path } of set) alone.forget(path);
    }
    for (const set of sets) for (const { path } of set) pool.forget(path);
    await settled().toBe(0);
  });

  it('is freed while other contexts compute', async () => {
    const pool = openPool(4);
    const rounds = Array.from({ length: 12 }, (_, i) => i);
    for (const i of rounds) {
      await Promise.all([use(pool, gguf.adapter(i % 5)), use(pool)]);
      pool.forget(gguf.adapter(i % 5).path);
    }
    await settled().toBe(0);
    expect(pool.size).toBe(1);
  });
});
