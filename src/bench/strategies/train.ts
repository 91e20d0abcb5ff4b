/** Strategies that learn from the user's examples: a LoRA trained on them, and LoraHub's search. */

import { CrayonError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { PROJECTIONS } from '../../model/projections.js';
import { poolLayout } from '../../pool/build.js';
import { openPool } from '../../pool/pool.js';
import { type PreparedExample, prepareExamples } from '../../pool/prepare.js';
import { stackAdapters } from '../../train/adapter-lora.js';
import { type EvaluationLora, meanLoss, scoreCompletions } from '../../train/evaluate.js';
import { adapterFactors, createLoraLayout, setAdapterFactors } from '../../train/lora-layout.js';
import { TRAIN_DEFAULTS } from '../../train/settings.js';
import { Trainer } from '../../train/trainer.js';
import type { PlannedCell } from '../cells.js';
import type { PlayedUser } from '../users.js';
import type { BenchContext } from './context.js';
import { onePlusOne, withPenalty } from './lorahub.js';

export interface Learnt {
  lora: EvaluationLora;
  coefficients?: number[];
}

/** One LoRA of the base LoRAs' rank on the k examples alone. */
export async function fewShotLora(user: PlayedUser, { config, base, signal }: BenchContext): Promise<Learnt> {
  const { steps, batch_size: batchSize, learning_rate: learningRate } = config.few_shot;
  const { rank: r, lora_alpha: loraAlpha } = config.pool;
  const examples = trainingForm(user, { base });
  const layout = poolLayout(base.source, { targets: PROJECTIONS, r }, 1);
  const gates = examples.map(() => [1]);
  const epochs = steps / Math.ceil(examples.length / batchSize);
  const settings = { ...TRAIN_DEFAULTS, epochs, batchSize, learningRate, loraAlpha, seed: user.seed };
  const trainer = new Trainer({ model: base.model, layout, examples, gates }, settings);
  try {
    while (!trainer.done) {
      await trainer.step();
      stopIfAsked(signal);
    }
    const { parameters } = await trainer.state();
    return { lora: { layout, parameters, loraAlpha, gates: [[1]] } };
  } finally {
    trainer.dispose();
  }
}

/**
 * LoraHub on the pool's base LoRAs. `lorahub` mixes as the authors do, A = sum_n w_n A_n and B = sum_n w_n B_n, which has
 * cross terms between adapters; `lorahub-delta` searches coefficients of the deltas themselves, as Crayon's are.
 */
export async function loraHub(cell: PlannedCell, user: PlayedUser, context: BenchContext): Promise<Learnt> {
  const { config, base, pools, signal } = context;
  const { evaluations, bound, l1 } = config.lorahub;
  const examples = trainingForm(user, context);
  const pool = openPool(pools.path(cell.pool));
  const { N } = pool.manifest;
  const adapters = Array.from({ length: N }, (_, n) => pool.openAdapter(n));
  let stack: EvaluationLora;
  try {
    stack = stackAdapters(adapters, base.source);
  } finally {
    for (const adapter of adapters) adapter.close();
  }
  const mix = cell.strategy === 'lorahub' ? mixFactors : mixDeltas;
  const { best } = await onePlusOne(
    async (w) => {
      const scores = await scoreCompletions(base.model, examples, { lora: mix(stack, w), signal });
      return withPenalty(meanLoss(scores), w, l1);
    },
    { N, evaluations, bound, random: createRandom(user.seed, 'lorahub'), onEvaluation: () => stopIfAsked(signal) },
  );
  return { lora: mix(stack, best), coefficients: best };
}

function mixDeltas(stack: EvaluationLora, w: readonly number[]): EvaluationLora {
  return { ...stack, gates: [w] };
}

/** One adapter of the same rank. @param stack its scales are folded into B, as stackAdapters leaves them */
export function mixFactors({ layout, parameters, loraAlpha }: EvaluationLora, w: readonly number[]): EvaluationLora {
  const mixed = createLoraLayout(layout.modules, 1, layout.r);
  const flat = new Float32Array(mixed.size);
  mixed.modules.forEach((module, at) => {
    const a = new Float32Array(layout.r * module.in);
    const b = new Float32Array(module.out * layout.r);
    w.forEach((weight, n) => {
      const own = adapterFactors(layout, parameters, layout.modules[at]!, n);
      for (let i = 0; i < a.length; i++) a[i]! += weight * own.a[i]!;
      for (let i = 0; i < b.length; i++) b[i]! += weight * own.b[i]!;
    });
    setAdapterFactors(mixed, flat, module, 0, { a, b });
  });
  return { layout: mixed, parameters: flat, loraAlpha, gates: [[1]] };
}

/** The examples as build-pool trains on them, EOS included. */
function trainingForm({ shown }: PlayedUser, { base }: Pick<BenchContext, 'base'>): PreparedExample[] {
  const { maxPositionEmbeddings: maxLength, vocabSize } = base.source.config;
  return prepareExamples(shown, base.tokenizer, { maxLength, long: 'truncate', addEos: true, vocabSize }).examples;
}

function stopIfAsked(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new CrayonError('interrupted', 'stopped while customising');
}
