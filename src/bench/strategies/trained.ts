/** One LoRA that is trained on the user's k examples alone. */

import { CrayonError } from '../../core/errors.js';
import { type PreparedExample, prepareExamples } from '../../pool/prepare.js';
import { TRAIN_DEFAULTS } from '../../train/settings.js';
import type { LoadedModel } from '../answers.js';
import type { UserWithExamples } from '../users.js';
import { adapted, type Strategy } from './strategy.js';

export const fewShotLora: Strategy = {
  name: 'few-shot-lora',
  title: 'LoRA on the k examples',
  looksAtExamples: true,
  async customise(_cell, user, { config, base, signal }) {
    const { poolLayout } = await import('../../model/lora-layout.js');
    const { Trainer } = await import('../../train/trainer.js');
    const started = performance.now();
    const { steps, batch_size: batchSize, learning_rate: learningRate } = config.few_shot;
    const { rank: r, lora_alpha: loraAlpha } = config.pool;
    const examples = trainingForm(user, base);
    const layout = poolLayout(base.source, { targets: 'all', r }, 1);
    const gates = examples.map(() => [1]);
    const epochs = steps / Math.ceil(examples.length / batchSize);
    const settings = { ...TRAIN_DEFAULTS, epochs, batchSize, learningRate, loraAlpha, seed: user.seed };
    const trainer = new Trainer({ model: base.model, layout, examples, gates }, settings);
    try {
      await trainer.finish(signal);
      const { parameters } = await trainer.state();
      const lora = { layout, parameters, loraAlpha, gates: [[1]] };
      return { ...adapted(base, lora), ms: performance.now() - started };
    } finally {
      trainer.dispose();
    }
  },
};

/** A user's examples as build-pool trains on them, EOS included. */
export function trainingForm(
  { shown }: Pick<UserWithExamples, 'shown'>,
  { source, tokenizer, form }: LoadedModel,
): PreparedExample[] {
  const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
  return prepareExamples(shown, tokenizer, { maxLength, long: 'truncate', form, addEnd: true, vocabSize }).examples;
}

/** @throws CrayonError `interrupted` */
export function stopIfAsked(signal: AbortSignal): void {
  if (signal.aborted) throw new CrayonError('interrupted', 'stopped while customising');
}
