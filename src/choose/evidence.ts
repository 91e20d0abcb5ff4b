/**
 * What each candidate is worth on a user's own examples: each is scored through the mixture that the candidate makes of the others.
 * What is trained on examples leaves out a fold of them at a time (folds.ts).
 *
 * One forward pass for each example and mixture. Mixtures that are alike are scored once, and the choices
 * of a question behind its prompt, read once (src/train/evaluate.ts); candidates that the time does not reach have no evidence.
 */

import assert from 'node:assert';
import type { BlendRule, ShownInPool } from '../blend/blend-pool.js';
import { BARE_MODEL } from '../blend/choice-record.js';
import type { SeenExamples } from '../blend/coefficients.js';
import type { FromBlendOptions } from '../blend/from-blend-options.js';
import { isCrayonError } from '../core/errors.js';
import { oneHot } from '../core/vector.js';
import { lossesOfEach, type SequenceScorer } from '../train/completion-score.js';
import { type ExampleScore, type ScoredSequences, scoreThrough } from '../train/score.js';
import { type Candidate, candidatesFor, LABELS } from './candidates.js';
import { leaveOneOut } from './leave-one-out.js';

/** What one example says for or against a mixture. */
export interface ExampleEvidence {
  /** of a multiple choice -ln of the right one's share of all choices' probability, else nats a token of the answer */
  loss: number;
  /** the right choice is the likeliest, or greedy decoding would give the answer */
  isRight: boolean;
}

export interface CandidateEvidence {
  candidate: Candidate;
  /** of each example (K); null where the time was up before */
  examples: ExampleEvidence[] | null;
  /** that it took, without what was known by then */
  seconds: number;
}

/**
 * Who scores through mixtures of a pool's adapters: our forward pass (forward.ts), or the engine that serves.
 *
 * @param gates alpha (N) of each example that sequences are said to be of; null for the bare model
 */
export type MixtureScorer = (
  gates: readonly Float64Array[] | null,
  how: { signal: AbortSignal; onProgress?: (done: number, total: number) => void },
) => SequenceScorer;

/** Examples that are left out together of what a candidate is trained on. */
export interface Fold {
  left: readonly number[];
  seen: SeenExamples;
  signal: AbortSignal;
}

/** Trains candidates on the examples but a fold of them, which takes a forward pass with gradients. */
export interface FoldTrainer {
  folds: number[][];
  /** @returns alpha (N) */
  refined(fold: Fold, rule: BlendRule): Promise<Float64Array>;
  lora(fold: Fold, rule: BlendRule, how: FromBlendOptions): Promise<SequenceScorer>;
}

export interface EvidenceOptions {
  through: MixtureScorer;
  /** where some of the candidates are trained */
  trainer?: FoldTrainer | undefined;
  /** those that are different things on this pool, but for those that are trained, when absent */
  candidates?: readonly Candidate[] | undefined;
  /** after it no candidate is begun, and the one under way ends with the batch that is being read */
  late?: AbortSignal | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A user's examples as a pool sees them, and as the sequences of tokens that are scored. */
export interface ScoredInPool extends Pick<ShownInPool, 'pool' | 'seen'> {
  made: ScoredSequences;
  /** with the token that ends the answer, as adapters are trained: for `label-evidence` */
  prepared: ReadonlyArray<Pick<ShownInPool['prepared'][number], 'ids' | 'promptLength'>>;
}

/** Coefficients that are equal in steps of this are one mixture: finer than serving weighs (1/50), and far below what examples can tell. */
const STEP = 1e-2;

/**
 * @returns the evidence, and the losses (K, N) of each adapter alone where a candidate needed them
 * @throws CrayonError `interrupted` by the signal; `numbers-diverged`, and what the scorer throws
 */
export async function gatherEvidence(
  { pool, made, prepared, seen: { rows } }: ScoredInPool,
  { through, trainer, candidates = candidatesFor(pool.manifest), late, signal, onProgress }: EvidenceOptions,
): Promise<{ evidence: CandidateEvidence[]; losses: Float64Array | undefined }> {
  const { N } = pool.manifest;
  const stop = AbortSignal.any([late, signal].filter((one) => one !== undefined));
  const known = new Map<string, ExampleEvidence>();
  const evidence: CandidateEvidence[] = [];
  let losses: Float64Array | undefined;

  /** For each fold of examples what the others make. */
  const byFold = async <T>(
    place: number,
    make: (trainer: FoldTrainer, fold: Fold) => Promise<readonly T[]>,
  ): Promise<T[]> => {
    assert(trainer !== undefined, 'a candidate that is trained, and nobody to train it');
    const { folds } = trainer;
    const found: T[] = [];
    for (const [f, left] of folds.entries()) {
      const ofFold = await make(trainer, { left, seen: { rows, losses }, signal: stop });
      for (const [at, i] of left.entries()) found[i] = ofFold[at]!;
      onProgress?.(place + (f + 1) / folds.length, candidates.length);
    }
    return found;
  };
  const refinedGates = (rule: BlendRule, place: number) =>
    byFold(place, async ({ refined }, fold) => {
      const alpha = await refined(fold, rule);
      return fold.left.map(() => alpha);
    });
  const scoreTrained = (rule: BlendRule, how: FromBlendOptions, place: number) =>
    byFold(place, async ({ lora }, fold) => {
      const { report } = await scoreThrough(await lora(fold, rule, how), ofExamples(made, fold.left));
      return report.perExample.map(evidenceOf);
    });

  const score = async (candidate: Candidate, place: number): Promise<ExampleEvidence[]> => {
    const isBare = candidate.name === BARE_MODEL;
    if (candidate.name === LABELS) {
      const alone = Array.from({ length: N }, (_, n) => oneHot(n, N));
      losses ??= await lossesOfEach(through(alone, { signal: stop }), prepared, N);
    }
    const rule = candidate.kind === 'fixed' ? candidate.rule(pool.manifest) : undefined;
    if (rule?.loraFromBlend !== undefined) return await scoreTrained(rule, rule.loraFromBlend, place);
    const gates =
      rule?.refine === undefined
        ? await leaveOneOut(pool, { rows, losses }, candidate)
        : await refinedGates(rule, place);
    const keys = gates.map((alpha, i) => `${i}:${isBare ? BARE_MODEL : alpha.map((a) => Math.round(a / STEP))}`);
    const wanted = [...keys.keys()].filter((i) => !known.has(keys[i]!));
    if (wanted.length > 0) {
      const onScored = (done: number, total: number) => onProgress?.(place + done / total, candidates.length);
      const ofWanted = isBare ? null : wanted.map((i) => gates[i]!);
      const scorer = through(ofWanted, { signal: stop, onProgress: onScored });
      const { report } = await scoreThrough(scorer, ofExamples(made, wanted));
      for (const [at, i] of wanted.entries()) known.set(keys[i]!, evidenceOf(report.perExample[at]!));
    }
    return keys.map((key) => known.get(key)!);
  };

  for (const [place, candidate] of candidates.entries()) {
    const started = performance.now();
    const found = late?.aborted === true ? null : await untilLate(score(candidate, place), signal);
    evidence.push({ candidate, examples: found, seconds: (performance.now() - started) / 1000 });
    onProgress?.(place + 1, candidates.length);
  }
  return { evidence, losses };
}

/** @returns what was found, or null where time was up */
async function untilLate<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (isCrayonError(error) && error.code === 'interrupted' && signal?.aborted !== true) return null;
    throw error;
  }
}

function evidenceOf({ choices, answer, predicted, logprob, tokens, isGreedy }: ExampleScore): ExampleEvidence {
  if (choices === undefined || answer === undefined) return { loss: -logprob / tokens, isRight: isGreedy };
  const largest = Math.max(...choices);
  const sum = choices.reduce((total, x) => total + Math.exp(x - largest), 0);
  return { loss: largest + Math.log(sum) - choices[answer]!, isRight: predicted === answer };
}

/** The sequences of some of the examples. */
function ofExamples(made: ScoredSequences, wanted: readonly number[]): ScoredSequences {
  const place = new Map(wanted.map((i, at) => [i, at]));
  const kept = [...made.owners.keys()].filter((s) => place.has(made.owners[s]!));
  const moved = new Map(kept.map((s, at) => [s, at]));
  return {
    ...made,
    examples: wanted.map((i) => made.examples[i]!),
    sequences: kept.map((s) => made.sequences[s]!),
    owners: kept.map((s) => place.get(made.owners[s]!)!),
    places: wanted.map((i) => {
      const { choices, completion } = made.places[i]!;
      return { choices: choices?.map((s) => moved.get(s)!), completion: moved.get(completion)! };
    }),
  };
}
