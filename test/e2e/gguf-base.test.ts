/** The path of a user whose base model is a GGUF file: the same pool, blend and scores as from the directory it was made of. */

import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { exportModelGguf } from '../../src/formats.js';
import { openPool } from '../../src/index.js';
import type { PoolManifest } from '../../src/pool/pool.js';
import { openBaseModel, openEmbedder } from '../../src/serve/base-model.js';
import type { ScoreReport } from '../../src/train/score.js';
import { EDGE } from '../helpers/edge-gguf.js';
import { digests, document, records, refusal, scratch, succeed, writeJsonl } from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const data = writeJsonl(at('train.jsonl'), records(24));
const mine = writeJsonl(at('mine.jsonl'), records(5, { topic: 1 }));
const questions = writeJsonl(at('questions.jsonl'), records(6, { choices: true }));
const gguf = at('crayon-edge.gguf');
const [fromDirectory, fromGguf] = [at('from-directory'), at('from-gguf')];

const build = (model: string, pool: string, ...more: string[]) => {
  const small = ['--clusters', '3', '--rank', '2', '--batch-size', '8', '--backend', 'wasm'];
  return ['build-pool', '--model', model, '--data', data, '--pool', pool, ...small, ...more];
};
const score = (model: string, ...more: string[]): Promise<ScoreReport> =>
  document(['score', '--model', model, '--data', questions, '--backend', 'wasm', ...more]);
const blend = (pool: string, out: string, ...more: string[]): Promise<{ coefficients: number[] }> =>
  document(['blend', '--pool', pool, '--examples', mine, '--out', out, ...more]);
const manifestOf = (pool: string): PoolManifest => JSON.parse(readFileSync(join(pool, 'pool.json'), 'utf8'));
const weightsOf = (pool: string) =>
  Object.fromEntries(Object.entries(digests(pool)).filter(([path]) => path.endsWith('.safetensors')));

beforeAll(async () => {
  exportModelGguf({ model: EDGE, out: gguf, type: 'F32' });
  await succeed(build(EDGE, fromDirectory));
  await succeed(build(gguf, fromGguf));
});

describe('build-pool', () => {
  it('writes the same adapters, centroids and losses, under the name and digests of the file', () => {
    expect(weightsOf(fromGguf)).toEqual(weightsOf(fromDirectory));
    expect(Object.keys(weightsOf(fromGguf))).toHaveLength(4);
    const [{ base: a, ...expected }, { base: b, ...found }] = [manifestOf(fromDirectory), manifestOf(fromGguf)];
    expect(found).toEqual(expected);
    expect(a).not.toHaveProperty('format');
    expect(b).toMatchObject({ name: basename(gguf), format: 'gguf', modelType: 'llama', hiddenSize: a.hiddenSize });
    expect(b.digest).not.toBe(a.digest);
    const config = JSON.parse(readFileSync(join(fromGguf, 'adapters/0/adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ base_model_name_or_path: basename(gguf) });
  });

  it('plans the same with --dry-run', async () => {
    const [a, b] = [
      await document(build(EDGE, at('dry'), '--dry-run')),
      await document(build(gguf, at('dry'), '--dry-run')),
    ];
    // memory and time are those of two steps that either took
    const measured = { memoryBytes: expect.any(Number), seconds: expect.any(Number) };
    expect(b).toEqual({ ...a, ...measured });
    expect(a).toMatchObject(measured);
  });
});

describe('blend, score and serving', () => {
  it('blend finds the file where the manifest says, and takes the directory too', async () => {
    const { coefficients } = await blend(fromDirectory, at('blend-a'));
    expect((await blend(fromGguf, at('blend-b'))).coefficients).toEqual(coefficients);
    expect((await blend(fromGguf, at('blend-c'), '--model', EDGE)).coefficients).toEqual(coefficients);
    expect((await blend(fromDirectory, at('blend-d'), '--model', gguf)).coefficients).toEqual(coefficients);
    for (const name of ['blend-b', 'blend-c', 'blend-d']) expect(weightsOf(at(name))).toEqual(weightsOf(at('blend-a')));
  });

  it.each<[string, string[]]>([
    ['alone', []],
    ['with an adapter', ['--adapter', join(fromGguf, 'adapters/1')]],
    ['through the pool', ['--pool', fromGguf]],
  ])('score gives the same numbers %s', async (_, more) => {
    const [expected, found] = [await score(EDGE, ...more), await score(gguf, ...more)];
    expect(found.perExample).toEqual(expected.perExample);
    expect(found.acc).toBe(expected.acc);
  });

  it('serving embeds in the space of the pool', () => {
    const pool = openPool(fromGguf);
    const tokens = { of: () => Int32Array.of(20, 30, 40), aside: async () => expect.unreachable() };
    const vectors = [gguf, EDGE].map((path) => {
      const base = openBaseModel(path, { cacheDir: at('cache'), type: 'F32' });
      const { vector } = openEmbedder(base, pool, tokens).embed('x');
      base.close();
      return vector;
    });
    expect(vectors[0]).toEqual(vectors[1]);
    expect(vectors[0]!.some((x) => x !== 0)).toBe(true);
  });
});

describe('another file', () => {
  it('is refused where its digest, or its sizes beside a directory, are others', async () => {
    const narrower = at('f16.gguf');
    exportModelGguf({ model: EDGE, out: narrower, type: 'F16' });
    const args = ['blend', '--pool', fromGguf, '--examples', mine, '--out', at('no')];
    const error = await refusal([...args, '--model', narrower]);
    expect(error).toMatchObject({ code: 'pool-mismatch', hint: expect.stringContaining(gguf) });
    expect(error.message).toContain(narrower);
    const server = 'models/crayon-server';
    expect(await refusal([...args, '--model', server])).toMatchObject({ code: 'pool-mismatch' });
  });
});
