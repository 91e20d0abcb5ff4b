/** Mixtures of adapters applied as one, beside the same adapters one by one: in llama.cpp, by what is known of the next token. */

import { copyFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LlamaModel } from 'node-llama-cpp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Decoder } from '../../../src/engine/llama/decoder.js';
import { adapterSet, LoraFiles } from '../../../src/engine/llama/loras.js';
import { SequencePool } from '../../../src/engine/llama/sequences.js';
import { LoraStacks } from '../../../src/engine/llama/stacks.js';
import type { AdapterScale } from '../../../src/engine/types.js';
import { edgeGguf } from '../../helpers/edge-gguf.js';
import { temporaryDir } from '../../helpers/files.js';
import { endLlamaCpp, llamaCpp } from '../../helpers/llama-cpp.js';

const gguf = edgeGguf();
endLlamaCpp();
let model: LlamaModel;
let decoder: Decoder;
let stacks: LoraStacks;
let cache: string;

const members = () => [0, 1, 2, 3, 4, 5].map((n) => gguf.adapter(n));

beforeEach(async () => {
  model = await (await llamaCpp()).loadModel({ modelPath: gguf.model });
  const create = () => model.createContext({ contextSize: 64, sequences: 2, threads: 1 });
  decoder = await Decoder.open(model, create, { sequences: 2, threads: { prompt: 1, answer: 1 } });
  cache = temporaryDir();
  stacks = new LoraStacks(members(), cache);
});
afterEach(async () => {
  await decoder.close();
  await model.dispose();
  stacks.close();
  vi.restoreAllMocks();
});

const { signal } = new AbortController();
const ids = [1, 100, 200, 300, 17, 90];

function open(own: LoraStacks | null, kept = 0) {
  const loras = new LoraFiles(model, decoder, 'edge', kept, own);
  return { loras, pool: new SequencePool(decoder, loras, 4096) };
}

/** Logits of the next token's likeliest ten, by id. */
async function next(pool: SequencePool, adapters: AdapterScale[]): Promise<Map<number, number>> {
  const reader = await pool.lease(adapterSet(adapters), ids, signal, () => {});
  const { next } = await reader.prompt(ids, 10);
  reader.cancel();
  return new Map(next.ids.map((id, i) => [id, next.logits[i]!]));
}

const at = (...scales: number[]) => scales.map((scale, n) => gguf.adapter(n, scale));

describe('a mixture applied as one', () => {
  it('tells of the next token what its adapters tell one by one, negative and small weights too', async () => {
    const [one, all] = [open(null), open(stacks)];
    const mixtures = [
      at(0.3, 0.2, 0.1, 0.4, 0.5, 0.6),
      at(2, -1, 0.5),
      at(0.002, 0.9, 0.001, 0.05),
      at(0, 0, 0, -1, 1, 2),
    ];
    const seen = new Set<string>();
    for (const mixture of mixtures) {
      const [wanted, found] = [await next(one.pool, mixture), await next(all.pool, mixture)];
      expect([...found.keys()]).toEqual([...wanted.keys()]);
      for (const [id, logit] of wanted) expect(found.get(id)).toBeCloseTo(logit, 3);
      seen.add([...wanted].join());
    }
    expect(seen.size).toBe(mixtures.length);
  });

  it('is one LoRA while it is used, made once for all that use it, and its file is gone then', async () => {
    const { loras, pool } = open(stacks);
    const write = vi.spyOn(stacks, 'write');
    const set = adapterSet(at(0.3, 0.3, 0.3));
    const readers = await Promise.all([0, 1].map(() => pool.lease(set, ids, signal, () => {})));
    expect(loras.size).toBe(1);
    expect(write).toHaveBeenCalledTimes(1);
    const [, file] = write.mock.calls[0]!;
    expect(readdirSync(join(file, '..'))).toEqual([]);
    expect(readdirSync(cache)).toHaveLength(1); // the stack itself, for the next process
    for (const reader of readers) reader.cancel();
    await expect.poll(() => loras.size).toBe(0);
  });

  it('stays for the next request as far as the budget goes', async () => {
    const { loras, pool } = open(stacks, stacks.bytes);
    const write = vi.spyOn(stacks, 'write');
    await next(pool, at(0.3, 0.3, 0.3));
    await next(pool, at(0.3, 0.3, 0.3));
    expect(write).toHaveBeenCalledTimes(1);
    await next(pool, at(0.3, 0.3, 0.2));
    expect(write).toHaveBeenCalledTimes(2);
    await expect.poll(() => loras.size).toBe(1);
  });

  it('is of three adapters at least, a quarter of the stack, and of nothing else', () => {
    expect(stacks.covers(at(1, 1))).toBe(false);
    expect(stacks.covers(at(1, 1, 1))).toBe(true);
    expect(stacks.covers([...at(1, 1, 1), { id: 'user', path: 'x', scale: 1 }])).toBe(false);
    const many = Array.from({ length: 16 }, (_, n) => ({ id: `m${n}`, path: gguf.adapter(n % 6).path, scale: 1 }));
    const large = new LoraStacks(many, null);
    expect(large.covers(many.slice(0, 3))).toBe(false);
    expect(large.covers(many.slice(0, 4))).toBe(true);
    large.close();
  });

  it('that cannot be written is applied one by one, which is said once', async () => {
    const warned = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const wanted = await next(open(null).pool, at(0.3, 0.2, 0.1));
    rmSync(cache, { recursive: true });
    writeFileSync(cache, 'no directory');
    const { loras, pool } = open(stacks, 2 ** 20);
    expect(await next(pool, at(0.3, 0.2, 0.1))).toEqual(wanted);
    expect(await next(pool, at(0.3, 0.2, 0.2))).not.toEqual(wanted);
    expect(loras.size).toBe(3);
    const said = warned.mock.calls.filter(([text]) => String(text).includes('one by one'));
    expect(said).toHaveLength(1);
    rmSync(cache);
  });

  it('is found in the cache by the next engine, and made anew where its bytes are no such stack', async () => {
    const wanted = await next(open(stacks).pool, at(0.3, 0.2, 0.1));
    const [name] = readdirSync(cache);
    const file = join(cache, name!);
    const made = statSync(file);
    const asked = async () => {
      const again = new LoraStacks(members(), cache);
      expect(await next(open(again).pool, at(0.3, 0.2, 0.1))).toEqual(wanted);
      again.close();
      return statSync(file).ino;
    };
    expect(await asked()).toBe(made.ino);
    copyFileSync(gguf.adapter(0).path, file); // another LoRA, or half of one
    expect(await asked()).not.toBe(made.ino);
    truncateSync(file, made.size / 2);
    await asked();
    expect(statSync(file).size).toBe(made.size);
  });
});
