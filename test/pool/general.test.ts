/** A residual pool: built, killed in either phase, and blended; what the blend should be is summed up here from the files. */

import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { blendPool } from '../../src/blend/blend-pool.js';
import { argmax, oneHot } from '../../src/core/vector.js';
import { loadDataset } from '../../src/data/dataset.js';
import { HfModel } from '../../src/hf/model.js';
import { chooseBackend } from '../../src/model/backend.js';
import { adapterFactors, frozenRanges } from '../../src/model/lora-layout.js';
import { openNetwork } from '../../src/model/open-network.js';
import { openPeftAdapter, type PeftAdapter } from '../../src/peft/read.js';
import { mixtureLosses } from '../../src/pool/adapter-losses.js';
import { buildPool } from '../../src/pool/build.js';
import { openPoolFactors, writePoolFactors } from '../../src/pool/factors.js';
import { loadPoolGates, stackPool } from '../../src/pool/gate.js';
import { generalSlots, trainedLayout } from '../../src/pool/general.js';
import { BUILD_DEFAULTS, type BuildHooks, type BuildPoolOptions, readInputs } from '../../src/pool/inputs.js';
import { memberCoefficients, membersOf, openPool } from '../../src/pool/pool.js';
import { prepareExamples } from '../../src/pool/prepare.js';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import { meanLoss } from '../../src/train/completion-score.js';
import { scoreCompletions } from '../../src/train/evaluate.js';
import { digests, records, scratch, writeJsonl } from '../e2e/helpers.js';
import { fixture } from '../helpers/fixtures.js';

const model = fixture('models', 'llama');
const dir = scratch();
let outputs = 0;
const fresh = () => join(dir, String(outputs++));
const data = [writeJsonl(join(dir, 'train.jsonl'), records(24))];
const general = { r: 3, learningRate: 0.02, epochs: 2 };

/** Weight decay would move a number that is merely given no gradient. */
const optionsOf = (more: Partial<BuildPoolOptions> = {}): BuildPoolOptions => ({
  ...BUILD_DEFAULTS,
  model,
  data,
  clusters: 2,
  r: 2,
  out: fresh(),
  training: {
    ...BUILD_DEFAULTS.training,
    batchSize: 4,
    epochs: 1,
    learningRate: 0.05,
    loraAlpha: 4,
    adamw: { ...BUILD_DEFAULTS.training.adamw, weightDecay: 0.1 },
  },
  general,
  ...more,
});

/** Stops a build once a stage has come to `at`. */
async function stopAt(options: BuildPoolOptions, stage: string, at: number): Promise<void> {
  const stop = new AbortController();
  const onProgress: BuildHooks['onProgress'] = (progress) => {
    if (progress.stage === stage && progress.done >= at) stop.abort();
  };
  await expect(buildPool(options, { onProgress, signal: stop.signal })).rejects.toMatchObject({ code: 'interrupted' });
}

const weightsOf = (...path: string[]) => readFileSync(join(...path, 'adapter_model.safetensors'));

let residual: BuildPoolOptions;

beforeAll(async () => {
  await chooseBackend('auto');
  residual = optionsOf();
  await buildPool(residual);
});

describe('a residual pool', () => {
  it('has the general adapter that a pool of one on the same examples is', async () => {
    const { training } = residual;
    const { r, ...rates } = general;
    const one = optionsOf({ clusters: 1, r, general: undefined, training: { ...training, ...rates, loraAlpha: 6 } });
    await buildPool(one);
    expect(weightsOf(residual.out, 'general')).toEqual(weightsOf(one.out, 'adapters', '0'));
    const { manifest } = openPool(residual.out);
    expect(manifest).toMatchObject({
      version: 2,
      N: 2,
      adapters: [{ r: 2 }, { r: 2 }],
      general: { ...general, dir: 'general', loraAlpha: 6, steps: 12 },
      training: { steps: 6, epochs: 1 },
    });
    expect(openPool(one.out).manifest).toMatchObject({ version: 1 });
    expect(openPool(one.out).manifest.general).toBeUndefined();
  });

  it('keeps its bits through the training of the others, which learn on top of it', async () => {
    const options = optionsOf();
    await stopAt(options, 'evaluate', 2);
    const flatOf = (stage: string) => {
      const file = SafetensorsFile.open(join(`${options.out}.building`, `${stage}.safetensors`));
      const arrays = ['parameters', 'm', 'v'].map((name) => file.readF32(name));
      file.close();
      return arrays as [Float32Array, Float32Array, Float32Array];
    };
    const source = HfModel.open(model);
    const layout = trainedLayout({ model: source }, options, 2);
    source.close();
    expect(generalSlots(options)).toBe(2);
    const ranges = [...frozenRanges(layout)];
    const [parameters, m, v] = flatOf('training');
    const [before] = flatOf('general');
    const kept = ranges.flatMap(([from, to]) => Array.from(parameters.subarray(from, to)));
    // rank 3 in two places of rank 2: what is left over is zero, and all that is not is the trained general adapter
    expect(kept.length).toBe((before.length / 3) * 4);
    const sorted = (x: Iterable<number>) => Float32Array.from(x).sort();
    expect(sorted(kept.filter((x) => x !== 0))).toEqual(sorted(before.filter((x) => x !== 0)));
    for (const moment of [m, v]) {
      expect(ranges.every(([from, to]) => moment.subarray(from, to).every((x) => x === 0))).toBe(true);
      expect(moment.some((x) => x !== 0)).toBe(true);
    }
  });

  it.each([
    ['general', 3],
    ['train', 2],
  ])('goes on from a stop in phase %s to the same bytes', async (stage, at) => {
    const options = optionsOf();
    await stopAt(options, stage, at);
    expect((await buildPool(options)).resumed).toBe(true);
    expect(digests(options.out)).toEqual(digests(residual.out));
  });

  it('is not gone on with by a plain build, nor by one with another general adapter', async () => {
    const options = optionsOf();
    await stopAt(options, 'general', 3);
    for (const other of [undefined, { ...general, r: 2 }]) {
      await expect(buildPool({ ...options, general: other })).rejects.toMatchObject({ code: 'checkpoint-mismatch' });
    }
  });
});

/** scale B A of a module in float64: (out, in). */
function deltaOf(adapter: PeftAdapter, name: string): Float64Array {
  const module = adapter.modules.find((one) => one.name === name)!;
  const { r, in: inputs, out, scale } = module;
  const [a, b] = [Float32Array.from(adapter.readA(module)), Float32Array.from(adapter.readB(module))];
  const delta = new Float64Array(out * inputs);
  for (let o = 0; o < out; o++) {
    for (let j = 0; j < r; j++) {
      for (let i = 0; i < inputs; i++) delta[o * inputs + i]! += scale * b[o * r + j]! * a[j * inputs + i]!;
    }
  }
  return delta;
}

describe('a blend of a residual pool', () => {
  const alpha = [0.7, 0.3];

  /** The largest difference from general + sum_n alpha_n delta_n, as a share of the largest number. */
  function off(blended: PeftAdapter): number {
    const [zero, one, kept] = ['adapters/0', 'adapters/1', 'general'].map((dir) =>
      openPeftAdapter(join(residual.out, dir)),
    );
    let [worst, largest] = [0, 0];
    for (const { name } of blended.modules) {
      const parts = [zero!, one!, kept!].map((adapter) => deltaOf(adapter, name));
      deltaOf(blended, name).forEach((x, i) => {
        const expected = alpha[0]! * parts[0]![i]! + alpha[1]! * parts[1]![i]! + parts[2]![i]!;
        worst = Math.max(worst, Math.abs(x - expected));
        largest = Math.max(largest, Math.abs(expected));
      });
    }
    for (const adapter of [zero!, one!, kept!]) adapter.close();
    return worst / largest;
  }

  const blend = async (how: object) => {
    const out = fresh();
    const given = { pool: residual.out, out, estimator: 'given', coefficients: alpha, long: 'error' } as const;
    const result = await blendPool({ ...given, combine: 'cat', ...how });
    const adapter = openPeftAdapter(out);
    return { out, result, adapter };
  };

  it.each([
    ['cat', {}, 7, 1e-6],
    ['svd at full rank', { combine: 'svd', rank: 7 }, 7, 1e-5],
  ])('is general + sum_n alpha_n delta_n: %s', async (_, how, rank, most) => {
    const { out, result, adapter } = await blend(how);
    expect(off(adapter)).toBeLessThan(most);
    adapter.close();
    expect(result.blend.rank).toBe(rank);
    expect(result.coefficients).toEqual(alpha); // those of the clusters
    const record = JSON.parse(readFileSync(join(out, 'crayon.json'), 'utf8'));
    expect(record).toMatchObject({ coefficients: [...alpha, 1], general: true });
  });

  it('refuses linear where the ranks differ', async () => {
    await expect(blend({ combine: 'linear' })).rejects.toMatchObject({ code: 'adapter-mismatch' });
  });

  it('is the same by the factors that a large pool keeps of all members', async () => {
    const pool = openPool(residual.out);
    const members = pool.openMembers();
    const digests = membersOf(pool.manifest).map(({ sha256 }) => sha256);
    writePoolFactors(residual.out, members, digests, 0);
    for (const member of members) member.close();
    expect(openPoolFactors(pool)).not.toBeNull();
    const { adapter } = await blend({ combine: 'svd', rank: 7 });
    expect(off(adapter)).toBeLessThan(1e-5);
    adapter.close();
  });

  it('gives every mixture per query the general adapter whole', () => {
    const pool = openPool(residual.out);
    const source = HfModel.open(model);
    const { layout, parameters, loraAlpha } = stackPool(pool, source);
    source.close();
    expect(memberCoefficients(pool.manifest, alpha)).toEqual([...alpha, 1]);
    expect(layout).toMatchObject({ adapters: 3, r: 3, frozen: 1 });
    expect(loraAlpha).toBe(3); // scales are in B
    const kept = openPeftAdapter(join(residual.out, 'general'));
    const [module] = layout.modules;
    const { a } = adapterFactors(layout, parameters, module!, 2);
    expect(a).toEqual(kept.readA(kept.modules.find(({ name }) => name === module!.name)!));
    kept.close();
  });

  it('has after its training the loss that its files give, each example through its own mixture', async () => {
    const source = HfModel.open(model);
    const network = openNetwork(source);
    const tokenizer = source.tokenizer();
    const { examples } = loadDataset(data[0]!);
    const { form } = readInputs(optionsOf());
    const how = { maxLength: 512, long: 'error', form, addEnd: true } as const;
    const prepared = prepareExamples(examples, tokenizer, how).examples;
    const lora = await loadPoolGates(residual.out, source, network, tokenizer).loraFor(examples);
    const scores = await scoreCompletions(network, prepared, { lora });
    // by each adapter alone, which is never without the general one
    const alone = await mixtureLosses(network, stackPool(openPool(residual.out), source), prepared.slice(0, 2));
    expect(alone).toHaveLength(2 * 2);
    const [, second] = await scoreCompletions(network, prepared.slice(0, 2), { lora: { ...lora, gates: [[0, 1, 1]] } });
    expect(alone[3]).toBeCloseTo(meanLoss([second!]), 5);
    const without = await scoreCompletions(network, prepared, {
      lora: { ...lora, gates: lora.gates.map((gate) => Array.from(gate).with(-1, 0)) },
    });
    const { gates } = await loadPoolGates(residual.out, source, network, tokenizer, { topK: 1 }).loraFor(examples);
    expect(gates.map((gate) => Array.from(gate, (a) => Number(a.toFixed(9))))).toEqual(
      lora.gates.map((gate) => [...oneHot(argmax(Array.from(gate).slice(0, 2)), 2), 1]),
    );
    network.dispose();
    source.close();
    const { clusters } = openPool(residual.out).manifest;
    for (const [n, { lossAfter }] of clusters.entries()) {
      const ofCluster = (all: typeof scores) =>
        all.filter((_, i) => argmax(Array.from(lora.gates[i]!).slice(0, 2)) === n);
      expect(meanLoss(ofCluster(scores))).toBeCloseTo(lossAfter!, 4);
      expect(Math.abs(meanLoss(ofCluster(without)) - lossAfter!)).toBeGreaterThan(0.01);
    }
  });

  it('is refused where the general adapter is another one', () => {
    const copy = fresh();
    cpSync(residual.out, copy, { recursive: true });
    cpSync(
      join(copy, 'adapters', '0', 'adapter_model.safetensors'),
      join(copy, 'general', 'adapter_model.safetensors'),
    );
    expect(() => openPool(copy).verify()).toThrow(/general/);
  });
});
