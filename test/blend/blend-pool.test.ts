import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type BlendPoolOptions, blendPool } from '../../src/blend/blend-pool.js';
import { createRandom } from '../../src/core/random.js';
import { loadDataset } from '../../src/data/dataset.js';
import { sha256File } from '../../src/files/digest.js';
import { HfModel } from '../../src/hf/model.js';
import { firstAttentionEmbedder } from '../../src/pool/embed/kinds/first-attention.js';
import { openPool, writePoolManifest } from '../../src/pool/pool.js';
import { EDGE, edgeGguf, poolAdapter } from '../helpers/edge-gguf.js';

const ROOT = join(import.meta.dirname, '..', '..');
const POOL = join(ROOT, 'models', 'crayon-edge-pool');
const EXAMPLES = join(ROOT, 'suite', 'examples', 'bank.jsonl');
const gguf = edgeGguf();
const at = (name: string) => join(gguf.dir, name);

const blend = (out: string, more: Partial<BlendPoolOptions> = {}) =>
  blendPool({
    pool: POOL,
    examples: EXAMPLES,
    model: EDGE,
    out: at(out),
    estimator: 'similarity',
    combine: 'cat',
    dtype: 'F32',
    long: 'error',
    force: false,
    ...more,
  });
const digests = (out: string) =>
  ['adapter_model.safetensors', 'adapter_config.json'].map((name) => sha256File(join(at(out), name)));

/** The shipped pool with centroids of a first-attention space, centred. */
function firstAttentionPool(): string {
  const dir = at('first-attention-pool');
  cpSync(POOL, dir, { recursive: true });
  const { manifest } = openPool(POOL);
  const source = HfModel.open(EDGE);
  const { d } = firstAttentionEmbedder(source);
  source.close();
  const random = createRandom(0, 'centroids');
  const numbers = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
  const embedding = { kind: 'first-attention', centred: true, dim: d };
  const tensors = { centroids: numbers(manifest.N * d), mean: numbers(d).map((x) => x / 10), idf: null };
  writePoolManifest(dir, { ...manifest, embedding }, tensors);
  return dir;
}

/** The shipped pool with centroids of a space that the whole model embeds in. */
function lastHiddenPool(): string {
  const dir = at('hidden-pool');
  cpSync(POOL, dir, { recursive: true });
  const { manifest } = openPool(POOL);
  const d = manifest.base.hiddenSize;
  const random = createRandom(1, 'centroids');
  const centroids = Float32Array.from({ length: manifest.N * d }, () => random.uniform() - 0.5);
  const embedding = { kind: 'last-hidden', centred: false, dim: d };
  writePoolManifest(dir, { ...manifest, embedding }, { centroids, mean: null, idf: null });
  return dir;
}

describe('blendPool', () => {
  it.each([
    ['the shipped pool', () => POOL],
    ['a first-attention pool', firstAttentionPool],
    ['a pool that needs a forward pass', lastHiddenPool],
  ])('%s: gives the same with a GGUF file alone as with the directory', async (name, poolOf) => {
    const pool = poolOf();
    const [fromDirectory, fromGguf] = [`${name} directory`, `${name} gguf`];
    const expected = await blend(fromDirectory, { pool });
    const found = await blend(fromGguf, { pool, model: gguf.model });
    expect(found.coefficients).toEqual(expected.coefficients);
    expect(found.coverage).toEqual(expected.coverage);
    expect(digests(fromGguf)).toEqual(digests(fromDirectory));
  });

  it('takes examples as they are', async () => {
    const { coefficients } = await blend('from a file');
    const given = await blend('from an array', { examples: loadDataset(EXAMPLES).examples });
    expect(given.coefficients).toEqual(coefficients);
    expect(digests('from an array')).toEqual(digests('from a file'));
  });

  it.each([
    ['too few', 'examples-count', [{ prompt: 'a', completion: 'b' }]],
    ['an empty one', 'example-invalid', Array(3).fill({ prompt: ' ', completion: 'b' })],
  ])('refuses examples: %s', async (name, code, examples) => {
    await expect(blend(name, { examples })).rejects.toMatchObject({ code });
  });

  it.each([
    ['cut off', 'gguf-invalid', (whole: Buffer) => whole.subarray(0, 1000)],
    ['of another architecture', 'gguf-unsupported', (whole: Buffer) => renamed(whole, 'llama', 'gemma')],
    ['without a tokenizer', 'tokenizer-unsupported', (whole: Buffer) => renamed(whole, 'ggml.model', 'ggml.mudel')],
  ])('refuses a GGUF %s by name', async (name, code, spoil) => {
    const model = at(`${name}.gguf`);
    writeFileSync(model, spoil(readFileSync(gguf.model)));
    const refused = expect(blend(name, { model })).rejects;
    await refused.toMatchObject({ code, message: expect.stringContaining(model) });
  });

  it('refuses an adapter in place of the model', async () => {
    await expect(blend('adapter', { model: gguf.adapter(0).path })).rejects.toMatchObject({ code: 'gguf-unsupported' });
    await expect(blend('peft', { model: poolAdapter(0) })).rejects.toMatchObject({ code: 'path-not-recognised' });
  });
});

/** The first occurrence of a text in the header becomes another of the same length. */
function renamed(whole: Buffer, from: string, to: string): Buffer {
  const at = whole.indexOf(from);
  return Buffer.concat([whole.subarray(0, at), Buffer.from(to), whole.subarray(at + from.length)]);
}
