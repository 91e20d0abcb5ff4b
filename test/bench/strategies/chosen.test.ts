import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { answerExamples, type LoadedModel } from '../../../src/bench/answers.js';
import { chosen } from '../../../src/bench/strategies/chosen.js';
import type { BenchContext, PlannedCell } from '../../../src/bench/strategies/strategy.js';
import type { UserWithExamples } from '../../../src/bench/users.js';
import { loadDataset } from '../../../src/data/dataset.js';
import { loadedEdge } from '../../helpers/loaded-edge.js';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const POOL = join(ROOT, 'models', 'crayon-edge-pool');
const task = (name: string, from: number, to: number) =>
  loadDataset(join(ROOT, 'suite', name, 'heldout.jsonl')).examples.slice(from, to);

let base: LoadedModel;
const loaded = loadedEdge('wasm');
beforeAll(() => {
  base = loaded();
});

function customised(shown: UserWithExamples['shown']) {
  const context = { base, pools: { path: () => POOL }, signal: new AbortController().signal };
  return chosen.customise(
    {} as PlannedCell,
    { id: 'user', shown } as UserWithExamples,
    context as unknown as BenchContext,
  );
}
const rightOf = async (found: Awaited<ReturnType<typeof customised>>, test: UserWithExamples['shown']) => {
  const settings = { method: 'loglikelihood', batchSize: 16, maxTokens: 8 } as const;
  const { records } = await answerExamples(found.answerer, test, settings);
  return records.filter(({ correct }) => correct === 1).length;
};

describe('chosen', () => {
  it('answers by the pool’s own adapter for a task of the pool', async () => {
    const found = await customised(task('intent', 0, 4));
    expect(found).toMatchObject({ chosen: 'similarity', bytesToServer: 24 });
    const { coefficients } = found;
    expect(coefficients![4]).toBeGreaterThan(0.9);
    expect(await rightOf(found, task('intent', 10, 14))).toBe(4);
  });

  it('answers by each prompt’s own mixture where the user has two tasks', async () => {
    const found = await customised([...task('intent', 0, 3), ...task('route-bank', 0, 3)]);
    expect(found.chosen).toMatch(/^per-query/);
    expect(found.coefficients).toBeUndefined();
    expect(await rightOf(found, [...task('intent', 10, 12), ...task('route-bank', 10, 12)])).toBe(4);
  });

  it('answers by the bare model outside the pool', async () => {
    const found = await customised(task('swap-words', 0, 3));
    expect(found).toMatchObject({ chosen: 'base', parameters: 0, bytesToServer: 0 });
    expect(found.answerer.loraFor).toBeUndefined();
  });
});
