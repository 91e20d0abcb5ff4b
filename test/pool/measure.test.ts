// npx vitest run test/pool/measure.test.ts
import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BlendPoolOptions, blendPool } from '../../src/blend/blend-pool.js';
import { loadDataset } from '../../src/data/dataset.js';
import { HfModel } from '../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import type { Network } from '../../src/model/network.js';
import { openNetwork } from '../../src/model/open-network.js';
import { withPoolLosses } from '../../src/pool/adapter-losses.js';
import { measurePool } from '../../src/pool/measure.js';
import { openPool } from '../../src/pool/pool.js';
import { prepareExamples } from '../../src/pool/prepare.js';
import { loadAdapterLora } from '../../src/train/adapter-lora.js';
import { meanLoss } from '../../src/train/completion-score.js';
import { scoreCompletions } from '../../src/train/evaluate.js';
import { EDGE, poolAdapter } from '../helpers/edge-gguf.js';
import { temporaryRoot } from '../helpers/files.js';

const ROOT = join(import.meta.dirname, '..', '..');
const SHIPPED = join(ROOT, 'models', 'crayon-edge-pool');
const source = HfModel.open(EDGE);
const dir = temporaryRoot();
const pool = join(dir, 'pool');
const TASKS = ['hospital', 'bank', 'farm', 'school'].map((name) => `suite/route-${name}.yaml`);
const examplesOf = (task: string, limit: number) => loadDataset(join(ROOT, task), { split: 'heldout', limit }).examples;
const prepared = (limit: number) =>
  prepareExamples(
    TASKS.flatMap((task) => examplesOf(task, limit)),
    source.tokenizer(),
    {
      maxLength: 512,
      long: 'error',
      addEnd: true,
    },
  ).examples;

let model: Network;
beforeAll(async () => {
  await chooseBackend('auto');
  model = openNetwork(source);
  cpSync(SHIPPED, pool, { recursive: true });
});
afterAll(() => {
  model.dispose();
  releaseBackend();
  source.close();
  rmSync(dir, { recursive: true });
});

describe('withPoolLosses', () => {
  it('are those of each adapter on its own', async () => {
    const examples = prepared(1);
    const opened = openPool(pool);
    const losses = await withPoolLosses(opened, source, { model }, (lossesOf) => lossesOf(examples));
    for (const n of [0, 4]) {
      const lora = loadAdapterLora(poolAdapter(n), source);
      const alone = await scoreCompletions(model, examples, { lora });
      for (const [i, score] of alone.entries()) expect(losses[i * 6 + n]).toBeCloseTo(meanLoss([score]), 3);
    }
  }, 60_000);
});

describe('measurePool', () => {
  it('writes what label evidence and standardised similarities need, and changes nothing else', async () => {
    const before = openPool(SHIPPED).manifest;
    const examples = TASKS.flatMap((task) => examplesOf(task, 4));
    const standards = await measurePool(pool, source, examples, { forward: { model } });
    expect(standards).toMatchObject({ similarity: { mean: expect.any(Array) }, loss: { examples: 16 } });
    const { standards: written, ...rest } = JSON.parse(readFileSync(join(pool, 'pool.json'), 'utf8'));
    const { standards: _, ...same } = before;
    expect([rest, written.loss]).toEqual([same, standards.loss]);
  }, 60_000);

  it('lets blend choose by the answers', async () => {
    const blend = (more: Partial<BlendPoolOptions>) =>
      blendPool({
        ...{ pool, model: EDGE, combine: 'cat', dtype: 'F32', long: 'error', force: true, forward: { model } },
        ...{ out: join(dir, 'out'), estimator: 'label-evidence' },
        ...more,
      } as BlendPoolOptions);
    const { clusters } = openPool(pool).manifest;
    const of = (name: string) => clusters.findIndex(({ tasks }) => Object.keys(tasks)[0] === name);
    const [bank, farm] = [of('route-bank'), of('route-farm')];
    const answered = examplesOf('suite/route-bank.yaml', 8);
    const own = (await blend({ examples: answered, lambda: 0 })).coefficients;
    expect(own[bank]).toBeGreaterThan(0.5);
    const plain = (await blend({ examples: answered, estimator: 'similarity' })).coefficients;
    for (const [n, alpha] of own.entries()) expect(alpha).toBeCloseTo(plain[n]!, 9);
    // By the answers alone, at a temperature that makes all prompts alike.
    for (const n of [bank, farm]) {
      const [task] = Object.keys(clusters[n]!.tasks);
      const examples = examplesOf(`suite/${task}.yaml`, 8);
      const { coefficients } = await blend({ examples, lambda: 5, tau: 1e6 });
      expect(coefficients.indexOf(Math.max(...coefficients))).toBe(n);
      expect(coefficients[n]).toBeGreaterThan(0.9);
    }
  }, 60_000);
});
