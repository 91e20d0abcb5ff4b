/**
 * Our scores are lm-evaluation-harness's own: test/fixtures/lm-eval/expected.json has what its hf back end gives for the
 * embedded model (scripts/fixtures/lm_eval_scores.py).
 */

import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { answerExamples, type LoadedModel } from '../../src/bench/answers.js';
import { inContext } from '../../src/bench/strategies/plain.js';
import { type Example, loadDataset } from '../../src/data/dataset.js';
import { writeFileAtomic } from '../../src/files/atomic.js';
import { shippedPath } from '../../src/files/package.js';
import { scoreExamples } from '../../src/train/score-forward.js';
import { temporaryDir } from '../helpers/files.js';
import { fixtureJson, hasShared, shared } from '../helpers/fixtures.js';
import { loadedEdge } from '../helpers/loaded-edge.js';

interface ChoiceTask {
  acc: number;
  accNorm: number;
  examples: Array<{ logprobs: number[]; acc: 0 | 1; accNorm: 0 | 1 }>;
}
interface GenerationTask {
  exact: number;
  examples: Array<{ answer: string }>;
}

const { tasks } = fixtureJson<{ tasks: Record<string, unknown> }>('lm-eval', 'expected.json');
const suite = (task: string) => shippedPath('suite', `${task}.yaml`);
const publicSet = (task: string) => shippedPath('configs', 'tasks', `llm-adapters-${task}.yaml`);

let base: LoadedModel;
const loaded = loadedEdge('auto');
beforeAll(() => {
  base = loaded();
});

async function expectSameScores(name: string, examples: Example[], context: Example[] = []): Promise<void> {
  const expected = tasks[name] as ChoiceTask;
  expect(examples).toHaveLength(expected.examples.length);
  const asked = examples.map(inContext(context, base, 0));
  const maxLength = base.source.config.maxPositionEmbeddings;
  const report = await scoreExamples({ ...base, examples: asked, maxLength });
  report.perExample.forEach((score, i) => {
    const theirs = expected.examples[i]!;
    const close = theirs.logprobs.map((x) => expect.closeTo(x, 3));
    expect(score.choices, `${name}, example ${i}`).toEqual(close);
    const found = [score.predicted === score.answer, score.predictedNorm === score.answer];
    expect(found, `${name}, example ${i}`).toEqual([theirs.acc === 1, theirs.accNorm === 1]);
  });
  expect(report.acc).toBeCloseTo(expected.acc, 12);
  expect(report.accNorm).toBeCloseTo(expected.accNorm, 12);
}

const first = (path: string, split: string, limit: number, dataDir?: string) =>
  loadDataset(path, { split, limit, dataDir }).examples;

describe('scores equal lm-evaluation-harness 0.4.13', () => {
  it('multiple choice, no examples', async () => {
    await expectSameScores('route-bank', first(suite('route-bank'), 'test', 120));
  });

  it('multiple choice whose answers follow a delimiter', async () => {
    // the suite's own description has the space in the choices; this one lets the delimiter bring it
    const path = join(temporaryDir(), 'topic.yaml');
    const topics = 'company, school, artist, athlete, village, animal, plant, album, film, building';
    const files = { path: shippedPath('suite', 'dbpedia-topic', 'test.jsonl') };
    writeFileAtomic(
      path,
      `task: topic\ndata_files: { test: test.jsonl }\ndoc_to_text: "{{prompt}}"\ndoc_to_choice: [${topics}]\ndoc_to_target: "{{answer}}"\n`,
    );
    const dataDir = join(files.path, '..');
    await expectSameScores('dbpedia-topic', first(path, 'test', 150, dataDir));
  });

  it('multiple choice with three examples in context', async () => {
    const path = suite('intent');
    await expectSameScores('intent, 3 examples', first(path, 'test', 100), first(path, 'heldout', 3));
  });

  it('generated answers, to the first line break', async () => {
    const expected = tasks['list-last'] as GenerationTask;
    const examples = first(suite('list-last'), 'test', 60);
    const settings = { method: 'generation' as const, batchSize: 16, maxTokens: 24 };
    const { records } = await answerExamples(base, examples, settings);
    expect(records.map((record) => record.answer)).toEqual(expected.examples.map(({ answer }) => answer));
    const exact = records.reduce((n, record) => n + record.correct, 0) / records.length;
    expect(exact).toBeCloseTo(expected.exact, 12);
  });

  it.skipIf(!hasShared)('OpenBookQA (needs the data sets beside the repository)', async () => {
    await expectSameScores('llm-adapters-openbookqa', first(publicSet('openbookqa'), 'test', 150, shared()));
  });

  it.skipIf(!hasShared)('BoolQ with two examples in context (needs the data sets beside the repository)', async () => {
    const path = publicSet('boolq');
    const context = first(path, 'train', 2, shared());
    await expectSameScores('llm-adapters-boolq', first(path, 'test', 100, shared()), context);
  });
});
