/** What the repository ships works together: device model, prebuilt pool, suite. */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shippedPath } from '../../src/files/package.js';
import * as formats from '../../src/formats.js';
import * as crayon from '../../src/index.js';
import { temporaryDir } from '../helpers/files.js';

const suite = shippedPath('suite');
const tasks = readdirSync(suite)
  .filter((name) => name.endsWith('.yaml'))
  .filter((name) => readdirSync(suite).includes(name.replace('.yaml', '')));

describe('the suite', () => {
  it('has its tasks', () => {
    expect(tasks.length).toBeGreaterThanOrEqual(8);
  });

  it.each(tasks)('%s: no prompt stands in two splits', (task) => {
    const seen = new Map<string, string>();
    for (const split of ['train', 'heldout', 'test']) {
      const { examples } = crayon.loadDataset(join(suite, task), { split });
      expect(examples.length).toBeGreaterThan(50);
      for (const { prompt } of examples) {
        const key = prompt.toLowerCase().replace(/[^a-z0-9]+/g, ' ');
        expect(seen.get(key) ?? split, prompt).toBe(split);
        seen.set(key, split);
      }
    }
  });
});

describe('the prebuilt pool', () => {
  beforeAll(async () => {
    await crayon.chooseBackend();
  });
  afterAll(crayon.releaseBackend);

  it('turns ten examples of the bank into an adapter that knows its rule', async () => {
    const pool = shippedPath('models', 'crayon-edge-pool');
    const out = join(temporaryDir(), 'bank');
    const { coefficients, coverage } = await crayon.blendPool({
      pool,
      examples: shippedPath('suite', 'examples', 'bank.jsonl'),
      model: shippedPath('models', 'crayon-edge'),
      out,
      estimator: 'similarity',
      combine: 'cat',
      dtype: 'F32',
      long: 'error',
      force: false,
    });
    const largest = coefficients.indexOf(Math.max(...coefficients));
    expect(Object.keys(crayon.openPool(pool).manifest.clusters[largest]!.tasks)).toEqual(['route-bank']);
    expect(coverage!.verdict).toBe('covered');

    const source = formats.HfModel.open(shippedPath('models', 'crayon-edge'));
    const model = crayon.openNetwork(source);
    const tokenizer = formats.loadTokenizer(source.path);
    const { examples } = crayon.loadDataset(join(suite, 'route-bank.yaml'), { split: 'test', limit: 40, seed: 1 });
    const common = { model, tokenizer, examples, maxLength: 512 };
    const adapter = formats.openPeftAdapter(out);
    const base = await crayon.scoreExamples(common);
    const blend = await crayon.scoreExamples({ ...common, lora: crayon.stackAdapters([adapter], source) });
    adapter.close();
    model.dispose();
    source.close();
    expect(base.acc).toBeLessThan(0.4); // one in six by chance
    expect(blend.acc).toBeGreaterThan(0.9);
  });
});
