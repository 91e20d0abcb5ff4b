/** The whole path of a user: build a pool, look at it, blend from it in every way, score what came out. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { BlendPoolResult } from '../../src/blend/blend-pool.js';
import type { PoolManifest } from '../../src/pool/pool.js';
import type { ScoreReport } from '../../src/train/score.js';
import { fixture, MODELS } from '../helpers/fixtures.js';
import { buildArgs, crayon, document, LLAMA, records, scratch, succeed, writeJsonl } from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const data = writeJsonl(at('train.jsonl'), records(24));
const mine = writeJsonl(at('mine.jsonl'), records(5, { topic: 1 }));
const questions = writeJsonl(at('questions.jsonl'), records(6, { choices: true }));
const pool = at('pool');
let built: { manifest: PoolManifest; backend: string; resumed: boolean };

type Blended = BlendPoolResult & { out: string };
const blend = (name: string, ...more: string[]): Promise<Blended> =>
  document(['blend', '--pool', pool, '--examples', mine, '--out', at(name), ...more]);
const score = (...more: string[]): Promise<ScoreReport> =>
  document(['score', '--model', LLAMA, '--data', questions, '--backend', 'wasm', ...more]);

beforeAll(async () => {
  built = await document(buildArgs(data, pool));
});

describe('build-pool', () => {
  it('writes a manifest, centroids and one PEFT adapter for each cluster', () => {
    const { manifest } = built;
    expect(built).toMatchObject({ backend: 'wasm', resumed: false });
    expect(manifest).toMatchObject({ N: 3, seed: 0, base: { name: 'llama', modelType: 'llama' } });
    expect(manifest.clusters.map((c) => c.size).reduce((a, b) => a + b)).toBe(24);
    expect(JSON.parse(readFileSync(join(pool, 'pool.json'), 'utf8'))).toEqual(manifest);
    for (const { dir: adapter } of manifest.adapters) {
      expect(existsSync(join(pool, adapter, 'adapter_model.safetensors'))).toBe(true);
    }
  });

  it('lowers the loss of every cluster', async () => {
    const more = ['--epochs', '8', '--learning-rate', '0.01'];
    const { manifest } = await document<typeof built>(buildArgs(data, at('longer'), ...more));
    for (const { lossBefore, lossAfter } of manifest.clusters) expect(lossAfter).toBeLessThan(lossBefore! - 0.5);
  });

  it('keeps examples out of the training, and measures by them', async () => {
    const held = at('held-out');
    const { manifest } = await document<typeof built>(buildArgs(data, held, '--held-out', '2'));
    expect(manifest.training.examples).toBe(18);
    expect(manifest.clusters.reduce((sum, { size }) => sum + size, 0)).toBe(18);
    expect(manifest.standards).toMatchObject({ similarity: { examples: 18 }, loss: { examples: 6 } });
    expect(built.manifest.standards).toMatchObject({ similarity: { examples: 24 } });
    const blendBy = (from: string, ...more: string[]) => [
      'blend',
      '--pool',
      from,
      '--examples',
      mine,
      '--out',
      at('by answers'),
      '--backend',
      'wasm',
      '--force',
      ...more,
    ];
    const evidence = ['--estimator', 'label-evidence', '--lambda', '2', '--standardise', '--refine', '2'];
    const { coefficients, refined } = await document<Blended>(blendBy(held, ...evidence));
    expect(coefficients.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
    expect(refined!.after).toBeLessThanOrEqual(refined!.before);
    const refused = await crayon(blendBy(pool, ...evidence));
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining('crayon measure-pool --pool') });
    const measure = ['measure-pool', '--pool', held, '--model', LLAMA, '--data', questions, '--backend', 'wasm'];
    const measured = await document(measure);
    expect(measured).toMatchObject({ similarity: { examples: 18 }, loss: { examples: 6 } });
  });

  it('leaves no work directory', () => {
    expect(existsSync(`${pool}.building`)).toBe(false);
  });

  it('says with --dry-run what it would do, and does nothing', async () => {
    const plan = await document(buildArgs(data, at('dry'), '--dry-run'));
    expect(plan).toMatchObject({ examples: 24, maxClusters: 3, steps: 3 });
    expect(existsSync(at('dry'))).toBe(false);
    const { stdout } = await succeed(buildArgs(data, at('dry'), '--dry-run'));
    expect(stdout).toContain('of memory');
  });

  it('chooses the number of clusters by silhouette', async () => {
    const args = buildArgs(data, at('auto'), '--embedding', 'tfidf', '--clusters', 'auto');
    const { manifest } = await document<typeof built>(args);
    expect(manifest.N).toBe(3);
  });
});

describe('inspect', () => {
  it('shows a pool, and verifies the digests of its adapters', async () => {
    expect(await document(['inspect', pool, '--verify'])).toMatchObject({ kind: 'pool', verified: true });
  });

  it('shows a model', async () => {
    const shown = await document(['inspect', LLAMA]);
    expect(shown).toMatchObject({ kind: 'model', config: { modelType: 'llama', numLayers: 2 } });
  });

  it('shows an adapter and a safetensors file', async () => {
    const adapter = join(pool, 'adapters', '0');
    expect(await document(['inspect', adapter])).toMatchObject({ kind: 'adapter', config: { r: 2, loraAlpha: 4 } });
    const file = join(adapter, 'adapter_model.safetensors');
    expect(await document(['inspect', file])).toMatchObject({ kind: 'safetensors', metadata: { format: 'pt' } });
  });

  it('prints the same for people, without a colour', async () => {
    for (const path of [pool, LLAMA, join(pool, 'adapters', '0'), join(pool, 'centroids.safetensors')]) {
      const { stdout, stderr } = await succeed(['inspect', path]);
      expect(stdout).toContain('kind');
      expect(stdout).not.toContain('\u001b');
      expect(stderr).toBe('');
    }
  });
});

describe('blend', () => {
  it('cat has the sum of the ranks, coefficients that sum to 1 and a verdict on coverage', async () => {
    const result = await blend('cat');
    expect(result.blend.rank).toBe(6);
    expect(result.examples).toBe(5);
    expect(result.coefficients.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    expect(result.coverage?.verdict).toBeTypeOf('string');
    const shown = await document<{ blend: { coefficients: number[] } }>(['inspect', at('cat')]);
    expect(shown.blend.coefficients).toEqual(result.coefficients);
  });

  it('svd has the rank asked for and says its error', async () => {
    const result = await blend('svd', '--combine', 'svd', '--rank', '3', '--estimator', 'uniform');
    expect(result.blend.rank).toBe(3);
    for (const { relativeError } of result.blend.modules) expect(relativeError).toBeLessThan(1);
    expect(result.blend.modules.some((m) => m.relativeError > 0.01)).toBe(true);
  });

  it('linear keeps the rank and says aloud that it is another sum', async () => {
    const result = await blend('linear', '--combine', 'linear');
    expect(result.blend.rank).toBe(2);
    expect(result.blend.notices.join()).toContain('not the blend');
  });

  it('top-k keeps k coefficients', async () => {
    const { coefficients, blend: written } = await blend('top', '--top-k', '2');
    expect(coefficients.filter((alpha) => alpha !== 0)).toHaveLength(2);
    expect(coefficients.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    expect(written.rank).toBe(4);
  });

  it('a low temperature gives nearly all to the nearest', async () => {
    const { coefficients } = await blend('cold', '--temperature', '0.001');
    expect(Math.max(...coefficients)).toBeGreaterThan(0.99);
  });

  it('takes coefficients by hand, with no example and no model', async () => {
    const args = ['blend', '--pool', pool, '--coefficients', '-0.5,2,0', '--out', at('hand')];
    expect(await document(args)).toMatchObject({ coefficients: [-0.5, 2, 0], similarities: null, coverage: null });
  });

  it.each(['nearest', 'uniform'])('estimates by %s', async (estimator) => {
    const { coefficients } = await blend(`by-${estimator}`, '--estimator', estimator);
    expect(coefficients.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
  });

  it.each([['F16'], ['BF16']])('stores %s', async (dtype) => {
    await blend(dtype, '--dtype', dtype);
    const file = await document<{ tensors: Array<{ dtype: string }> }>([
      'inspect',
      join(at(dtype), 'adapter_model.safetensors'),
    ]);
    expect(new Set(file.tensors.map((t) => t.dtype))).toEqual(new Set([dtype]));
  });

  it.each(['tfidf', 'last-hidden', 'hidden:1'])('from a pool on %s', async (embedding) => {
    const name = embedding.replace(':', '-');
    await succeed(buildArgs(data, at(`pool-${name}`), '--embedding', embedding));
    const args = ['--pool', at(`pool-${name}`), '--examples', mine, '--out', at(`on-${name}`), '--backend', 'wasm'];
    const result = await document<Blended>(['blend', ...args]);
    expect(result.coefficients).toHaveLength(3);
    expect(result.similarities!.every((cos) => Math.abs(cos) <= 1 + 1e-6)).toBe(true);
    const gated = await document<ScoreReport>([
      ...['score', '--model', LLAMA, '--data', mine, '--backend', 'wasm'],
      ...['--pool', at(`pool-${name}`)],
    ]);
    expect(gated.loss).toBeGreaterThan(0);
  });

  it('draws a bar for each coefficient', async () => {
    const { stdout } = await succeed(['blend', '--pool', pool, '--examples', mine, '--out', at('bars')]);
    expect(stdout.match(/[█░]{24}/g)).toHaveLength(3);
    expect(stdout).toMatch(/Adapter written: \S+ \(14 modules, rank 6, [\d.]+ kB\)/);
    expect(stdout).not.toContain('\u001b');
  });
});

describe('score', () => {
  it('measures the base model, an adapter and a pool', async () => {
    const base = await score();
    const uniform = await document<Blended>([
      ...['blend', '--pool', pool, '--estimator', 'uniform'],
      ...['--out', at('for-score')],
    ]);
    const adapter = await score('--adapter', uniform.out);
    const gated = await score('--pool', pool);
    expect(base).toMatchObject({ examples: 6, choiceExamples: 6 });
    expect(base.perplexity).toBeCloseTo(Math.exp(base.loss), 6);
    expect(adapter.loss).toBeLessThan(base.loss);
    expect(gated.loss).toBeLessThan(base.loss);
    expect(new Set([base.loss, adapter.loss, gated.loss]).size).toBe(3);
  });

  it('gives one summed log-probability for each completion and each choice', async () => {
    const { perExample, loss, tokens, acc } = await score();
    expect(perExample).toHaveLength(6);
    expect(-perExample.reduce((sum, e) => sum + e.logprob, 0) / tokens).toBeCloseTo(loss, 9);
    for (const { choices, answer, logprob, predicted } of perExample) {
      expect(choices![answer!]).toBe(logprob);
      expect(choices![predicted!]).toBe(Math.max(...choices!));
    }
    expect(acc).toBe(perExample.filter((e) => e.predicted === e.answer).length / 6);
  });

  it('prints a table for people', async () => {
    const { stdout } = await succeed(['score', '--model', LLAMA, '--data', questions, '--backend', 'wasm']);
    for (const row of ['perplexity', 'acc_norm', 'tokens/s']) expect(stdout).toContain(row);
    expect(stdout).not.toMatch(/NaN|undefined|Infinity/);
    expect(stdout).not.toContain('\u001b');
  });
});

describe('every kind of base model', () => {
  it.each(MODELS.filter((name) => name !== 'llama'))('%s', async (name) => {
    const base = fixture('models', name);
    const own = (what: string) => at(`${name}-${what}`);
    await succeed([...buildArgs(data, own('pool'), '--model', base), '--long', 'truncate']);
    await succeed(['blend', '--pool', own('pool'), '--examples', mine, '--out', own('blend'), '--long', 'truncate']);
    const args = ['score', '--model', base, '--data', data, '--backend', 'wasm'];
    const before = await document<ScoreReport>(args);
    const after = await document<ScoreReport>([...args, '--adapter', own('blend')]);
    const gated = await document<ScoreReport>([...args, '--pool', own('pool')]);
    for (const { loss } of [before, after, gated]) expect(loss).toBeGreaterThan(0);
    expect(after.loss).not.toBe(before.loss);
    expect(gated.loss).toBeLessThan(before.loss);
  });
});

describe('streams', () => {
  it('--quiet leaves stderr empty', async () => {
    const { stderr } = await crayon(['blend', '--pool', pool, '--examples', mine, '--out', at('quiet'), '--quiet']);
    expect(stderr).toBe('');
  });

  it('NO_COLOR and a stream that is no terminal mean no escape sequence anywhere', async () => {
    for (const env of [{}, { NO_COLOR: '1', FORCE_COLOR: '1' }]) {
      const { stdout, stderr } = await crayon(['inspect', at('nowhere')], env);
      expect(stdout + stderr).not.toContain('\u001b');
    }
    expect((await crayon(['inspect', at('nowhere')], { FORCE_COLOR: '1' })).stderr).toContain('\u001b[31m');
  });
});
