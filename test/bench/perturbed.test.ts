/** Changed test prompts and what a router would see of them: by a made-up space, and answered by the embedded model. */

import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { answerExamples, type LoadedModel } from '../../src/bench/answers.js';
import { perturb } from '../../src/bench/perturb.js';
import { perturbedSignals, perturbedTests } from '../../src/bench/perturbed.js';
import type { ScopeSpace } from '../../src/bench/pool-space.js';
import type { BenchConfig } from '../../src/bench/settings.js';
import type { UserWithExamples } from '../../src/bench/users.js';
import { loadDataset } from '../../src/data/dataset.js';
import { loadedEdge } from '../helpers/loaded-edge.js';

const test = loadDataset(join(import.meta.dirname, '..', '..', 'suite', 'intent', 'heldout.jsonl')).examples.slice(
  0,
  4,
);
const user = { test } as UserWithExamples;
/** A percentile that tells prompts apart. */
const placedAt = (prompt: string) => ({ scope: prompt.length, clusters: [1, 0] });
const placed: ScopeSpace['placed'] = async (of) => of.test.map(({ prompt }) => placedAt(prompt));
const space = { placed } as ScopeSpace;
const configOf = (device: boolean) => ({ robustness: { typos: 0.2, seed: 3, device } }) as BenchConfig;
const settings = { method: 'loglikelihood', batchSize: 16, maxTokens: 8 } as const;

let base: LoadedModel;
const loaded = loadedEdge('wasm');
beforeAll(() => {
  base = loaded();
});

describe('changed prompts', () => {
  it('are none where the configuration does not ask for them', async () => {
    expect(await perturbedTests(user, space, {} as BenchConfig)).toEqual([]);
    expect(await perturbedSignals([], {} as BenchConfig, base, settings)).toEqual([]);
  });

  it('are the test with other prompts, each with what is known of it before any work', async () => {
    const tests = await perturbedTests(user, space, configOf(false));
    expect(tests.map(({ kind }) => kind)).toEqual(['typos', 'rewording']);
    for (const { kind, test: changed, placed: at } of tests) {
      const prompts = test.map(({ prompt }) => perturb(prompt, kind, { seed: 3, typos: 0.2 }));
      expect(changed).toEqual(test.map((example, i) => ({ ...example, prompt: prompts[i] })));
      expect(at).toEqual(prompts.map(placedAt));
    }
  });

  it('cost no answer unless the device is to be asked', async () => {
    const tests = await perturbedTests(user, space, configOf(false));
    const noModel = {} as LoadedModel;
    expect(await perturbedSignals(tests, configOf(false), noModel, settings)).toEqual(
      test.map((_, i) => ({
        perturbed: { typos: tests[0]!.placed[i], rewording: tests[1]!.placed[i] },
      })),
    );
  });

  it('are answered by the device where it is', async () => {
    const tests = await perturbedTests(user, space, configOf(true));
    const signals = await perturbedSignals(tests, configOf(true), base, settings);
    const { records } = await answerExamples(base, tests[1]!.test, settings);
    expect(signals.map(({ perturbed }) => perturbed!.rewording)).toEqual(
      records.map(({ confidence, correct }, i) => ({ ...tests[1]!.placed[i], confidence, correct })),
    );
  });
});
