/** `crayon blend --choose`: the blend that a user's own examples choose, by leave-one-out through the whole base model. */

import { type BlendPoolOptions, type BlendPoolResult, type BlendRule, blendPool } from '../blend/blend-pool.js';
import { openChoiceWork } from '../blend/from-blend.js';
import { CrayonError } from '../core/errors.js';
import { chooseBackend } from '../model/backend.js';
import type { Network } from '../model/network.js';
import { openNetwork } from '../model/open-network.js';
import type { WorkDirectory } from '../pool/work-directory.js';
import { candidatesFor, type TrainedRule } from './candidates.js';
import { type Choice, choiceRecord, chooseBy } from './choice.js';
import type { EvidenceOptions } from './evidence.js';
import { forwardEvidence } from './forward.js';

/** Of one choice: enough for all candidates on ten questions and a model of 135M parameters on two cores. */
export const CHOOSE_SECONDS = 120;

export interface ChooseBlendOptions
  extends Omit<BlendPoolOptions, 'chooser' | keyof BlendRule>,
    Pick<EvidenceOptions, 'candidates' | 'signal'> {
  examples: NonNullable<BlendPoolOptions['examples']>;
  /** for reading the base model and trying candidates; one batch may exceed it */
  seconds?: number;
  /** candidates that are trained on the examples, beside those that are always tried */
  trained?: TrainedRule | undefined;
  /** candidates tried so far */
  onTried?: EvidenceOptions['onProgress'];
}

export interface ChosenBlend extends BlendPoolResult {
  chosen: Choice;
  /** for all of the choice */
  chooseMs: number;
}

/**
 * The time is that of the choice: where it falls on a LoRA from the blend, that is then trained on all examples.
 *
 * @throws CrayonError what blendPool throws; `bad-option` for a budget that is none
 */
export async function chooseBlend(options: ChooseBlendOptions): Promise<ChosenBlend> {
  const { seconds = CHOOSE_SECONDS, forward = {}, candidates, trained, signal, onTried, ...rest } = options;
  if (!(seconds > 0 && seconds <= 2 ** 20)) {
    throw new CrayonError(
      'bad-option',
      `${seconds} seconds to choose in, expected more than 0, and at most ${2 ** 20}`,
    );
  }
  const late = AbortSignal.timeout(Math.ceil(seconds * 1000));
  let opened: Network | undefined;
  let chosen: Choice | undefined;
  let chooseMs = 0;
  const open = async (source: Parameters<typeof openNetwork>[0]): Promise<Network> => {
    const backend = await chooseBackend(forward.backend ?? 'auto');
    forward.onBackend?.(`${backend.name} (${backend.detail})`);
    opened = openNetwork(source);
    return opened;
  };
  try {
    let model = forward.model;
    const result = await blendPool({
      ...rest,
      signal,
      estimator: 'similarity',
      chooser: {
        async open(source) {
          const started = performance.now();
          model ??= await open(source);
          chooseMs += performance.now() - started;
          return { model };
        },
        async choose(shown) {
          const started = performance.now();
          const { pool } = shown;
          const tried = candidates ?? candidatesFor(pool.manifest, trained);
          const work = trained?.loraFromBlend && openChoiceWork(rest.out, shown, trained.loraFromBlend);
          const how = { model: model!, work, candidates: tried, late, signal, onProgress: onTried };
          const { evidence, losses } = await keptIn(work, () => forwardEvidence(shown, how));
          const choice = chooseBy(evidence);
          chosen = choice;
          chooseMs += performance.now() - started;
          return { rule: choice.fixed.rule(pool.manifest), losses, record: choiceRecord(choice, shown.examples) };
        },
      },
    });
    return { ...result, chosen: chosen!, chooseMs };
  } finally {
    opened?.dispose();
  }
}

/** What is kept goes with a choice that is made; where one was stopped, it stays. */
async function keptIn<T>(work: WorkDirectory | undefined, choose: () => Promise<T>): Promise<T> {
  try {
    const found = await choose();
    work?.remove();
    return found;
  } catch (error) {
    work?.release();
    throw error;
  }
}
