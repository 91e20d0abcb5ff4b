/** Loss and gradients of every family and every variant of it, on ONNX Runtime against TensorFlow.js. */

import { beforeAll, describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { HfModel } from '../../../src/hf/model.js';
import { ADAMW_DEFAULTS } from '../../../src/model/adamw-settings.js';
import { chooseBackend } from '../../../src/model/backend.js';
import { LlamaModel } from '../../../src/model/llama.js';
import { adapterFactors, createLoraLayout, type LoraLayout, poolLayout } from '../../../src/model/lora-layout.js';
import type { Gates, Learner, LearnerInput, Network, TargetBatch } from '../../../src/model/network.js';
import { OnnxModel } from '../../../src/model/onnx/onnx-model.js';
import { fixture, MODELS, relativeDifference } from '../../helpers/fixtures.js';
import { measured } from '../../helpers/measured.js';
import { oneThread } from '../../helpers/onnx.js';
import { VARIANTS, variant } from '../../helpers/variants.js';

beforeAll(async () => {
  await chooseBackend('cpu');
});

const N = 3;
const LORA = { r: 2, loraAlpha: 4 };

/** Each sequence through a mixture of all adapters, or through one of them. */
const GATES: Record<'joint' | 'independent', Gates> = {
  joint: [
    [0.7, -0.1, 0.4],
    [0.2, 0.5, 0.3],
  ],
  independent: [
    [0, 1, 0],
    [1, 0, 0],
  ],
};

/** Two sequences of T tokens, of which the last six are to be predicted. */
function batchOf(vocabSize: number, T: number, seed = 1): TargetBatch {
  const random = createRandom(seed, 'batch');
  const some = (length: number) => Int32Array.from({ length }, () => Math.floor(random.uniform() * vocabSize));
  const rows = Int32Array.from({ length: 12 }, (_, i) => Math.floor(i / 6) * T + T - 7 + (i % 6));
  return { ids: some(2 * T), B: 2, T, rows, targets: some(12) };
}

function startOf(layout: LoraLayout): Float32Array {
  const random = createRandom(2, 'start');
  return Float32Array.from({ length: layout.size }, () => random.normal() * 0.05);
}

async function lossAndGradient(learner: Learner, batches: readonly TargetBatch[], gates: Gates) {
  const normaliser = batches.reduce((sum, { targets }) => sum + targets.length, 0);
  for (const batch of batches) await learner.add(batch, gates, normaliser);
  const gradient = await learner.gradient();
  const { loss } = await learner.update(0);
  learner.dispose();
  return { loss, gradient };
}

/** Some work with the same model on both back ends. */
async function onBoth<T>(
  dir: string,
  work: (model: Network, layout: LoraLayout) => Promise<T>,
): Promise<Record<'onnx' | 'tfjs', T>> {
  const source = HfModel.open(dir);
  const layout = poolLayout(source, { targets: 'all', r: LORA.r }, N);
  const models = { onnx: new OnnxModel(source, oneThread()), tfjs: new LlamaModel(source) };
  source.close();
  const results = { onnx: await work(models.onnx, layout), tfjs: await work(models.tfjs, layout) };
  models.onnx.dispose();
  models.tfjs.dispose();
  return results;
}

const inputOf = (layout: LoraLayout, start: LearnerInput['start'] = startOf(layout)): LearnerInput => {
  return { layout, loraAlpha: LORA.loraAlpha, start, adamw: ADAMW_DEFAULTS };
};

/** How far the gradient of any one factor is off. */
function worstModule(found: Float32Array, expected: Float32Array, { modules, adapters, r }: LoraLayout): number {
  const parts = modules.flatMap(({ aOffset, bOffset, out }) => [
    [aOffset, bOffset],
    [bOffset, bOffset + out * adapters * r],
  ]);
  return Math.max(
    ...parts.map(([from, to]) => relativeDifference(found.subarray(from, to), expected.subarray(from, to))),
  );
}

async function compare(name: string, dir: string, gates: Gates, T = 24, chosen = (layout: LoraLayout) => layout) {
  let used: LoraLayout | undefined;
  const { onnx, tfjs } = await onBoth(dir, (model, all) => {
    used = chosen(all);
    return lossAndGradient(model.learner(inputOf(used)), [batchOf(model.config.vocabSize, T)], gates);
  });
  expect(onnx.loss / tfjs.loss).toBeCloseTo(1, 5);
  expect(measured('gradients', name, worstModule(onnx.gradient, tfjs.gradient, used!))).toBeLessThan(1e-4);
}

describe('OnnxLearner has the loss and the gradients of TensorFlow.js', () => {
  it.each(MODELS)('%s', async (name) => {
    for (const mode of ['joint', 'independent'] as const) {
      await compare(`${name} ${mode}`, fixture('models', name), GATES[mode]);
    }
  });

  it.each(VARIANTS)('%s', (name) => compare(name, variant(name).dir, GATES.joint));

  it.each(['llama', 'gemma3', 'phi3'])('in chunks of queries: %s', (name) =>
    compare(name, fixture('models', name), GATES.joint, 150),
  );

  it.each([
    ['some projections', /(q_proj|down_proj)$/],
    ['some layers', /layers\.1\./],
    ['the feed-forward of the last layer', /layers\.1\.mlp/],
  ])('with factors on %s', (_, pattern) =>
    compare('llama', fixture('models', 'llama'), GATES.joint, 24, ({ modules, adapters, r }) => {
      const some = modules.filter(({ name }) => pattern.test(name));
      expect(some.length).toBeGreaterThan(0);
      return createLoraLayout(some, adapters, r);
    }),
  );

  it('over several batches of a step, of different shapes', async () => {
    const { onnx, tfjs } = await onBoth(fixture('models', 'llama'), (model, layout) => {
      const batches = [24, 8, 16].map((T, i) => batchOf(model.config.vocabSize, T, i));
      return lossAndGradient(model.learner(inputOf(layout)), batches, GATES.joint);
    });
    expect(onnx.loss / tfjs.loss).toBeCloseTo(1, 5);
    expect(relativeDifference(onnx.gradient, tfjs.gradient)).toBeLessThan(1e-4);
  });
});

describe('OnnxLearner', () => {
  const stepsOf = async (learner: Learner, from: number, to: number, vocabSize: number) => {
    for (let t = from; t < to; t++) {
      await learner.add(batchOf(vocabSize, 16, t), GATES.joint, 12);
      await learner.update(1e-2);
    }
    const state = await learner.state();
    learner.dispose();
    return state;
  };

  it('gives the same bytes twice, and goes on from a state to the same bytes', async () => {
    const source = HfModel.open(fixture('models', 'qwen3'));
    const layout = poolLayout(source, { targets: 'all', r: LORA.r }, N);
    const model = new OnnxModel(source, oneThread());
    source.close();
    const { vocabSize } = model.config;
    const start = startOf(layout);
    const first = await stepsOf(model.learner(inputOf(layout, start)), 0, 4, vocabSize);
    const second = await stepsOf(model.learner(inputOf(layout, start)), 0, 4, vocabSize);
    const half = await stepsOf(model.learner(inputOf(layout, start)), 0, 2, vocabSize);
    const resumed = await stepsOf(model.learner(inputOf(layout, half)), 2, 4, vocabSize);
    expect(first.step).toBe(4);
    expect(first.parameters).not.toEqual(start);
    expect(start).toEqual(startOf(layout)); // what it began with is not written
    expect(second).toEqual(first);
    expect(resumed).toEqual(first);
    model.dispose();
  });

  it('is pulled back to an anchor as TensorFlow.js is: with a strong pull it stays there', async () => {
    const ends = async (weightDecay: number) => {
      const adamw = { ...ADAMW_DEFAULTS, weightDecay };
      let anchor: Float32Array | undefined;
      const found = await onBoth(fixture('models', 'llama'), (model, layout) => {
        anchor = startOf(layout);
        return stepsOf(model.learner({ ...inputOf(layout), adamw, anchor }), 0, 3, model.config.vocabSize);
      });
      expect(relativeDifference(found.onnx.parameters, found.tfjs.parameters)).toBeLessThan(1e-3);
      return relativeDifference(found.onnx.parameters, anchor!);
    };
    const [free, held] = [await ends(0), await ends(50)];
    expect(held).toBeLessThan(0.75 * free);
    expect(held).toBeGreaterThan(0);
  });

  it.each([0, 0.1])(
    'leaves the last adapters as they are on both back ends, with a weight decay of %d',
    async (weightDecay) => {
      const input = (all: LoraLayout): LearnerInput => {
        const layout = createLoraLayout(all.modules, N, LORA.r, 1);
        return { ...inputOf(layout), adamw: { ...ADAMW_DEFAULTS, weightDecay } };
      };
      const { onnx, tfjs } = await onBoth(fixture('models', 'llama'), async (model, all) => {
        const learner = model.learner(input(all));
        await learner.add(batchOf(model.config.vocabSize, 16, 9), GATES.joint, 12);
        const gradient = await learner.gradient();
        const { gradientNorm } = await learner.update(1e-2);
        for (const [t, seed] of [7, 8].entries()) {
          await learner.add(batchOf(model.config.vocabSize, 16, seed), GATES.joint, 12);
          await learner.add(batchOf(model.config.vocabSize, 8, t), GATES.joint, 12);
          await learner.update(1e-2);
        }
        const state = structuredClone(await learner.state());
        learner.dispose();
        return { all, gradient, gradientNorm, ...state };
      });
      for (const { all, gradient, gradientNorm, parameters, m, v } of [onnx, tfjs]) {
        const start = startOf(all);
        const of = (flat: Float32Array, n: number) =>
          all.modules.flatMap((module) => Object.values(adapterFactors(all, flat, module, n)));
        expect(of(parameters, N - 1)).toEqual(of(start, N - 1));
        for (const moment of [m, v]) expect(of(moment, N - 1).every((x) => x.every((y) => y === 0))).toBe(true);
        for (let n = 0; n < N - 1; n++) {
          for (const [i, x] of of(parameters, n).entries()) expect(x).not.toEqual(of(start, n)[i]);
        }
        // the norm that is clipped is that of the others
        const others = Array.from({ length: N - 1 }, (_, n) => of(gradient, n)).flat(2);
        const square = others.reduce((sum, x) => sum + x.reduce((s, y) => s + y * y, 0), 0);
        expect(gradientNorm / Math.sqrt(square)).toBeCloseTo(1, 4);
      }
    },
  );
});
