/**
 * A customisation that a user's own examples choose, as `crayon blend --choose` does (src/choose), through the engine that serves: there
 * is no second copy of the base model, and each mixture that is tried is the pool's adapters at scales, as it would be served.
 */

import type { BlendRule } from '../../blend/blend-pool.js';
import type { ChoiceRecord } from '../../blend/choice-record.js';
import type { SeenExamples } from '../../blend/coefficients.js';
import { type Candidate, candidatesFor } from '../../choose/candidates.js';
import { type Choice, choiceRecord, chooseBy } from '../../choose/choice.js';
import { gatherEvidence, type MixtureScorer } from '../../choose/evidence.js';
import { dropSmall, keepFew } from '../../core/gate.js';
import type { Example } from '../../data/dataset.js';
import type { RawExample } from '../../data/example.js';
import type { DeviceEngine } from '../../engine/types.js';
import { memberCoefficients, type Pool } from '../../pool/pool.js';
import { engineScorer } from '../engine-scorer.js';
import { atScales, inSteps, type NamedAdapter } from './adapter-set.js';
import type { blendThread } from './blend-thread.js';

export interface ChoiceOrder {
  /** the examples with their answers */
  shown: readonly RawExample[];
  /** what the choice may take: one batch may exceed it */
  seconds: number;
  /** share of a mixture's largest coefficient below which others are dropped; none when absent */
  dropBelow?: number;
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
  /** see `membersOf` */
  members: readonly NamedAdapter[];
  encode: ReturnType<typeof blendThread>['encode'];
  /** adapters that a prompt gets at most, where each has a mixture of its own; null: all */
  gateTopK: number | null;
}

const TIME_WAS_UP =
  'The time was up before the blend by similarity was tried, so nothing was chosen: it is that blend.';

/** @returns what decides: the best that one mixture for all prompts can be, and what is served */
export function createChooser({ pool, members, device, encode, gateTopK }: ChooserParts) {
  const few = { topK: gateTopK, dropBelow: 0 };
  const candidates = candidatesFor(pool.manifest).map((one): Candidate => {
    if (one.kind === 'fixed') return one;
    return { ...one, gate: (similarities, manifest) => keepFew(one.gate(similarities, manifest), few) };
  });
  const throughMixtures =
    (dropBelow: number): MixtureScorer =>
    (gates, { signal, onProgress }) => {
      const mixtures = gates?.map((alpha) => inSteps(dropSmall(alpha, dropBelow)));
      const adaptersOf = (example: number) =>
        mixtures === undefined ? [] : atScales(members, memberCoefficients(pool.manifest, mixtures[example]!));
      return engineScorer(device, adaptersOf, { signal, onProgress, beside: true });
    };

  return async (
    { shown, seconds, dropBelow = 0 }: ChoiceOrder,
    rows: SeenExamples['rows'],
    signal: AbortSignal,
  ): Promise<{ rule: BlendRule; losses: Float64Array | undefined; chosen: ChosenCustomization }> => {
    const started = performance.now();
    const late = AbortSignal.timeout(Math.ceil(seconds * 1000));
    const examples = shown.map((raw, i): Example => ({ id: `examples[${i}]`, dataset: 'examples', ...raw }));
    const { made, prepared } = await encode({ examples, contextTokens: device.contextTokens }, signal);
    const scored = { pool, made: { ...made, examples }, prepared, seen: { rows } };
    const how = { through: throughMixtures(dropBelow), candidates, late, signal };
    const { evidence, losses } = await gatherEvidence(scored, how);
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
