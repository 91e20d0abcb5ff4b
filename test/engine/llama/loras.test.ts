/** LoRAs in llama.cpp's memory: those in use, and the last ones; by what node-llama-cpp has inside, in the version installed. */

import { statSync } from 'node:fs';
import type { LlamaModel } from 'node-llama-cpp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Decoder } from '../../../src/engine/llama/decoder.js';
import { adapterSet, LoraFiles } from '../../../src/engine/llama/loras.js';
import { SequencePool } from '../../../src/engine/llama/sequences.js';
import type { AdapterScale } from '../../../src/engine/types.js';
import { edgeGguf } from '../../helpers/edge-gguf.js';
import { endLlamaCpp, llamaCpp } from '../../helpers/llama-cpp.js';

const gguf = edgeGguf();
endLlamaCpp();
let model: LlamaModel;
let decoder: Decoder;

beforeEach(async () => {
  model = await (await llamaCpp()).loadModel({ modelPath: gguf.model });
  const create = () => model.createContext({ contextSize: 64, sequences: 2, threads: 1 });
  decoder = await Decoder.open(model, create, { sequences: 2, threads: { prompt: 1, answer: 1 } });
});
afterEach(async () => {
  await decoder.close();
  await model.dispose();
});

/** What llama.cpp holds, by file; an upgrade that names it otherwise fails here. */
const held = (): Map<string, { disposed: boolean }> =>
  (model as unknown as { _loraAdapters: Map<string, { disposed: boolean }> })._loraAdapters;
const heldPaths = () => [...held().keys()].sort();
const paths = (...numbers: number[]) => numbers.map((n) => gguf.adapter(n).path).sort();

const { signal } = new AbortController();
const ids = [1, 100, 200];

/** @param kept files that are kept without a user */
function open(kept = 0) {
  const bytes = statSync(gguf.adapter(0).path).size;
  const loras = new LoraFiles(model, decoder, 'edge', (kept + 0.5) * bytes);
  return { loras, pool: new SequencePool(decoder, loras, 4096) };
}

/** Uses the adapters for one token: all that is known of the next one. */
async function use(pool: SequencePool, ...adapters: AdapterScale[]): Promise<number[]> {
  const reader = await pool.lease(adapterSet(adapters), ids, signal, () => {});
  const { next } = await reader.prompt(ids, 3);
  reader.cancel();
  return [next.total, ...next.ids, ...next.logits];
}

const settled = () => expect.poll(() => heldPaths(), { timeout: 5000 });

describe('a LoRA', () => {
  it('is read once for all scales, and goes with its last user', async () => {
    const { loras, pool } = open();
    const lease = (...adapters: AdapterScale[]) => pool.lease(adapterSet(adapters), ids, signal, () => {});
    const first = await lease(gguf.adapter(0));
    const lora = held().get(gguf.adapter(0).path);
    const second = await lease(gguf.adapter(0, 0.5), gguf.adapter(1));
    expect(held().get(gguf.adapter(0).path)).toBe(lora);
    expect(loras.size).toBe(2);
    first.cancel();
    await decoder.alone(() => {});
    expect(heldPaths()).toEqual(paths(0, 1));
    await second.prompt(ids, 0); // they are applied when they are freed
    second.cancel();
    await settled().toEqual([]);
    expect(lora?.disposed).toBe(true);
    expect(loras.size).toBe(0);
  });

  it('stays without a user as far as the budget goes, the last ones first', async () => {
    const { pool } = open(2);
    for (const n of [0, 1, 2, 1]) await use(pool, gguf.adapter(n));
    await settled().toEqual(paths(1, 2));
    await use(pool, gguf.adapter(3), gguf.adapter(4), gguf.adapter(5)); // all three while they are in use
    await settled().toEqual(paths(4, 5));
  });

  it('that is forgotten while a request uses it goes when that has ended, and stays when it is asked for again', async () => {
    const { loras, pool } = open(2);
    const lease = () => pool.lease(adapterSet([gguf.adapter(3)]), ids, signal, () => {});
    const first = await lease();
    loras.forget(gguf.adapter(3).path);
    await first.prompt(ids, 0); // as if nothing had happened
    expect(held().size).toBe(1);
    const again = await lease();
    first.cancel();
    again.cancel();
    await decoder.alone(() => {});
    expect(held().size).toBe(1);
    const last = await lease();
    loras.forget(gguf.adapter(3).path);
    last.cancel();
    await settled().toEqual([]);
  });

  it('that cannot be read holds nothing, and is tried again', async () => {
    const { loras, pool } = open();
    const missing = { ...gguf.adapter(5), id: 'gone', path: `${gguf.dir}/gone` };
    await expect(use(pool, gguf.adapter(4), missing)).rejects.toMatchObject({ code: 'file-not-found' });
    await settled().toEqual([]);
    const wrong = { ...gguf.adapter(5), id: 'model', path: gguf.model };
    await expect(use(pool, gguf.adapter(4), wrong)).rejects.toMatchObject({ code: 'adapter-mismatch' });
    await settled().toEqual([]);
    expect(loras.size).toBe(0);
    expect(await use(pool, gguf.adapter(4))).toHaveLength(7);
  });

  it('leaves its sequence to the next set, which answers as in a new context', async () => {
    const { pool } = open(8);
    const sets = [[gguf.adapter(0)], [gguf.adapter(1, 0.5)], [], [gguf.adapter(2), gguf.adapter(3)]];
    const first: number[][] = [];
    for (const set of sets) first.push(await use(pool, ...set));
    expect(new Set(first.map(String)).size).toBe(4);
    for (const [i, set] of sets.entries()) expect(await use(pool, ...set)).toEqual(first[i]);
    for (const [i, set] of sets.entries()) {
      await decoder.renew();
      expect(await use(open(8).pool, ...set)).toEqual(first[i]);
    }
  });

  it('is freed while others compute', async () => {
    const { loras, pool } = open();
    const plain = await use(pool);
    for (let i = 0; i < 12; i++) {
      const [, other] = await Promise.all([use(pool, gguf.adapter(i % 5)), use(pool)]);
      expect(other).toEqual(plain);
      loras.forget(gguf.adapter(i % 5).path);
    }
    await settled().toEqual([]);
  });
});

describe('adapterSet', () => {
  const at = (id: string, scale: number): AdapterScale => ({ id, path: `${id}.gguf`, scale });

  it('is equal for equal sets in any order, to a thousandth', () => {
    const set = adapterSet([at('b', 0.5), at('a', 0.25)]);
    expect(adapterSet([at('a', 0.2501), at('b', 0.4999)]).key).toBe(set.key);
    expect(adapterSet([at('a', 0.252), at('b', 0.5)]).key).not.toBe(set.key);
    expect(set.adapters.map(({ id }) => id)).toEqual(['a', 'b']);
  });

  it('leaves out what has no weight, and adds up what is named twice', () => {
    expect(adapterSet([at('a', 0.0004), at('b', 0)]).adapters).toEqual([]);
    expect(adapterSet([]).key).toBe('');
    expect(adapterSet([at('a', 0.25), at('a', 0.5)]).adapters).toEqual([at('a', 0.75)]);
  });
});
