/** The library as other programs use it: through its two entrances alone, from weights to a blend that is scored. */

import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import * as formats from '../../src/formats.js';
import * as crayon from '../../src/index.js';
import { relativeDifference } from '../helpers/fixtures.js';
import { LLAMA, records, scratch, writeJsonl } from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const data = writeJsonl(at('train.jsonl'), records(24));
const mine = writeJsonl(at('mine.jsonl'), records(5, { topic: 0 }));
const options: crayon.BuildPoolOptions = {
  ...crayon.BUILD_DEFAULTS,
  model: LLAMA,
  data: [data],
  out: at('pool'),
  clusters: 3,
  r: 2,
  training: { ...crayon.TRAIN_DEFAULTS, epochs: 4, batchSize: 8, learningRate: 0.01, loraAlpha: 4 },
};
const seen: crayon.BuildProgress[] = [];
let built: crayon.BuildResult;

beforeAll(async () => {
  expect((await crayon.chooseBackend('wasm')).name).toBe('wasm');
  built = await crayon.buildPool(options, { onProgress: (progress) => seen.push(progress) });
  return crayon.releaseBackend;
});

describe('build', () => {
  it('plans, then does as planned', async () => {
    const plan = await crayon.planBuild({ ...options, out: at('elsewhere') });
    expect(plan).toMatchObject({ examples: 24, maxClusters: 3, steps: built.manifest.training.steps });
  });

  it('reports every stage to its end', () => {
    const stages = ['read', 'embed', 'cluster', 'train', 'evaluate', 'write'];
    expect([...new Set(seen.map((p) => p.stage))]).toEqual(stages);
    for (const stage of stages) {
      const last = seen.findLast((p) => p.stage === stage)!;
      expect(last.done).toBe(last.total);
    }
  });

  it('shows prompts that it does not store', () => {
    expect(built.nearestPrompts).toHaveLength(3);
    expect(JSON.stringify(built.manifest)).not.toContain(built.nearestPrompts[0]![0]);
  });

  it('stops at a signal, and continues', async () => {
    const stop = new AbortController();
    const out = at('stopped');
    const onProgress = ({ stage, done }: crayon.BuildProgress) => {
      if (stage === 'train' && done === 3) stop.abort();
    };
    const stopped = crayon.buildPool({ ...options, out }, { onProgress, signal: stop.signal });
    await expect(stopped).rejects.toMatchObject({ code: 'interrupted', exitCode: 130 });
    expect(existsSync(out)).toBe(false);
    const steps: number[] = [];
    const result = await crayon.buildPool(
      { ...options, out },
      { onProgress: ({ stage, done }) => stage === 'train' && steps.push(done) },
    );
    expect(result.resumed).toBe(true);
    expect(steps[0]).toBe(4);
    expect(result.manifest.adapters).toEqual(built.manifest.adapters);
  });

  it.each(['embed', 'cluster', 'evaluate'] as const)('stops after stage %s, too, and continues', async (stage) => {
    const out = at(`after-${stage}`);
    const stop = new AbortController();
    const onProgress = (progress: crayon.BuildProgress) => progress.stage === stage && stop.abort();
    const again = { ...options, out, embedding: 'hidden:1' };
    const stopped = crayon.buildPool(again, { onProgress, signal: stop.signal });
    await expect(stopped).rejects.toMatchObject({ code: 'interrupted' });
    expect(existsSync(out)).toBe(false);
    const { resumed, manifest } = await crayon.buildPool(again);
    expect(resumed).toBe(true);
    const straight = await crayon.buildPool({ ...again, out: at(`straight-${stage}`) });
    expect(manifest).toEqual(straight.manifest);
  });

  it('stopped at once leaves nothing', async () => {
    const stopped = crayon.buildPool({ ...options, out: at('early') }, { signal: AbortSignal.abort() });
    await expect(stopped).rejects.toMatchObject({ code: 'interrupted' });
    expect(readdirSync(dir).filter((name) => name.includes('early'))).toEqual([]);
  });
});

describe('blend', () => {
  const blend = (out: string, more: Partial<crayon.BlendPoolOptions> = {}) =>
    crayon.blendPool({
      pool: at('pool'),
      examples: mine,
      out,
      estimator: 'similarity',
      combine: 'cat',
      dtype: 'F32',
      long: 'error',
      force: false,
      ...more,
    });

  it('gives the coefficients that its parts give', async () => {
    const { coefficients, similarities } = await blend(at('blend'));
    const pool = crayon.openPool(at('pool'));
    const model = formats.HfModel.open(LLAMA);
    const tokenizer = formats.loadTokenizer(LLAMA);
    const { examples } = crayon.prepareExamples(crayon.loadDataset(mine).examples, tokenizer, {
      maxLength: 64,
      long: 'error',
      form: crayon.poolForm(pool, tokenizer, LLAMA),
      addEnd: false,
    });
    const sequences = examples.map((e) => e.promptIds);
    const rows = await crayon.embedInSpace(crayon.poolSpace(pool), model, sequences);
    model.close();
    const { N, tau, embedding } = pool.manifest;
    const byParts = crayon.estimateCoefficients(
      'similarity',
      { data: rows, n: sequences.length, d: embedding.dim },
      { data: pool.centroids, n: N, d: embedding.dim },
      { tau },
    );
    expect(Array.from(byParts.coefficients)).toEqual(coefficients);
    expect(Array.from(byParts.similarities!)).toEqual(similarities);
  });

  it('reads the whole model for a hidden-state pool, its own or one that is open', async () => {
    const out = at('hidden-pool');
    await crayon.buildPool({ ...options, out, embedding: 'last-hidden' });
    const result = await blend(at('hidden'), { pool: out, forward: { backend: 'auto' } });
    expect(result.coefficients).toHaveLength(3);

    const source = formats.HfModel.open(LLAMA);
    const model = new crayon.LlamaModel(source);
    const again = await blend(at('hidden-again'), { pool: out, forward: { model } });
    expect(again.coefficients).toEqual(result.coefficients);
    model.dispose();
    source.close();
  });
});

describe('score', () => {
  it('is better with the pool than without', async () => {
    const source = formats.HfModel.open(LLAMA);
    const model = new crayon.LlamaModel(source);
    const tokenizer = formats.loadTokenizer(LLAMA);
    const { examples } = crayon.loadDataset(data);
    const form = crayon.poolForm(crayon.openPool(at('pool')), tokenizer, LLAMA);
    expect(form.kind).toBe('chat'); // the fixture has a chat template
    const shared = { model, tokenizer, form, examples, maxLength: 64 };
    const base = await crayon.scoreExamples(shared);
    const lora = await crayon.poolGates(at('pool'), source, model, tokenizer, examples);
    const gated = await crayon.scoreExamples({ ...shared, lora });
    expect(gated.loss).toBeLessThan(base.loss - 0.5);
    await expect(crayon.scoreExamples({ ...shared, examples: [] })).rejects.toMatchObject({
      code: 'dataset-too-small',
    });
    model.dispose();
    source.close();
  });
});

describe('formats', () => {
  it('reads what it writes: safetensors', () => {
    const path = at('some.safetensors');
    const values = Float32Array.of(1, -2, 3.5, 0, 5, 6);
    formats.writeSafetensors(path, [{ name: 'x', dtype: 'F32', shape: [2, 3], data: values }], { made: 'here' });
    const file = formats.SafetensorsFile.open(path);
    expect([...file.readF32('x')]).toEqual([...values]);
    expect([...file.readRowsF32('x', [1])]).toEqual([0, 5, 6]);
    expect(file.metadata).toEqual({ made: 'here' });
    file.close();
  });

  it('reads what it writes: adapters', () => {
    const adapter = formats.openPeftAdapter(at('pool/adapters/0'));
    const { modules, config } = adapter;
    formats.writePeftAdapter(at('copy'), {
      baseModel: config.baseModel!,
      r: 2,
      loraAlpha: 4,
      targetModules: config.targetModules as string[],
      modules: modules.map((m) => ({ ...m, a: () => adapter.readA(m), b: () => adapter.readB(m) })),
    });
    const copy = formats.openPeftAdapter(at('copy'));
    for (const m of modules) expect(relativeDifference(copy.readB(m), adapter.readB(m))).toBe(0);
    expect(copy.modules).toEqual(modules);
    adapter.close();
    copy.close();
  });

  it('tells what a path holds', () => {
    mkdirSync(at('nothing'));
    writeFileSync(at('note.txt'), 'x');
    expect(formats.recognisePath(at('pool'))).toBe('pool');
    expect(formats.recognisePath(LLAMA)).toBe('model');
    for (const path of ['nothing', 'note.txt']) {
      expect(() => formats.recognisePath(at(path))).toThrow(expect.objectContaining({ code: 'path-not-recognised' }));
    }
  });
});
