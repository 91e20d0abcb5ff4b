/**
 * One LoRA that is trained on everything that the pool was trained on, with the pool's learning rate, one that is given, or the best of
 * several by its loss on held-out examples. That choice is made once for a run and recorded in run.json.
 */

import { argmax } from '../../core/vector.js';
import { openPool } from '../../pool/pool.js';
import { loadAdapterLora } from '../../train/adapter-lora.js';
import { meanLoss } from '../../train/completion-score.js';
import type { EvaluationLora } from '../../train/evaluate.js';
import type { BenchPool } from '../settings.js';
import type { RateChoice } from '../types.js';
import { heldOutExamples } from './held-out.js';
import { adapted, type BenchContext, type Strategy } from './strategy.js';
import { trainingForm } from './trained.js';

/** @param total as many parameters as the whole pool; else the base LoRAs' rank */
function oneLoraOf(name: string, title: string, total: boolean): Strategy {
  return {
    name,
    title,
    role: 'reference',
    looksAtExamples: false,
    poolOf: (_cell, store) => store.oneLoras(total),
    async customise(_cell, _user, context) {
      return adapted(context.base, loraOf(await withLeastLoss(name, context.pools.oneLoras(total), context), context));
    },
  };
}

export const oneLora = oneLoraOf('one-lora', 'One LoRA, same rank', false);
export const oneLoraTotal = oneLoraOf('one-lora-total', 'One LoRA, same total size', true);

/** @param pools of one LoRA each, which differ in their learning rate */
export async function withLeastLoss(
  strategy: string,
  pools: readonly BenchPool[],
  context: BenchContext,
): Promise<BenchPool> {
  const { manifest, directory, config } = context;
  if (pools.length === 1) return pools[0]!;
  const isOurs = (choice: RateChoice) => choice.strategy === strategy && choice.seed === config.seed;
  let choice = manifest.rates?.find(isOurs);
  if (choice === undefined) {
    choice = await chooseRate(strategy, pools, context);
    manifest.rates = [...(manifest.rates ?? []), choice];
    directory.writeManifest(manifest);
  }
  const { learningRate } = choice;
  return pools.find((pool) => pool.learning_rate === learningRate)!;
}

async function chooseRate(strategy: string, pools: readonly BenchPool[], context: BenchContext): Promise<RateChoice> {
  const { scoreCompletions } = await import('../../train/evaluate.js');
  const { base, config, signal, onProgress } = context;
  const examples = heldOutExamples(context);
  const sequences = trainingForm({ shown: examples }, base);
  const tried: RateChoice['tried'] = [];
  for (const [i, pool] of pools.entries()) {
    const lora = loraOf(pool, context);
    const report = (done: number, total: number) =>
      onProgress({ stage: `rate of ${strategy}`, done: i * total + done, total: pools.length * total });
    const how = { lora, batchSize: config.batch_size, onProgress: report, signal };
    tried.push({
      learningRate: pool.learning_rate,
      loss: meanLoss(await scoreCompletions(base.model, sequences, how)),
    });
  }
  const { learningRate } = tried[argmax(tried.map(({ loss }) => -loss))]!;
  return { strategy, seed: config.seed, examples: examples.length, tried, learningRate };
}

function loraOf(pool: BenchPool, { base, pools }: BenchContext): EvaluationLora {
  const dir = pools.path(pool);
  return loadAdapterLora(`${dir}/${openPool(dir).manifest.adapters[0]!.dir}`, base.source);
}
