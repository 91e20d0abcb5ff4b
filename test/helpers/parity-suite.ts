/**
 * Our numerics against transformers and PEFT (test/fixtures, made by scripts/fixtures), the same checks on every back end.
 */

import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HfModel } from '../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { LlamaModel } from '../../src/model/llama.js';
import type { BackendName } from '../../src/model/names.js';
import { openPeftAdapter } from '../../src/peft/read.js';
import { hiddenStateEmbeddings } from '../../src/pool/embed/hidden-states.js';
import { AdamW } from '../../src/train/adamw.js';
import { padBatch } from '../../src/train/batches.js';
import { bindFactors, factorSlices, gateTensor } from '../../src/train/lora-binding.js';
import { adapterFactors, createLoraLayout, type LoraLayout, setAdapterFactors } from '../../src/train/lora-layout.js';
import { lossAndGradient } from '../../src/train/trainer.js';
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
    const model = new LlamaModel(source);
    source.close();
    return model;
  };

  describe.each(MODELS)('%s without adapter', (name) => {
    it('gives the logits and hidden states of transformers', async () => {
      const golden = fixtureJson<Golden>('golden', `${name}.json`);
      const expected = fixtureTensors('golden', `${name}.safetensors`);
      const model = open(name);
      const { hiddenSize, vocabSize, numLayers } = model.config;
      const T = golden.ids[0]!.length;
      const hidden: tf.Tensor[] = [];
      const logits = tf.tidy(() => {
        const x = model.forward(tf.tensor2d(golden.ids, undefined, 'int32'), {
          onHidden: (index, x) => {
            hidden[index] = tf.keep(x);
          },
        });
        return model.logits(x);
      });
      expect(hidden).toHaveLength(numLayers + 1);
      for (let i = 0; i <= numLayers; i++) {
        const ours = valid(await hidden[i]!.data(), T, hiddenSize, golden.lengths);
        const theirs = valid(expected.get(`hidden.${i}`)!, T, hiddenSize, golden.lengths);
        expect(relativeDifference(ours, theirs), `hidden state ${i}`).toBeLessThan(1e-4);
      }
      const ours = valid(await logits.data(), T, vocabSize, golden.lengths);
      const difference = relativeDifference(ours, valid(expected.get('logits')!, T, vocabSize, golden.lengths));
      expect(measured('logits', name, difference)).toBeLessThan(1e-4);
      tf.dispose([logits, ...hidden]);
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
      const logits = tf.tidy(() => {
        const lora = {
          factors: bindFactors(layout, factorSlices(layout, tf.tensor1d(flat))),
          gate: gateTensor([[1]], row.length, layout.r, loraAlpha / layout.r),
        };
        return model.logits(model.forward(tf.tensor2d([row], undefined, 'int32'), { lora }));
      });
      expect(relativeDifference(await logits.data(), expected.get('logits.row1')!)).toBeLessThan(1e-4);

      // loss and gradients of the batch
      const padded = padBatch(trainingExamples(golden, golden.ids));
      const parameters = tf.tensor1d(flat);
      const batch = { padded, coefficients: [[1], [1]] };
      const { loss, gradient } = lossAndGradient(
        { model, layout },
        batch,
        parameters,
        { loraAlpha },
        padded.targets.length,
      );
      expect((await loss.data())[0]).toBeCloseTo(expectedLoss, 4);
      const values = Float32Array.from(await gradient.data());
      const differences = layout.modules.flatMap((module) => {
        const { a, b } = adapterFactors(layout, values, module, 0);
        const key = `grad.base_model.model.${module.name}`;
        return [
          relativeDifference(a, expected.get(`${key}.lora_A.weight`)!),
          relativeDifference(b, expected.get(`${key}.lora_B.weight`)!),
        ];
      });
      expect(measured('gradients', name, Math.max(...differences))).toBeLessThan(1e-3);
      tf.dispose([logits, loss, gradient, parameters]);
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
    const optimizer = new AdamW(flat, {
      beta1: betas[0],
      beta2: betas[1],
      epsilon: eps,
      weightDecay,
      clipNorm: maxGradNorm,
    });
    const padded = padBatch(trainingExamples(golden, golden.ids));
    const batch = { padded, coefficients: [[1], [1]] };
    for (let step = 0; step < 3; step++) {
      const { loss, gradient } = lossAndGradient(
        { model, layout },
        batch,
        optimizer.parameters,
        { loraAlpha },
        padded.targets.length,
      );
      expect((await loss.data())[0]).toBeCloseTo(reference.losses[step]!, 3);
      const norm = optimizer.update(gradient, lr);
      expect((await norm.data())[0]! / reference.gradNorms[step]!).toBeCloseTo(1, 3);
      tf.dispose([loss, gradient, norm]);
    }
    const { parameters } = await optimizer.state();
    for (const module of layout.modules) {
      const { a, b } = adapterFactors(layout, parameters, module, 0);
      const key = `trained.base_model.model.${module.name}`;
      expect(relativeDifference(a, expected.get(`${key}.lora_A.weight`)!), `${key} A`).toBeLessThan(2e-3);
      expect(relativeDifference(b, expected.get(`${key}.lora_B.weight`)!), `${key} B`).toBeLessThan(2e-3);
    }
    optimizer.dispose();
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
      const parameters = tf.tensor1d(flat);
      const { loss, gradient } = lossAndGradient(
        { model, layout },
        { padded, coefficients: golden.gates },
        parameters,
        { loraAlpha },
        padded.targets.length,
      );
      expect((await loss.data())[0]).toBeCloseTo(golden.loss, 4);
      const values = Float32Array.from(await gradient.data());
      for (const module of layout.modules) {
        for (let n = 0; n < N; n++) {
          const { a, b } = adapterFactors(layout, values, module, n);
          expect(relativeDifference(a, expected.get(`grad.A.${n}.${module.name}`)!)).toBeLessThan(1e-3);
          expect(relativeDifference(b, expected.get(`grad.B.${n}.${module.name}`)!)).toBeLessThan(1e-3);
        }
      }
      tf.dispose([loss, gradient, parameters]);
      model.dispose();
    },
  );

  it('keeps the number of tensors constant over training steps', async () => {
    const golden = fixtureJson<Golden>('golden', 'llama.json');
    const model = open('llama');
    const { layout, flat, loraAlpha } = loadAdapter('llama');
    const optimizer = new AdamW(flat);
    const padded = padBatch(trainingExamples(golden, golden.ids));
    const counts: number[] = [];
    for (let step = 0; step < 4; step++) {
      const batch = { padded, coefficients: [[1], [1]] };
      const { loss, gradient } = lossAndGradient({ model, layout }, batch, optimizer.parameters, { loraAlpha }, 1);
      tf.dispose([loss, gradient, optimizer.update(gradient, 1e-3)]);
      counts.push(tf.memory().numTensors);
    }
    expect(counts).toEqual(counts.map(() => counts[0]));
    optimizer.dispose();
    model.dispose();
    expect(tf.memory().numTensors).toBe(0);
  });
}
