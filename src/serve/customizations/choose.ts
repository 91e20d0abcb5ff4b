/**
 * A customisation that a user's own examples choose, as `crayon blend --choose` does (src/choose), through the engine that serves: there
 * is no second copy of the base model.
 *
 * Each mixture that is tried is blended to one adapter first: llama.cpp takes for ten adapters at scales three times what it takes for
 * their blend, which costs a tenth of a second (docs/experiments.md). It is gone before the next one is made, so that a choice needs the
 * disk and the memory of one blend.
 */

import type { BlendRule } from '../../blend/blend-pool.js';
import type { ChoiceRecord } from '../../blend/choice-record.js';
import type { SeenExamples } from '../../blend/coefficients.js';
import type { Candidate } from '../../choose/candidates.js';
import { type Choice, choiceRecord, chooseBy } from '../../choose/choice.js';
import { gatherEvidence, type MixtureScorer } from '../../choose/evidence.js';
import { groupBy } from '../../core/stats.js';
import type { Example } from '../../data/dataset.js';
import type { RawExample } from '../../data/example.js';
import type { DeviceEngine } from '../../engine/types.js';
import type { Pool } from '../../pool/pool.js';
import type { CompletionScore } from '../../train/completion-score.js';
import { engineScorer } from '../engine-scorer.js';
import { inSteps } from './adapter-set.js';
import type { blendThread, HeldBlend } from './blend-thread.js';

export interface ChoiceOrder {
  /** the examples with their answers */
  shown: readonly RawExample[];
  /** what the choice may take: one batch may exceed it */
  seconds: number;
}

/** What was chosen, and is served. */
export interface ChosenCustomization extends Pick<Choice, 'candidates'> {
  candidate: Candidate;
  record: ChoiceRecord;
  notices: string[];
  /** for all of the choice */
  seconds: number;
}

export interface ChooserParts {
  pool: Pool;
  device: Pick<DeviceEngine, 'contextTokens' | 'scoreTokens'>;
  encode: ReturnType<typeof blendThread>['encode'];
  blended(coefficients: number[], combine: 'cat', signal: AbortSignal): Promise<HeldBlend>;
}

const TIME_WAS_UP =
  'The time was up before the blend by similarity was tried, so nothing was chosen: it is that blend.';

/** @returns what decides: the best that one adapter can be, and what is served */
export function createChooser({ pool, device, encode, blended }: ChooserParts) {
  /** Examples whose mixtures are alike are scored together. */
  const through: MixtureScorer =
    (gates, { signal, onProgress }) =>
    async (sequences, owners) => {
      const scores = new Array<CompletionScore>(sequences.length);
      const mixtures = gates?.map(inSteps);
      const mixtureOf = (s: number) => mixtures?.[owners[s]!];
      const groups = groupBy([...sequences.keys()], (s) => String(mixtureOf(s)));
      let done = 0;
      for (const members of groups.values()) {
        const mixture = mixtureOf(members[0]!);
        const blend = mixture && (await blended(mixture, 'cat', signal));
        try {
          const adapters = blend === undefined ? [] : [{ id: blend.id, path: blend.path, scale: 1 }];
          const score = engineScorer(device, () => adapters, { signal, beside: true });
          const found = await score(
            members.map((s) => sequences[s]!),
            members.map((s) => owners[s]!),
          );
          for (const [at, s] of members.entries()) scores[s] = found[at]!;
        } finally {
          blend?.release();
        }
        done += members.length;
        onProgress?.(done, sequences.length);
      }
      return scores;
    };

  return async (
    { shown, seconds }: ChoiceOrder,
    rows: SeenExamples['rows'],
    signal: AbortSignal,
  ): Promise<{ rule: BlendRule; losses: Float64Array | undefined; chosen: ChosenCustomization }> => {
    const started = performance.now();
    const late = AbortSignal.timeout(Math.ceil(seconds * 1000));
    const examples = shown.map((raw, i): Example => ({ id: `examples[${i}]`, dataset: 'examples', ...raw }));
    const { made, prepared } = await encode({ examples, contextTokens: device.contextTokens }, signal);
    const scored = { pool, made: { ...made, examples }, prepared, seen: { rows } };
    const { evidence, losses } = await gatherEvidence(scored, { through, late, signal });
    const choice = chooseBy(evidence);
    const chosen = {
      candidate: choice.ofAll,
      candidates: choice.candidates,
      record: choiceRecord(choice, examples),
      notices: choice.hasEvidence ? [] : [TIME_WAS_UP],
      seconds: (performance.now() - started) / 1000,
    };
    return { rule: choice.fixed.rule(pool.manifest), losses, chosen };
  };
}
