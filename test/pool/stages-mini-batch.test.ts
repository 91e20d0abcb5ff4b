/** Builds whose embeddings stay on disk: stopped at every stage, in one go or in three verbs, the same bytes. */

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { hearingWarnings } from '../../src/core/warning.js';
import { chooseBackend } from '../../src/model/backend.js';
import { buildPool } from '../../src/pool/build.js';
import { BUILD_DEFAULTS, type BuildPoolOptions, type BuildProgress } from '../../src/pool/inputs.js';
import { openPool } from '../../src/pool/pool.js';
import { finishBuild, prepareBuild, trainBuild } from '../../src/pool/units/verbs.js';
import { workPath } from '../../src/pool/work-directory.js';
import { digests, records, scratch, writeJsonl } from '../e2e/helpers.js';
import { fixture } from '../helpers/fixtures.js';

const dir = scratch();
let outputs = 0;
const data = [writeJsonl(join(dir, 'train.jsonl'), records(24))];

const optionsOf = (more: Partial<BuildPoolOptions> = {}): BuildPoolOptions => ({
  ...BUILD_DEFAULTS,
  model: fixture('models', 'llama'),
  data,
  clusters: 3,
  clustering: 'mini-batch',
  r: 2,
  mode: 'separate',
  out: join(dir, `pool-${outputs++}`),
  training: { ...BUILD_DEFAULTS.training, batchSize: 8, epochs: 1, loraAlpha: 4 },
  ...more,
});

const EMBEDDINGS = ['first-attention', 'hidden:1'];
const whole = new Map<string, Record<string, string>>();

beforeAll(async () => {
  await chooseBackend('wasm');
  for (const embedding of EMBEDDINGS) {
    const options = optionsOf({ embedding });
    await buildPool(options);
    whole.set(embedding, digests(options.out));
  }
});

describe.each(EMBEDDINGS)('a build in mini-batches by %s', (embedding) => {
  it('ends with the same bytes wherever it was stopped', async () => {
    const options = optionsOf({ embedding });
    const stopAt = async (when: (progress: BuildProgress) => boolean) => {
      const stop = new AbortController();
      const onProgress = (progress: BuildProgress) => when(progress) && stop.abort();
      await expect(buildPool(options, { signal: stop.signal, onProgress })).rejects.toMatchObject({
        code: 'interrupted',
      });
      return readdirSync(workPath(options.out)).filter((name) => name.endsWith('.safetensors'));
    };
    expect(await stopAt(({ stage, done }) => stage === 'embed' && done > 0)).toEqual(['embeddings-0.safetensors']);
    const inBatches = ['embeddings-0.safetensors', 'mini-batch.safetensors'];
    expect(await stopAt(({ stage, done }) => stage === 'embed' && done === 24)).toEqual(inBatches.slice(0, 1));
    expect(await stopAt(({ stage, done }) => stage === 'cluster' && done === 1)).toEqual(inBatches);
    await buildPool(options);
    expect(digests(options.out)).toEqual(whole.get(embedding));
    expect(existsSync(workPath(options.out))).toBe(false);
  });

  it('makes the same pool in three verbs, which says how', async () => {
    const options = optionsOf({ embedding });
    await prepareBuild(options, 'wasm');
    for (const k of [1, 0, 2]) await trainBuild(options.out, k);
    await finishBuild(options.out);
    expect(digests(options.out)).toEqual(whole.get(embedding));
    expect(openPool(options.out).manifest.training).toMatchObject({ clustering: 'mini-batch', examples: 24 });
  });
});

describe('how clusters are found', () => {
  it('is in mini-batches where the embeddings do not fit, which is said', async () => {
    const trainer = { name: 'torch', python: 'python3', dtype: 'float32', processes: 1 } as const; // whose memory is not planned
    const options = optionsOf({ clustering: undefined, memory: 1000, trainer });
    const said: string[] = [];
    await hearingWarnings((text) => said.push(text), () => prepareBuild(options, 'wasm')); // biome-ignore format: one call
    expect(said.join()).toMatch(/embeddings of 24 examples .* clustered in mini-batches/);
    expect(existsSync(join(workPath(options.out), 'embeddings-0.safetensors'))).toBe(true);
  });

  it('is in full where nothing is said, and then nothing of it is written', async () => {
    const options = optionsOf({ clustering: undefined });
    await buildPool(options);
    expect(openPool(options.out).manifest.training).not.toHaveProperty('clustering');
  });

  it('cannot be in mini-batches of sparse rows', async () => {
    await expect(buildPool(optionsOf({ embedding: 'tfidf' }))).rejects.toMatchObject({ code: 'bad-option' });
  });
});
