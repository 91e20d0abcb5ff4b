/** The joint phase behind adapters that were trained each by itself: the same bytes in one go and in verbs, killed or not; what it changes, and what is refused. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { gate } from '../../../src/core/gate.js';
import { chooseBackend } from '../../../src/model/backend.js';
import { buildPool } from '../../../src/pool/build.js';
import { BUILD_DEFAULTS, type BuildPoolOptions, jointSettings } from '../../../src/pool/inputs.js';
import { planBuild } from '../../../src/pool/plan.js';
import { openPool } from '../../../src/pool/pool.js';
import { isJointDone } from '../../../src/pool/units/joint.js';
import { jointPath, planPath, readPlan, unitPath } from '../../../src/pool/units/plan.js';
import { finishBuild, prepareBuild, trainBuild } from '../../../src/pool/units/verbs.js';
import { workPath } from '../../../src/pool/work-directory.js';
import { digests, editJson, records, scratch, writeJsonl } from '../../e2e/helpers.js';
import { fixture } from '../../helpers/fixtures.js';

const dir = scratch();
let outputs = 0;
const fresh = () => join(dir, `pool-${outputs++}`);
const data = [writeJsonl(join(dir, 'train.jsonl'), records(24))];

const optionsOf = (more: Partial<BuildPoolOptions> = {}): BuildPoolOptions => ({
  ...BUILD_DEFAULTS,
  model: fixture('models', 'llama'),
  data,
  clusters: 3,
  r: 2,
  mode: 'separate',
  joint: { fraction: 0.5, learningRate: 0.01 },
  out: fresh(),
  training: { ...BUILD_DEFAULTS.training, batchSize: 4, epochs: 3, learningRate: 0.02, loraAlpha: 4 },
  ...more,
});
const prepared = async (options: BuildPoolOptions) => {
  await prepareBuild(options, 'wasm');
  return options.out;
};
const trainClusters = async (out: string) => {
  for (const k of [2, 0, 1]) await trainBuild(out, k);
};
const WEIGHTS = 'adapters/1/adapter_model.safetensors';
let whole: Record<string, string>;

beforeAll(async () => {
  await chooseBackend('wasm');
  const options = optionsOf();
  await buildPool(options);
  whole = digests(options.out);
});

describe('the joint phase', () => {
  it('changes all adapters, lowers the loss of mixtures, and is in the manifest', async () => {
    const alone = optionsOf({ joint: undefined });
    await buildPool(alone);
    const both = optionsOf({ joint: { fraction: 2, learningRate: 0.01 } });
    await buildPool(both);
    for (const k of [0, 1, 2]) {
      const weights = WEIGHTS.replace('1', String(k));
      expect(digests(alone.out)[weights]).not.toBe(whole[weights]);
    }
    const { training } = openPool(both.out).manifest;
    const found = training.joint as { firstLoss: number; lastLoss: number };
    // 24 examples in batches of 4, twice three epochs
    expect(found).toMatchObject({ fraction: 2, learningRate: 0.01, steps: 36 });
    expect(found.lastLoss).toBeLessThan(found.firstLoss);
    expect(training).toMatchObject({ mode: 'separate', learningRate: 0.02, epochs: 3 });
    expect(openPool(alone.out).manifest.training.joint).toBeUndefined();
  });

  it('has the bytes of one go by the verbs, whoever does it', async () => {
    for (const verb of ['train', 'finish']) {
      const out = await prepared(optionsOf());
      await trainClusters(out);
      if (verb === 'train') {
        expect(await trainBuild(out, 'joint')).toMatchObject({ wasDone: false });
        expect(isJointDone(readPlan(out))).toBe(true);
        expect(await trainBuild(out, 'joint')).toMatchObject({ wasDone: true });
      }
      await finishBuild(out);
      expect(digests(out)).toEqual(whole);
      expect(existsSync(workPath(out))).toBe(false);
    }
  });

  it.each(['train', 'finish'])('stopped in the middle of %s goes on from its checkpoint', async (verb) => {
    const out = await prepared(optionsOf());
    await trainClusters(out);
    const stop = new AbortController();
    const onProgress = ({ stage, done }: { stage: string; done: number }) =>
      stage === 'joint' && done >= 4 && stop.abort();
    const hooks = { signal: stop.signal, onProgress };
    const first = verb === 'train' ? trainBuild(out, 'joint', hooks) : finishBuild(out, hooks);
    await expect(first).rejects.toMatchObject({
      code: 'interrupted',
      message: 'stopped after step 4 of 9 of the joint phase',
    });
    expect(isJointDone(readPlan(out))).toBe(false);
    const steps: number[] = [];
    await finishBuild(out, { onProgress: ({ stage, done }) => stage === 'joint' && steps.push(done) });
    expect(steps).toEqual([5, 6, 7, 8, 9]);
    expect(digests(out)).toEqual(whole);
  });

  it('begins with the adapters of the clusters: without a step of any size they stay', async () => {
    const options = optionsOf({ joint: { fraction: 0.5, learningRate: 1e-30 } });
    options.training = { ...options.training, adamw: { ...options.training.adamw, weightDecay: 0 } };
    await buildPool(options);
    const alone = optionsOf({ joint: undefined });
    alone.training = options.training;
    await buildPool(alone);
    expect(digests(options.out)[WEIGHTS]).toBe(digests(alone.out)[WEIGHTS]);
  });

  it('can be another one for the same clusters, whose training stays', async () => {
    const first = optionsOf({ joint: { fraction: 1, learningRate: 0.3 } });
    const { out } = first;
    await prepared({ ...first, joint: undefined });
    await trainClusters(out);
    const clusters = digests(unitPath(out, 1));
    await prepared(first);
    await trainBuild(out, 'joint');
    const plan = await prepareBuild(optionsOf({ out }), 'wasm');
    expect(plan.joint?.steps).toBe(9);
    expect(isJointDone(plan)).toBe(false);
    expect(digests(unitPath(out, 1))).toEqual(clusters);
    await finishBuild(out);
    expect(digests(out)).toEqual(whole);
  });

  it('that diverges leaves the clusters, for another rate', async () => {
    const options = optionsOf({ joint: { fraction: 1, learningRate: 1e30 } });
    await expect(buildPool(options)).rejects.toMatchObject({ code: 'loss-not-finite' });
    await buildPool(optionsOf({ out: options.out }));
    expect(digests(options.out)).toEqual(whole);
  });

  it('is told of before it is done', async () => {
    const plan = await planBuild(optionsOf());
    expect(plan.joint).toEqual({ steps: 9 });
    const { joint, options } = await prepareBuild(optionsOf(), 'wasm');
    expect(joint).toMatchObject({ steps: 9, fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(jointSettings(options.training, options.joint!)).toMatchObject({ epochs: 1.5, learningRate: 0.01 });
    expect(gate([1, 0], options.tau)[0]).toBeLessThan(1); // mixtures, not one adapter each
  });
});

describe('refused is', () => {
  const refused = (action: () => unknown, code: string, words: RegExp) =>
    expect(Promise.resolve().then(action)).rejects.toMatchObject({ code, message: expect.stringMatching(words) });

  it.each(['joint', 'independent'] as const)('a joint phase in mode %s', (mode) =>
    refused(() => buildPool(optionsOf({ mode })), 'bad-option', /joint phase in mode/),
  );

  it.each([
    [{ fraction: 0, learningRate: 1 }, /joint fraction is 0/],
    [{ fraction: 1, learningRate: -1 }, /joint learning rate is -1/],
  ])('%j', (joint, words) => refused(() => buildPool(optionsOf({ joint })), 'bad-option', words));

  it('the joint phase before all clusters are trained, and of a plan that has none', async () => {
    const out = await prepared(optionsOf());
    await trainBuild(out, 1);
    await refused(() => trainBuild(out, 'joint'), 'clusters-missing', /2 of 3 clusters are not trained: 0, 2/);
    const alone = await prepared(optionsOf({ joint: undefined }));
    await refused(() => trainBuild(alone, 'joint'), 'bad-option', /mode separate, has no joint phase/);
  });

  it('a plan whose joint phase was changed', async () => {
    const out = await prepared(optionsOf());
    editJson<{ options: { joint: { fraction: number } } }>(planPath(out), ({ options }) => {
      options.joint.fraction = 0.75;
    });
    await refused(() => finishBuild(out), 'plan-invalid', /was changed/);
    expect(readFileSync(planPath(out), 'utf8')).toContain('0.75');
    expect(existsSync(jointPath(out))).toBe(false);
  });

  it('another number of threads than the plan was made for', async () => {
    const out = await prepared(optionsOf());
    await trainClusters(out);
    process.env.CRAYON_THREADS = '77';
    try {
      await refused(() => finishBuild(out), 'checkpoint-mismatch', /77 threads/);
    } finally {
      delete process.env.CRAYON_THREADS;
    }
  });
});
