/**
 * Our numerics against transformers and PEFT (test/fixtures, made by scripts/fixtures), the same checks on every back end.
 */

import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HfModel } from '../../src/hf/model.js';
import { ADAMW_DEFAULTS, type AdamWOptions } from '../../src/model/adamw-settings.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { adapterFactors, createLoraLayout, type LoraLayout, setAdapterFactors } from '../../src/model/lora-layout.js';
import type { BackendName } from '../../src/model/names.js';
import type { Gates, Network } from '../../src/model/network.js';
import { openNetwork } from '../../src/model/open-network.js';
import { openPeftAdapter } from '../../src/peft/read.js';
import { hiddenStateEmbeddings } from '../../src/pool/embed/hidden-states.js';
import { type PaddedBatch, padBatch } from '../../src/train/batches.js';
import { ADAPTED_MODELS, fixture, fixtureJson, fixtureTensors, MODELS, relativeDifference } from './fixtures.js';
import { measured } from './measured.js';

interface Golden {
  ids: number[][];
  lengths: number[];
  promptLengths: number[];
}

/** The rows of a (B, T, width) array that are real tokens. */
function valid(x: ArrayLike<number>, T: number, width: number, lengths: number[]): number[] {
  return lengths.flatMap((length, b) => Array.from(x).slice(b * T * width, (b * T + length) * width));
}

/** The mean of each sequence's rows, scaled to length 1. rows (all tokens, width) */
function unitMeans(rows: number[], lengths: number[], width: number): number[] {
  let from = 0;
  return lengths.flatMap((length) => {
    const mean = Array.from({ length: width }, (_, c) => {
      let sum = 0;
      for (let t = 0; t < length; t++) sum += rows[(from + t) * width + c]! / length;
      return sum;
    });
    from += length;
    const norm = Math.hypot(...mean);
    return mean.map((x) => x / norm);
  });
}

/** Our loss masks every token after the prompt, so the fixtures' completion masks are prompt lengths. */
const trainingExamples = ({ lengths, promptLengths }: Golden, ids: number[][]) =>
  ids.map((row, b) => ({ ids: Int32Array.from(row.slice(0, lengths[b]!)), promptLength: promptLengths[b]! }));

/** A PEFT adapter of the fixtures as a layout of one adapter and its flat vector. */
function loadAdapter(name: string): { layout: LoraLayout; flat: Float32Array; loraAlpha: number } {
  const adapter = openPeftAdapter(fixture('lora', name));
  const { modules } = adapter;
  const { r, scale } = modules[0]!;
  const layout = createLoraLayout(modules, 1, r);
  const flat = new Float32Array(layout.size);
  modules.forEach((m, i) => {
    setAdapterFactors(layout, flat, layout.modules[i]!, 0, { a: adapter.readA(m), b: adapter.readB(m) });
  });
  adapter.close();
  return { layout, flat, loraAlpha: scale * r };
}

export function paritySuite(backend: BackendName | 'auto'): void {
  beforeAll(async () => {
    await chooseBackend(backend);
  });
  afterAll(releaseBackend);

  const open = (name: string) => {
    const source = HfModel.open(fixture('models', name));
    const model = openNetwork(source);
    source.close();
    return model;
  };
  /** One step's loss and gradient, without an update. */
  const gradientOf = async (
    model: Network,
    { layout, flat, loraAlpha }: ReturnType<typeof loadAdapter>,
    padded: PaddedBatch,
    gates: Gates,
  ) => {
    const learner = model.learner({ layout, loraAlpha, start: flat, adamw: ADAMW_DEFAULTS });
    await learner.add(padded, gates, padded.targets.length);
    const gradient = await learner.gradient();
    const { loss } = await learner.update(0);
    learner.dispose();
    return { loss, gradient };
  };

  describe.each(MODELS)('%s without adapter', (name) => {
    it('gives the logits and hidden states of transformers', async () => {
      const golden = fixtureJson<Golden>('golden', `${name}.json`);
      const expected = fixtureTensors('golden', `${name}.safetensors`);
      const model = open(name);
      const { hiddenSize, vocabSize, numLayers } = model.config;
      const { lengths } = golden;
      const [B, T] = [golden.ids.length, golden.ids[0]!.length];
      const ids = Int32Array.from(golden.ids.flat());
      const rows = lengths.flatMap((length, b) => Array.from({ length }, (_, t) => b * T + t));
      const share = new Float32Array(B * T);
      for (const row of rows) share[row] = 1 / lengths[Math.floor(row / T)]!;
      for (let i = 0; i <= numLayers; i++) {
        const ours = await model.embed({ ids, B, T }, i, share);
        const theirs = unitMeans(valid(expected.get(`hidden.${i}`)!, T, hiddenSize, lengths), lengths, hiddenSize);
        expect(relativeDifference(ours, theirs), `hidden state ${i}`).toBeLessThan(1e-4);
      }
      const ours = await model.targetLogits({ ids, B, T, rows: Int32Array.from(rows) });
      const difference = relativeDifference(ours, valid(expected.get('logits')!, T, vocabSize, lengths));
      expect(measured('logits', name, difference)).toBeLessThan(1e-4);
      model.dispose();
    });

    it('gives the mean hidden states of transformers as embeddings', async () => {
      const golden = fixtureJson<Golden>('golden', `${name}.json`);
      const expected = fixtureTensors('golden', `${name}.safetensors`);
      const model = open(name);
      const prompts = golden.ids.map((row, b) => Int32Array.from(row.slice(0, golden.promptLengths[b]!)));
      for (const [kind, layer] of [
        ['hidden:1', 1],
        ['last-hidden', model.config.numLayers],
      ] as const) {
        const ours = await hiddenStateEmbeddings(model, prompts, { layer });
        expect(relativeDifference(ours, expected.get(`embedding.${kind}`)!), kind).toBeLessThan(1e-4);
      }
      model.dispose();
    });
  });

  describe.each(ADAPTED_MODELS)('%s with a LoRA', (name) => {
    it("gives PEFT's logits, loss and gradients", async () => {
      const golden = fixtureJson<Golden>('golden', `${name}.json`);
      const { loss: expectedLoss } = fixtureJson<{ loss: number }>('lora', name, 'golden.json');
      const expected = fixtureTensors('lora', name, 'golden.safetensors');
      const model = open(name);
      const { layout, flat, loraAlpha } = loadAdapter(name);

      // logits of the second row
      const row = golden.ids[1]!.slice(0, golden.lengths[1]!);
      const ids = Int32Array.from(row);
      const rows = Int32Array.from(row, (_, t) => t);
      const adapters = model.attach({ layout, parameters: flat, loraAlpha });
      const logits = await model.targetLogits({ ids, B: 1, T: row.length, rows }, { adapters, gates: [[1]] });
      adapters.dispose();
      expect(relativeDifference(logits, expected.get('logits.row1')!)).toBeLessThan(1e-4);

      // loss and gradients of the batch
      const padded = padBatch(trainingExamples(golden, golden.ids));
      const { loss, gradient: values } = await gradientOf(model, { layout, flat, loraAlpha }, padded, [[1], [1]]);
      expect(loss).toBeCloseTo(expectedLoss, 4);
      const differences = layout.modules.flatMap((module) => {
        const { a, b } = adapterFactors(layout, values, module, 0);
        const key = `grad.base_model.model.${module.name}`;
        return [
          relativeDifference(a, expected.get(`${key}.lora_A.weight`)!),
          relativeDifference(b, expected.get(`${key}.lora_B.weight`)!),
        ];
      });
      expect(measured('gradients', name, Math.max(...differences))).toBeLessThan(1e-3);
      model.dispose();
    });
  });

  it('takes the AdamW steps that PyTorch takes', async () => {
    const golden = fixtureJson<Golden>('golden', 'llama.json');
    const reference = fixtureJson<{
      losses: number[];
      gradNorms: number[];
      optimizer: { lr: number; betas: [number, number]; eps: number; weightDecay: number; maxGradNorm: number };
    }>('lora', 'llama', 'golden.json');
    const expected = fixtureTensors('lora', 'llama', 'golden.safetensors');
    const model = open('llama');
    const { layout, flat, loraAlpha } = loadAdapter('llama');
    const { lr, betas, eps, weightDecay, maxGradNorm } = reference.optimizer;
    const adamw: AdamWOptions = {
      beta1: betas[0],
      beta2: betas[1],
      epsilon: eps,
      weightDecay,
      clipNorm: maxGradNorm,
    };
    const learner = model.learner({ layout, loraAlpha, start: flat, adamw });
    const padded = padBatch(trainingExamples(golden, golden.ids));
    for (let step = 0; step < 3; step++) {
      await learner.add(padded, [[1], [1]], padded.targets.length);
      const { loss, gradientNorm } = await learner.update(lr);
      expect(loss).toBeCloseTo(reference.losses[step]!, 3);
      expect(gradientNorm / reference.gradNorms[step]!).toBeCloseTo(1, 3);
    }
    const { parameters } = await learner.state();
    for (const module of layout.modules) {
      const { a, b } = adapterFactors(layout, parameters, module, 0);
      const key = `trained.base_model.model.${module.name}`;
      expect(relativeDifference(a, expected.get(`${key}.lora_A.weight`)!), `${key} A`).toBeLessThan(2e-3);
      expect(relativeDifference(b, expected.get(`${key}.lora_B.weight`)!), `${key} B`).toBeLessThan(2e-3);
    }
    learner.dispose();
    model.dispose();
  });

  it.each(['llama', 'gemma3', 'phi3'])(
    'gives the loss and gradients of stacked adapters under gates: %s',
    async (name) => {
      const lengths = fixtureJson<Golden>('golden', `${name}.json`);
      const golden = fixtureJson<
        Golden & { adapters: number; rank: number; loraAlpha: number; gates: number[][]; loss: number }
      >('stacked-gated', `${name}.json`);
      const expected = fixtureTensors('stacked-gated', `${name}.safetensors`);
      const model = open(name);
      const names = [...expected.keys()]
        .filter((k) => k.startsWith('A.0.'))
        .map((k) => k.slice('A.0.'.length))
        .sort();
      const { adapters: N, rank: r, loraAlpha } = golden;
      const modules = names.map((name) => ({
        name,
        in: expected.get(`A.0.${name}`)!.length / r,
        out: expected.get(`B.0.${name}`)!.length / r,
      }));
      const layout = createLoraLayout(modules, N, r);
      const flat = new Float32Array(layout.size);
      for (const module of layout.modules) {
        for (let n = 0; n < N; n++) {
          const a = expected.get(`A.${n}.${module.name}`)!;
          const b = expected.get(`B.${n}.${module.name}`)!;
          setAdapterFactors(layout, flat, module, n, { a, b });
        }
      }
      const padded = padBatch(trainingExamples(lengths, golden.ids));
      const adapters = { layout, flat, loraAlpha };
      const { loss, gradient: values } = await gradientOf(model, adapters, padded, golden.gates);
      expect(loss).toBeCloseTo(golden.loss, 4);
      for (const module of layout.modules) {
        for (let n = 0; n < N; n++) {
          const { a, b } = adapterFactors(layout, values, module, n);
          expect(relativeDifference(a, expected.get(`grad.A.${n}.${module.name}`)!)).toBeLessThan(1e-3);
          expect(relativeDifference(b, expected.get(`grad.B.${n}.${module.name}`)!)).toBeLessThan(1e-3);
        }
      }
      model.dispose();
    },
  );

  it.skipIf(backend === 'onnx')('keeps the number of tensors constant over training steps', async () => {
    const golden = fixtureJson<Golden>('golden', 'llama.json');
    const model = open('llama');
    const { layout, flat, loraAlpha } = loadAdapter('llama');
    const learner = model.learner({ layout, loraAlpha, start: flat, adamw: ADAMW_DEFAULTS });
    const padded = padBatch(trainingExamples(golden, golden.ids));
    const counts: number[] = [];
    for (let step = 0; step < 4; step++) {
      await learner.add(padded, [[1], [1]], 1);
      await learner.update(1e-3);
      counts.push(tf.memory().numTensors);
    }
    expect(counts).toEqual(counts.map(() => counts[0]));
    learner.dispose();
    model.dispose();
    expect(tf.memory().numTensors).toBe(0);
  });
}
