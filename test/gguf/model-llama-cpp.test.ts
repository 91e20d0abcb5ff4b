/** Exported models and adapters, run by llama.cpp, give transformers' and PEFT's probabilities and our own greedy text. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportAdapterGguf } from '../../src/gguf/adapter.js';
import type { GgufFileType } from '../../src/gguf/file-types.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { GgufFile } from '../../src/gguf/read.js';
import type { GgufWriteType } from '../../src/gguf/types.js';
import { writeGguf } from '../../src/gguf/write.js';
import { ggufArchitecture } from '../../src/hf/families.js';
import { HfModel } from '../../src/hf/model.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { openNetwork } from '../../src/model/open-network.js';
import { loadAdapterLora } from '../../src/train/adapter-lora.js';
import { answerPrompt, generateGreedy } from '../../src/train/answer.js';
import { temporaryRoot } from '../helpers/files.js';
import { ADAPTED_MODELS, fixture, fixtureJson, fixtureTensors, MODELS, ROOT } from '../helpers/fixtures.js';
import { endLlamaCpp, greedy, nextProbabilities } from '../helpers/llama-cpp.js';
import { measured } from '../helpers/measured.js';

const dir = temporaryRoot();
afterAll(() => rmSync(dir, { recursive: true, force: true }));
endLlamaCpp();

const EDGE = join(ROOT, 'models', 'crayon-edge');

/** llama.cpp looks GELU up in a table of float16: with that, transformers itself moves by 0.0042 on this model. */
const tolerance = (name: string): number => (name === 'gemma3' ? 0.01 : 1e-4);

function exported(name: string, type: GgufFileType = 'F32'): string {
  const out = join(dir, `${name}-${type}.gguf`);
  const model = name === 'crayon-edge' ? EDGE : fixture('models', name);
  exportModelGguf({ model, out, type, force: true });
  return out;
}

/** Golden logits (T, V) of the second row of the fixture's batch, which is not padded before its length, as probabilities. */
function golden(name: string, tensors: Map<string, Float32Array>, tensor: string) {
  const { ids, lengths } = fixtureJson<{ ids: number[][]; lengths: number[] }>('golden', `${name}.json`);
  const { modelType, vocabSize, slidingWindow } = openConfig(name);
  const rows = tensor === 'logits' ? ids[0]!.length : 0; // "logits" holds both rows, "logits.row1" the second alone
  const all = tensors.get(tensor)!;
  // Where llama.cpp has no window, compared is what the exported context length promises.
  const isCut = slidingWindow !== null && !ggufArchitecture(modelType).hasWindow;
  const length = isCut ? Math.min(lengths[1]!, slidingWindow) : lengths[1]!;
  const logits = all.subarray(rows * vocabSize, (rows + length) * vocabSize);
  return { ids: ids[1]!.slice(0, length), probabilities: softmaxRows(logits, vocabSize) };
}

function openConfig(name: string) {
  const model = HfModel.open(fixture('models', name));
  model.close();
  return model.config;
}

function softmaxRows(logits: Float32Array, columns: number): Float32Array {
  const out = new Float32Array(logits.length);
  for (let start = 0; start < logits.length; start += columns) {
    const row = logits.subarray(start, start + columns);
    const largest = row.reduce((a, b) => Math.max(a, b));
    const sum = row.reduce((total, x) => total + Math.exp(x - largest), 0);
    for (let i = 0; i < columns; i++) out[start + i] = Math.exp(row[i]! - largest) / sum;
  }
  return out;
}

/** The largest |ln p - ln q|: 1e-4 says that probabilities agree to four digits wherever they lie. */
function logDifference(p: Float32Array, q: Float32Array): number {
  expect(p.length).toBe(q.length);
  return p.reduce((most, x, i) => Math.max(most, Math.abs(Math.log(x / q[i]!))), 0);
}

describe.each(MODELS)('%s in llama.cpp', (name) => {
  it("gives transformers' probabilities", async () => {
    const { ids, probabilities } = golden(name, fixtureTensors('golden', `${name}.safetensors`), 'logits');
    const difference = logDifference(await nextProbabilities(exported(name), ids), probabilities);
    expect(measured('llama.cpp', name, difference)).toBeLessThan(tolerance(name));
  });
});

describe.each(ADAPTED_MODELS)('%s with its adapter in llama.cpp', (name) => {
  const { ids, probabilities } = golden(name, fixtureTensors('lora', name, 'golden.safetensors'), 'logits.row1');
  const adapter = fixture('lora', name);

  it.each(['directory', 'GGUF file'])("gives PEFT's probabilities, exported for a base %s", async (kind) => {
    const model = exported(name);
    const out = join(dir, `${name}.lora.gguf`);
    exportAdapterGguf({ adapter, base: kind === 'directory' ? fixture('models', name) : model, out, force: true });
    const difference = logDifference(await nextProbabilities(model, ids, [{ filePath: out }]), probabilities);
    expect(difference).toBeLessThan(tolerance(name));
  });
});

describe('row order', () => {
  it("matters: Llama's q and k, or B of their LoRA, in transformers' order are silently wrong", async () => {
    const { ids, probabilities } = golden('llama', fixtureTensors('golden', 'llama.safetensors'), 'logits');
    const model = exported('llama');
    const unordered = join(dir, 'unordered.gguf');
    const hf = HfModel.open(fixture('models', 'llama'));
    rewrite(model, unordered, (name, data) => {
      const [, layer, which] = /^blk\.(\d)\.attn_([qk])\.weight$/.exec(name) ?? [];
      return layer === undefined ? data : hf.readF32(`model.layers.${layer}.self_attn.${which}_proj.weight`);
    });
    hf.close();
    expect(logDifference(await nextProbabilities(unordered, ids), probabilities)).toBeGreaterThan(0.05);

    const lora = join(dir, 'ordered.lora.gguf');
    const plain = join(dir, 'unordered.lora.gguf');
    exportAdapterGguf({ adapter: fixture('lora', 'llama'), base: fixture('models', 'llama'), out: lora });
    const peft = fixtureTensors('lora', 'llama', 'adapter_model.safetensors');
    rewrite(lora, plain, (name, data) => {
      const [, layer, which] = /^blk\.(\d)\.attn_([qk])\.weight\.lora_b$/.exec(name) ?? [];
      if (layer === undefined) return data;
      return peft.get(`base_model.model.model.layers.${layer}.self_attn.${which}_proj.lora_B.weight`)!;
    });
    const adapted = golden('llama', fixtureTensors('lora', 'llama', 'golden.safetensors'), 'logits.row1');
    const wrong = await nextProbabilities(model, adapted.ids, [{ filePath: plain }]);
    expect(logDifference(wrong, adapted.probabilities)).toBeGreaterThan(0.02);
  });
});

/** A copy of a GGUF file with some tensors changed. */
function rewrite(from: string, to: string, change: (name: string, data: Float32Array) => Float32Array): void {
  const file = GgufFile.open(from);
  const tensors = [...file.tensors.values()].map(({ name, shape, type }) => ({
    name,
    shape,
    type: type as GgufWriteType,
    data: () => change(name, file.readF32(name)),
  }));
  writeGguf(to, file.metadata, tensors, { force: true });
  file.close();
}

describe('models/crayon-edge in llama.cpp', () => {
  beforeAll(async () => {
    await chooseBackend();
  });
  afterAll(releaseBackend);

  const prompt = 'Bank: the clerk in the vault has boot, belt and shirt before the audit. Team:';

  it('continues greedily as our own forward pass does, without and with an adapter of the pool', async () => {
    const tokenizer = loadTokenizer(EDGE);
    const ids = tokenizer.encode(prompt, { addBos: true });
    const hf = HfModel.open(EDGE);
    const model = openNetwork(hf);
    const out = exported('crayon-edge');
    const options = { maxNewTokens: 12, stopIds: [tokenizer.eosId!] };
    expect(await greedy(out, ids, 12)).toEqual(await generateGreedy(model, ids, options));

    const adapter = join(EDGE, '..', 'crayon-edge-pool', 'adapters', '0');
    const lora = join(dir, 'pool-0.lora.gguf');
    exportAdapterGguf({ adapter, base: EDGE, out: lora });
    const text = await answerPrompt(model, tokenizer, prompt, { lora: loadAdapterLora(adapter, hf), maxNewTokens: 12 });
    expect(tokenizer.decode(await greedy(out, ids, 12, [{ filePath: lora }]))).toBe(text);
    hf.close();
    model.dispose();
  });

  it.each([
    ['F16', 2e-3],
    ['Q8_0', 0.08],
    ['Q6_K', 0.08],
    ['Q5_K_M', 0.25],
    ['Q4_K_M', 0.25],
    ['Q4_0', 0.5],
  ] as const)('stays close in %s', async (type, bound) => {
    const ids = loadTokenizer(EDGE).encode(prompt, { addBos: true });
    const exact = await nextProbabilities(exported('crayon-edge'), ids);
    const stored = await nextProbabilities(exported('crayon-edge', type), ids);
    // Total variation: half the sum of |p - q|, the largest over the positions.
    const columns = exact.length / ids.length;
    const distances = ids.map((_, t) => {
      let sum = 0;
      for (let i = t * columns; i < (t + 1) * columns; i++) sum += Math.abs(exact[i]! - stored[i]!);
      return sum / 2;
    });
    expect(Math.max(...distances)).toBeLessThan(bound);
  });
});
