/**
 * The learning rate of a pool, or of one LoRA on everything, where a configuration has several: that with the least loss on held-out
 * examples, each under its gate. It is chosen once for each seed of a run, and recorded in run.json.
 */

import { argmax } from '../core/vector.js';
import { meanLoss } from '../train/completion-score.js';
import { atEachRate, type BenchPool } from './settings.js';
import { heldOutExamples } from './strategies/held-out.js';
import type { BenchContext } from './strategies/strategy.js';
import { trainingForm } from './strategies/trained.js';
import type { RateChoice } from './types.js';

/** Whose rate the pool's own is, among those of strategies. */
export const OF_POOL = 'pool';

const recorded = (of: string, { manifest, config }: BenchContext) =>
  manifest.rates?.find(({ strategy, seed }) => strategy === of && seed === config.seed);

/** Whether the rate of these pools is known, so that the others are not needed. */
export const isChosen = (of: string, context: BenchContext) => recorded(of, context) !== undefined;

/** @param of the strategy whose pool it is, or OF_POOL; while its rate is not chosen the pool is there with each of them */
export async function withLeastLoss(of: string, pool: BenchPool, context: BenchContext): Promise<BenchPool> {
  const pools = atEachRate(pool);
  if (pools.length === 1) return pools[0]!;
  const { manifest, directory } = context;
  let choice = recorded(of, context);
  if (choice === undefined) {
    choice = await chooseRate(of, pools, context);
    manifest.rates = [...(manifest.rates ?? []), choice];
    directory.writeManifest(manifest);
  }
  const { learningRate } = choice;
  return pools.find((pool) => pool.learning_rate === learningRate)!;
}

async function chooseRate(of: string, pools: readonly BenchPool[], context: BenchContext): Promise<RateChoice> {
  const [{ scoreCompletions }, { loadPoolGates }] = await Promise.all([
    import('../train/evaluate.js'),
    import('../pool/gate.js'),
  ]);
  const { base, config, pools: store, signal, onProgress } = context;
  const { source, model, tokenizer } = base;
  const examples = heldOutExamples(context);
  const sequences = trainingForm({ shown: examples }, base);
  const tried: RateChoice['tried'] = [];
  for (const [i, pool] of pools.entries()) {
    const lora = await loadPoolGates(store.path(pool), source, model, tokenizer).loraFor(examples);
    const report = (done: number, total: number) =>
      onProgress({ stage: `rate of ${of}`, done: i * total + done, total: pools.length * total });
    const how = { lora, batchSize: config.batch_size, onProgress: report, signal };
    const loss = meanLoss(await scoreCompletions(model, sequences, how));
    tried.push({ learningRate: pool.learning_rate, loss });
  }
  const { learningRate } = tried[argmax(tried.map(({ loss }) => -loss))]!;
  return { strategy: of, seed: config.seed, examples: examples.length, tried, learningRate };
}
