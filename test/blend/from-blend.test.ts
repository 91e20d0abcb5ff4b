/** A LoRA that begins as the blend: where it begins, how far it goes, and that a stopped training ends with the same bytes. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BlendPoolOptions, blendPool } from '../../src/blend/blend-pool.js';
import { fromBlendTraining, startFromBlend } from '../../src/blend/from-blend.js';
import { type FromBlendOptions, fromBlendSettings } from '../../src/blend/from-blend-options.js';
import { HfModel } from '../../src/hf/model.js';
import { releaseBackend } from '../../src/model/backend.js';
import { adapterFactors } from '../../src/model/lora-layout.js';
import { openPeftAdapter, type PeftAdapter } from '../../src/peft/read.js';
import { openPool, type PoolManifest } from '../../src/pool/pool.js';
import { TrainingPlan } from '../../src/train/plan.js';
import { buildArgs, LLAMA, records, scratch, succeed, writeJsonl } from '../e2e/helpers.js';
import { relativeDifference } from '../helpers/fixtures.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const POOL = at('pool');
const EXAMPLES = writeJsonl(at('mine.jsonl'), records(10, { topic: 1 }));
beforeAll(async () => {
  await succeed(
    buildArgs(writeJsonl(at('train.jsonl'), records(24)), POOL, '--epochs', '4', '--learning-rate', '0.01'),
  );
});
afterAll(releaseBackend);

const blend = (out: string, how: Partial<FromBlendOptions> | undefined, more: Partial<BlendPoolOptions> = {}) =>
  blendPool({
    pool: POOL,
    examples: EXAMPLES,
    model: LLAMA,
    out: at(out),
    estimator: 'similarity',
    combine: 'cat',
    long: 'error',
    forward: { backend: 'wasm' },
    loraFromBlend: how && { rank: 4, steps: 3, ...how },
    ...more,
  });
/** The numbers of an adapter, module by module: A, B. */
function factorsOf(out: string): Float32Array[] {
  const adapter = openPeftAdapter(at(out));
  const factors = adapter.modules.flatMap((m) => [adapter.readA(m).slice(), adapter.readB(m).slice()]);
  adapter.close();
  return factors;
}
const bytes = (out: string) =>
  ['adapter_model.safetensors', 'crayon.json', 'adapter_config.json'].map((name) => readFileSync(join(at(out), name)));
const distance = (from: Float32Array[], to: Float32Array[]) =>
  Math.max(...from.map((x, i) => relativeDifference(x, to[i]!)));

describe('startFromBlend', () => {
  let source: HfModel;
  let adapters: PeftAdapter[];
  beforeAll(() => {
    source = HfModel.open(LLAMA);
    adapters = openPool(POOL).openMembers();
  });
  afterAll(() => {
    source.close();
    for (const adapter of adapters) adapter.close();
  });

  it('is what svd writes at that rank', async () => {
    const coefficients = [0.5, 0.3, 0.2];
    const byHand = { estimator: 'given', coefficients, examples: undefined } as const;
    await blend('svd', undefined, { ...byHand, combine: 'svd', rank: 2 });
    const { lora, relativeErrors } = startFromBlend({ adapters, coefficients }, source, { rank: 2, seed: 0 });
    const start = lora.layout.modules.flatMap((module) =>
      Object.values(adapterFactors(lora.layout, lora.parameters, module, 0)),
    );
    expect(start).toEqual(factorsOf('svd'));
    expect(Math.max(...relativeErrors)).toBeGreaterThan(1e-3);
  });

  it('begins what the blend does not fill as PEFT does: it adds nothing, and can learn', () => {
    const coefficients = adapters.map((_, n) => (n === 2 ? 1 : 0));
    const r = adapters[2]!.modules[0]!.r;
    const { lora } = startFromBlend({ adapters, coefficients }, source, { rank: r + 2, seed: 0 });
    for (const module of lora.layout.modules) {
      const { a, b } = adapterFactors(lora.layout, lora.parameters, module, 0);
      const beyond = a.subarray(r * module.in);
      expect(Math.max(...beyond.map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(module.in));
      expect(beyond.every((x) => x !== 0)).toBe(true);
      const columns = b.filter((_, i) => i % (r + 2) >= r);
      expect(columns.every((x) => x === 0)).toBe(true);
      expect(b.filter((_, i) => i % (r + 2) < r).some((x) => x !== 0)).toBe(true);
    }
  });
});

it('takes as many steps as it is told, whatever the number of examples', () => {
  const defaults = fromBlendSettings({ rank: 4 }, { training: {} as PoolManifest['training'] });
  const lora = { layout: { adapters: 1, r: 4, modules: [], size: 0 }, parameters: new Float32Array(0), loraAlpha: 4 };
  for (let count = 3; count <= 50; count++) {
    const examples = Array.from({ length: count }, () => ({ ids: new Int32Array(9), promptLength: 2 }));
    const lengths = examples.map(({ ids }) => ids.length);
    for (const steps of [1, 2, 3, 7, 20, 49, 100]) {
      const { settings } = fromBlendTraining(lora, examples, { ...defaults, steps });
      const plan = new TrainingPlan(lengths, settings);
      expect(plan.totalSteps).toBe(steps);
      expect(plan.batchesOf(steps - 1)).toHaveLength(1);
    }
  }
});

describe('blendPool with a LoRA from the blend', () => {
  it('lowers the loss of the examples, and records how', async () => {
    const { trained, coefficients, blend: made } = await blend('plain', { learningRate: 5e-3 });
    expect(trained).toMatchObject({ rank: 4, steps: 3, learningRate: 5e-3, batchSize: 8, seed: 0, resumed: false });
    expect(trained!.after).toBeLessThan(trained!.before - 0.01);
    expect(made).toMatchObject({ rank: 4 });
    const { resumed: _, ...record } = trained!;
    const written = JSON.parse(readFileSync(join(at('plain'), 'crayon.json'), 'utf8'));
    expect(written).toMatchObject({ combine: 'svd', rank: 4, coefficients, trained: record });
    expect(existsSync(`${at('plain')}.building`)).toBe(false);
  });

  it('is pulled back to the blend: the more, the nearer it stays', async () => {
    await blend('start', undefined, { combine: 'svd', rank: 4 });
    const start = factorsOf('start');
    const ends = async (pull: number) => {
      await blend(`pull ${pull}`, { pull, learningRate: 5e-3, steps: 6 });
      return distance(factorsOf(`pull ${pull}`), start);
    };
    const [free, held] = [await ends(0), await ends(100)];
    expect(held).toBeGreaterThan(0);
    expect(held).toBeLessThan(0.7 * free);
  });

  it('ends with the same bytes when it is stopped and goes on', async () => {
    await blend('whole', { pull: 1 });
    const stop = new AbortController();
    const stopped = blend('stopped', { pull: 1 }, { signal: stop.signal, onStep: () => stop.abort() });
    await expect(stopped).rejects.toMatchObject({ code: 'interrupted', message: expect.stringMatching(/step 1 of 3/) });
    expect(existsSync(at('stopped'))).toBe(false);
    const other = blend('stopped', { pull: 1, steps: 4 });
    await expect(other).rejects.toMatchObject({ code: 'checkpoint-mismatch' });
    const { trained } = await blend('stopped', { pull: 1 });
    expect(trained!.resumed).toBe(true);
    expect(bytes('stopped')).toEqual(bytes('whole'));
    expect(existsSync(`${at('stopped')}.building`)).toBe(false);
  });

  it('says what memory it takes, and refuses less', async () => {
    let promised = 0;
    const onPlan = ({ bytes }: { bytes: number }) => {
      promised = bytes;
    };
    await blend('promised', { steps: 1 }, { onPlan });
    expect(promised).toBeGreaterThan(process.memoryUsage().rss / 4);
    await expect(blend('small', { memory: 1e6 })).rejects.toMatchObject({
      code: 'memory-too-small',
      hint: expect.stringMatching(/--memory [\d.]+GB where the machine has it/),
    });
  });

  it('needs examples with answers, and an output that is free', async () => {
    const bare = blend('bare', {}, { examples: undefined, estimator: 'uniform' });
    await expect(bare).rejects.toMatchObject({ code: 'examples-count' });
    await expect(blend('whole', {})).rejects.toMatchObject({ code: 'output-exists' });
  });
});
