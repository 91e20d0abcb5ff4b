/** Evidence by the float32 forward pass of the base model, with all of the pool's adapters in memory. */

import type { ShownInPool } from '../blend/blend-pool.js';
import { stackPool } from '../pool/gate.js';
import { memberCoefficients } from '../pool/pool.js';
import { type EvaluationLora, forwardScorer } from '../train/evaluate.js';
import { scoredSequences } from '../train/score.js';
import { type EvidenceOptions, type FoldTrainer, gatherEvidence, type MixtureScorer } from './evidence.js';
import { type FoldTask, foldsOf, loraWithout, refinedWithout } from './folds.js';

/** @throws CrayonError what `gatherEvidence` and trainings throw, `example-too-long` */
export function forwardEvidence(
  shown: ShownInPool,
  { model, work, ...how }: Omit<EvidenceOptions, 'through' | 'trainer'> & Pick<FoldTask, 'model' | 'work'>,
) {
  const { pool, source, tokenizer, form, examples, prepared } = shown;
  const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
  const made = scoredSequences({ tokenizer, form, examples, maxLength, vocabSize });
  let stacked: EvaluationLora | undefined;
  const stack = () => {
    stacked ??= stackPool(pool, source);
    return stacked;
  };
  const through: MixtureScorer = (gates, options) => {
    const ofMembers = gates?.map((alpha) => memberCoefficients(pool.manifest, alpha));
    return forwardScorer(model, { ...options, lora: ofMembers && { ...stack(), gates: ofMembers } });
  };
  const context = { pool, source, model, prepared, work };
  const trainer: FoldTrainer = {
    folds: foldsOf(examples.length),
    refined: (fold, rule) => refinedWithout({ ...context, ...fold }, stack(), rule),
    lora: async (fold, rule, options) => {
      const lora = { ...(await loraWithout({ ...context, ...fold }, rule, options)), gates: [[1]] };
      return forwardScorer(model, { lora, signal: fold.signal });
    },
  };
  return gatherEvidence({ ...shown, made }, { ...how, through, trainer });
}
