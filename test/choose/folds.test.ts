import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { embedExamples } from '../../src/blend/blend-pool.js';
import { type FoldTask, foldsOf, loraWithout, refinedWithout } from '../../src/choose/folds.js';
import { loadDataset } from '../../src/data/dataset.js';
import { HfModel } from '../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import type { Network } from '../../src/model/network.js';
import { openNetwork } from '../../src/model/open-network.js';
import { stackPool } from '../../src/pool/gate.js';
import { openPool } from '../../src/pool/pool.js';
import { buildArgs, LLAMA, records, scratch, succeed, writeJsonl } from '../e2e/helpers.js';

describe('foldsOf', () => {
  it.each([3, 5, 10, 13, 50])('leaves out each of %i examples once, in five folds at most', (count) => {
    const folds = foldsOf(count);
    expect(folds).toHaveLength(Math.min(5, count));
    expect(folds.flat().sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
    const sizes = folds.map((fold) => fold.length);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
  });
});

describe('what is trained without a fold', () => {
  const dir = scratch();
  const pool = join(dir, 'pool');
  let source: HfModel;
  let model: Network;
  beforeAll(async () => {
    await succeed(buildArgs(writeJsonl(join(dir, 'train.jsonl'), records(24)), pool, '--learning-rate', '0.01'));
    await chooseBackend('wasm');
    source = HfModel.open(LLAMA);
    model = openNetwork(source);
  });
  afterAll(() => {
    model.dispose();
    source.close();
    releaseBackend();
  });

  /** Six examples, those that are left out of one topic or of another. */
  const taskOf = async (topicOfLeft: number, topicOfOthers = 0): Promise<FoldTask> => {
    const left = [1, 4];
    const topics = [0, 1, 2, 3, 4, 5].map((i) => (left.includes(i) ? topicOfLeft : topicOfOthers));
    const shown = topics.map((topic, i) => records(18, { topic })[i * 3]!);
    const { examples: read } = loadDataset(writeJsonl(join(dir, 'shown.jsonl'), shown));
    const opened = openPool(pool);
    const { seen, prepared } = await embedExamples(
      { long: 'error', forward: { model } },
      { pool: opened, source, read, where: 'shown', addEnd: true },
    );
    return { pool: opened, source, model, seen, prepared, left, signal: new AbortController().signal };
  };
  const rule = { estimator: 'similarity' } as const;

  it('refined coefficients make use of the others alone', async () => {
    const stack = stackPool(openPool(pool), source);
    const refined = async (...topics: [number, number?]) =>
      refinedWithout(await taskOf(...topics), stack, { ...rule, refine: 2 });
    const first = await refined(1);
    expect(await refined(2)).toEqual(first);
    expect(await refined(1, 2)).not.toEqual(first);
  });

  it('a LoRA from the blend makes use of the others alone, and stops in time', async () => {
    const how = { rank: 2, steps: 2 };
    const trained = async (...topics: [number, number?]) =>
      (await loraWithout(await taskOf(...topics), rule, how)).parameters;
    const first = await trained(1);
    expect(await trained(2)).toEqual(first);
    expect(await trained(1, 2)).not.toEqual(first);
    const late = { ...(await taskOf(1)), signal: AbortSignal.abort() };
    await expect(loraWithout(late, rule, how)).rejects.toMatchObject({ code: 'interrupted' });
  });
});
