/** A blend is what the method says it is, measured through the model; and everything is a function of its inputs. */

import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { BlendPoolResult } from '../../src/blend/blend-pool.js';
import { HfModel, loadTokenizer, openPeftAdapter } from '../../src/formats.js';
import {
  chooseBackend,
  type Example,
  LlamaModel,
  loadDataset,
  openPool,
  type Pool,
  poolForm,
  type ScoreReport,
  scoreExamples,
  stackAdapters,
} from '../../src/index.js';
import { relativeDifference } from '../helpers/fixtures.js';
import { buildArgs, digests, document, LLAMA, records, scratch, succeed, writeJsonl } from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const data = writeJsonl(at('train.jsonl'), records(24));
const mine = writeJsonl(at('mine.jsonl'), records(4, { topic: 2 }));
const TRAINING = ['--epochs', '6', '--learning-rate', '0.01'];
const blend = (out: string, ...more: string[]): Promise<BlendPoolResult> =>
  document(['blend', '--pool', at('pool'), '--out', at(out), ...more]);

let pool: Pool;
let source: HfModel;
let model: LlamaModel;
let examples: Example[];

beforeAll(async () => {
  await succeed(buildArgs(data, at('pool'), ...TRAINING));
  await chooseBackend('wasm');
  pool = openPool(at('pool'));
  source = HfModel.open(LLAMA);
  model = new LlamaModel(source);
  examples = loadDataset(data).examples.slice(0, 12);
  return () => {
    model.dispose();
    source.close();
  };
});

/** Log-probabilities of the examples with adapters under the given coefficients. */
async function logprobs(dirs: string[], coefficients: number[]): Promise<number[]> {
  const adapters = dirs.map((dir) => openPeftAdapter(dir));
  try {
    const lora = stackAdapters(adapters, source, [coefficients]);
    const tokenizer = loadTokenizer(LLAMA);
    const report: ScoreReport = await scoreExamples({
      model,
      tokenizer,
      form: poolForm(pool, tokenizer, LLAMA),
      examples,
      maxLength: 64,
      lora,
    });
    return report.perExample.map((e) => e.logprob);
  } finally {
    for (const adapter of adapters) adapter.close();
  }
}

const members = () => pool.manifest.adapters.map(({ dir }) => join(at('pool'), dir));

describe('a cat blend', () => {
  it('scores like the stacked adapters under the same coefficients', async () => {
    const { coefficients } = await blend('cat', '--examples', mine, '--temperature', '0.5');
    const wanted = await logprobs(members(), coefficients);
    expect(relativeDifference(await logprobs([at('cat')], [1]), wanted)).toBeLessThan(1e-4);
    const base = await logprobs(members(), [0, 0, 0]);
    expect(relativeDifference(base, wanted)).toBeGreaterThan(1e-2); // the adapters do something
  });

  it('takes negative coefficients and coefficients beyond 1', async () => {
    await blend('wild', '--coefficients=-0.5,2,0.25');
    const wanted = await logprobs(members(), [-0.5, 2, 0.25]);
    expect(relativeDifference(await logprobs([at('wild')], [1]), wanted)).toBeLessThan(1e-4);
  });

  it('of one adapter alone is that adapter', async () => {
    await blend('one', '--coefficients', '0,1,0');
    const wanted = await logprobs([members()[1]!], [1]);
    expect(relativeDifference(await logprobs([at('one')], [1]), wanted)).toBeLessThan(1e-5);
  });

  it('of nothing is the base model', async () => {
    const { perExample } = await document<ScoreReport>(scoreArgs());
    await blend('nothing', '--coefficients', '0,0,0');
    const wanted = perExample.slice(0, 12).map((e) => e.logprob);
    expect(relativeDifference(await logprobs([at('nothing')], [1]), wanted)).toBeLessThan(1e-6);
  });

  it('scores the same through the command line', async () => {
    await blend('line', '--coefficients', '0.2,0.3,0.5');
    const wanted = await logprobs(members(), [0.2, 0.3, 0.5]);
    const { perExample } = await document<ScoreReport>(scoreArgs('--adapter', at('line')));
    const found = perExample.slice(0, 12).map((e) => e.logprob);
    expect(relativeDifference(found, wanted)).toBeLessThan(1e-4);
  });
});

function scoreArgs(...more: string[]): string[] {
  return ['score', '--model', LLAMA, '--data', data, '--backend', 'wasm', ...more];
}

describe('svd', () => {
  it('of full rank scores like cat', async () => {
    await blend('full', '--combine', 'svd', '--rank', '6', '--coefficients', '0.2,0.3,0.5');
    const wanted = await logprobs(members(), [0.2, 0.3, 0.5]);
    expect(relativeDifference(await logprobs([at('full')], [1]), wanted)).toBeLessThan(1e-4);
  });
});

describe('coefficients', () => {
  it('uniform equals the same numbers by hand, byte for byte', async () => {
    await blend('uniform', '--estimator', 'uniform');
    await blend('thirds', `--coefficients=${[1, 1, 1].map((x) => x / 3).join()}`);
    const weights = 'adapter_model.safetensors';
    expect(digests(at('uniform'))[weights]).toBe(digests(at('thirds'))[weights]);
  });

  it('the whole top-k is no top-k', async () => {
    await blend('top3', '--examples', mine, '--top-k', '3');
    await blend('all', '--examples', mine);
    expect(digests(at('top3'))).toEqual(digests(at('all')));
  });
});

describe('the same inputs give the same bytes', () => {
  it.each([['cat'], ['svd'], ['linear']])('of a %s blend', async (combine) => {
    await blend(`${combine}-1`, '--examples', mine, '--combine', combine);
    await blend(`${combine}-2`, '--examples', mine, '--combine', combine);
    expect(digests(at(`${combine}-1`))).toEqual(digests(at(`${combine}-2`)));
  });

  it('of a pool, whatever it replaces and wherever it lies', async () => {
    await succeed(buildArgs(data, at('again'), '--epochs', '1'));
    await succeed(buildArgs(data, at('again'), ...TRAINING, '--force'));
    expect(digests(at('again'))).toEqual(digests(at('pool')));
  });

  it('but another seed or another mode gives another pool', async () => {
    await succeed(buildArgs(data, at('seed-1'), ...TRAINING, '--seed', '1'));
    await succeed(buildArgs(data, at('independent'), ...TRAINING, '--mode', 'independent'));
    const weights = (name: string) => digests(at(name))['adapters/0/adapter_model.safetensors'];
    expect(new Set([weights('pool'), weights('seed-1'), weights('independent')]).size).toBe(3);
  });
});
