/** A build in three verbs: the bytes of one in one go, in any order, killed or not; and what is refused. */

import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { chooseBackend } from '../../../src/model/backend.js';
import { buildPool, writeTrainingJob } from '../../../src/pool/build.js';
import { BUILD_DEFAULTS, type BuildPoolOptions, type TrainingMode } from '../../../src/pool/inputs.js';
import { openPool } from '../../../src/pool/pool.js';
import { planPath, readPlan, unitPath } from '../../../src/pool/units/plan.js';
import { doneUnits, finishBuild, isTrained, prepareBuild, trainBuild } from '../../../src/pool/units/verbs.js';
import { loadStage, workPath } from '../../../src/pool/work-directory.js';
import { copyOf, digests, editJson, pokeF32, records, scratch, writeJsonl } from '../../e2e/helpers.js';
import { fixture } from '../../helpers/fixtures.js';

const dir = scratch();
let outputs = 0;
const fresh = () => join(dir, `pool-${outputs++}`);
const data = [writeJsonl(join(dir, 'train.jsonl'), records(24))];
const model = fixture('models', 'llama');

const optionsOf = (mode: TrainingMode, more: Partial<BuildPoolOptions> = {}): BuildPoolOptions => ({
  ...BUILD_DEFAULTS,
  model,
  data,
  clusters: 3,
  r: 2,
  mode,
  out: fresh(),
  training: { ...BUILD_DEFAULTS.training, batchSize: 4, epochs: 3, learningRate: 0.02, loraAlpha: 4 },
  ...more,
});

const whole = {} as Record<TrainingMode, Record<string, string>>;
const prepared = async (options: BuildPoolOptions) => {
  await prepareBuild(options, 'wasm');
  return options.out;
};

beforeAll(async () => {
  await chooseBackend('wasm');
  for (const mode of ['joint', 'independent', 'separate'] as const) {
    const options = optionsOf(mode);
    await buildPool(options);
    whole[mode] = digests(options.out);
    expect(existsSync(workPath(options.out))).toBe(false);
  }
});

describe('the three modes', () => {
  it('train three different pools from the same clusters', () => {
    const of = (file: string) => new Set(Object.values(whole).map((files) => files[file]));
    expect(of('adapters/1/adapter_model.safetensors').size).toBe(3);
    expect(of('centroids.safetensors').size).toBe(1);
  });
});

describe('prepare, train and finish', () => {
  it.each(['joint', 'independent'] as const)(
    'make the bytes of one go in mode %s, in which training is one unit',
    async (mode) => {
      const out = await prepared(optionsOf(mode));
      expect(doneUnits(readPlan(out))).toEqual([false]);
      expect(await trainBuild(out, undefined)).toMatchObject({ wasDone: false });
      expect(await trainBuild(out, undefined)).toMatchObject({ wasDone: true });
      await finishBuild(out);
      expect(digests(out)).toEqual(whole[mode]);
      expect(existsSync(workPath(out))).toBe(false);
    },
  );

  it('make the bytes of one go in mode separate, cluster by cluster, in any order', async () => {
    const out = await prepared(optionsOf('separate'));
    await trainBuild(out, 2);
    expect([0, 1, 2].map((k) => isTrained(readPlan(out), k))).toEqual([false, false, true]);
    for (const k of [0, 1]) await trainBuild(out, k);
    expect(await trainBuild(out, 0)).toMatchObject({ wasDone: true });
    await finishBuild(out);
    expect(digests(out)).toEqual(whole.separate);
  });

  it('go on with what a build in one go has left, and the other way round', async () => {
    const options = optionsOf('separate');
    await prepared(options);
    await trainBuild(options.out, 1);
    await buildPool(options);
    expect(digests(options.out)).toEqual(whole.separate);
  });

  it('can each be repeated: what is there is not made again', async () => {
    const options = optionsOf('separate');
    const out = await prepared(options);
    const plan = readFileSync(planPath(out), 'utf8');
    await trainBuild(out, 0);
    const result = digests(unitPath(out, 0));
    await prepareBuild(options, 'cpu'); // the plan stays as it was
    expect(readFileSync(planPath(out), 'utf8')).toBe(plan);
    expect(digests(unitPath(out, 0))).toEqual(result);
    expect(Object.keys(result).sort()).toEqual(['examples.safetensors', 'result.safetensors', 'run.json']);
  });

  it('take base and data from other places, and write what the first machine called them', async () => {
    const out = await prepared(optionsOf('separate', { model: copyOf(model, join(dir, 'there', 'llama')) }));
    rmSync(join(dir, 'there'), { recursive: true });
    await expect(trainBuild(out, 0)).rejects.toMatchObject({ code: 'file-not-found' });
    for (const k of [0, 1, 2]) await trainBuild(out, k, {}, { model });
    await finishBuild(out, {}, { model });
    expect(openPool(out).manifest.base.name).toBe('llama');
  });

  it('finish again where the first one was killed behind its pool', async () => {
    const out = await prepared(optionsOf('separate'));
    for (const k of [0, 1, 2]) await trainBuild(out, k);
    cpSync(workPath(out), `${out}.kept`, { recursive: true });
    await finishBuild(out);
    cpSync(`${out}.kept`, workPath(out), { recursive: true });
    expect(await finishBuild(out)).toBeNull();
    expect(existsSync(workPath(out))).toBe(false);
    expect(digests(out)).toEqual(whole.separate);
  });

  it('measure held-out examples in finish', async () => {
    const options = optionsOf('separate', { heldOut: 2 });
    await buildPool(options);
    const out = await prepared({ ...options, out: fresh() });
    for (const k of [0, 1, 2]) await trainBuild(out, k);
    await finishBuild(out);
    expect(openPool(out).manifest.standards?.loss?.examples).toBe(6);
    expect(digests(out)).toEqual(digests(options.out));
  });
});

describe('one cluster', () => {
  it('stopped in the middle goes on from its checkpoint and ends with the same bytes', async () => {
    const out = await prepared(optionsOf('separate'));
    const stop = new AbortController();
    const onProgress = ({ done }: { done: number }) => done >= 2 && stop.abort();
    await expect(trainBuild(out, 0, { signal: stop.signal, onProgress })).rejects.toMatchObject({
      code: 'interrupted',
    });
    expect(existsSync(join(unitPath(out, 0), 'training.safetensors'))).toBe(true);
    const steps: number[] = [];
    await trainBuild(out, 0, { onProgress: ({ done }) => steps.push(done) });
    expect(Math.min(...steps)).toBe(3);
    for (const k of [1, 2]) await trainBuild(out, k);
    await finishBuild(out);
    expect(digests(out)).toEqual(whole.separate);
  });

  it('is trained once by two workers that take it at the same time', async () => {
    const out = await prepared(optionsOf('separate'));
    const both = await Promise.all([trainBuild(out, 0), trainBuild(out, 0)]);
    expect(both.map(({ wasDone }) => wasDone).sort()).toEqual([false, true]);
  });

  it('is a training by itself: of the bytes of a pool of one, made of its examples alone', async () => {
    const options = optionsOf('separate');
    await prepared(options);
    const { assignment } = loadStage(workPath(options.out), 'clusters', { assignment: 'I32' })!;
    const its = records(24).filter((_, i) => assignment[i] === 0);
    expect(readPlan(options.out).units[0]).toMatchObject({
      examples: its.length,
      steps: Math.ceil(its.length / 4) * 3,
    });
    const alone = optionsOf('joint', { clusters: 1, data: [writeJsonl(join(dir, 'cluster-0.jsonl'), its)] });
    await buildPool(alone);
    const weights = 'adapters/0/adapter_model.safetensors';
    expect(digests(alone.out)[weights]).toBe(whole.separate[weights]);
  });
});

function lastByteOf(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(file, bytes);
}

describe('refused is', () => {
  const refused = (action: () => unknown, code: string, words: RegExp) =>
    expect(Promise.resolve().then(action)).rejects.toMatchObject({ code, message: expect.stringMatching(words) });
  let out: string;
  beforeAll(async () => {
    out = await prepared(optionsOf('separate'));
  });
  const another = () => copyOf(workPath(out), `${workPath(fresh())}`).slice(0, -'.building'.length);

  it.each([3, undefined])('cluster %s of three', (k) =>
    refused(() => trainBuild(out, k), 'bad-option', /clusters 0 to 2/),
  );

  it('a cluster of a pool whose adapters share their steps', async () => {
    const joint = await prepared(optionsOf('joint'));
    await refused(() => trainBuild(joint, 0), 'bad-option', /mode joint, whose adapters share/);
    await refused(() => finishBuild(joint), 'clusters-missing', /not trained to the end/);
  });

  it('a pool without a plan, before it and behind it', async () => {
    await refused(() => trainBuild(fresh(), 0), 'file-not-found', /no plan of a build$/);
    const options = optionsOf('separate');
    await buildPool(options);
    await refused(() => finishBuild(options.out), 'file-not-found', /there is a finished pool/);
  });

  it.each([
    ['version', 99, /version 99 by crayon/],
    ['createdBy', 'crayon 9.9.9', /by crayon 9\.9\.9, expected 2 by crayon/],
    ['format', 'else', /is not a plan/],
    ['N', 'three', /N is "three"/],
    ['micro', { rows: 8, recomputes: false }, /was changed/],
  ])('a plan with another %s', async (key, value, words) => {
    const pool = another();
    editJson<Record<string, unknown>>(planPath(pool), (plan) => Object.assign(plan, { [key]: value }));
    await refused(() => trainBuild(pool, 0), 'plan-invalid', words);
  });

  it('another base than the plan was made with', async () => {
    const other = copyOf(model, join(dir, 'other'));
    pokeF32(join(other, 'model.safetensors'), 'model.norm.weight', 0, 3);
    await refused(() => trainBuild(out, 0, {}, { model: other }), 'checkpoint-mismatch', /plan was made with .*llama/);
  });

  it('other data than the plan was made with', async () => {
    const pool = another();
    for (const k of [0, 1, 2]) await trainBuild(pool, k);
    const other = [writeJsonl(join(dir, 'other.jsonl'), records(24, { topic: 1 }))];
    await refused(() => finishBuild(pool, {}, { data: other }), 'checkpoint-mismatch', /another data/);
  });

  it.each([
    ['changed', lastByteOf, /is not what the plan was made of/],
    ['missing', (file: string) => rmSync(file), /is missing/],
  ])('a cluster whose examples are %s', async (_, spoil, words) => {
    const pool = another();
    spoil(join(unitPath(pool, 1), 'examples.safetensors'));
    await refused(() => trainBuild(pool, 1), 'checkpoint-mismatch', words);
  });

  it('another number of threads than the plan was made for', async () => {
    process.env.CRAYON_THREADS = '77';
    try {
      await refused(() => trainBuild(out, 0), 'checkpoint-mismatch', /77 threads, but the plan was made for/);
    } finally {
      delete process.env.CRAYON_THREADS;
    }
  });

  it('a pool with clusters that are not trained, named', async () => {
    const pool = another();
    await trainBuild(pool, 1);
    await refused(() => finishBuild(pool), 'clusters-missing', /2 of 3 clusters are not trained: 0, 2/);
  });

  it('the result of another plan', async () => {
    const pool = another();
    await trainBuild(pool, 1);
    editJson<Record<string, unknown>>(join(unitPath(pool, 1), 'run.json'), (run) => Object.assign(run, { unit: '0' }));
    await refused(() => finishBuild(pool), 'checkpoint-mismatch', /another plan/);
  });

  it('a general adapter in mode separate, and its job as one', async () => {
    const general = { r: 2, learningRate: 0.01, epochs: 1 };
    await refused(
      () => buildPool(optionsOf('separate', { general })),
      'bad-option',
      /general adapter in mode separate/,
    );
    await refused(() => writeTrainingJob(optionsOf('separate')), 'bad-option', /not one job/);
  });
});
