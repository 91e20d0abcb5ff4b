/**
 * What each candidate is worth on a user's own examples: each is scored through the mixture that the candidate makes of the others.
 * What is trained on examples leaves out a fold of them at a time (folds.ts).
 *
 * One forward pass for each example and mixture. Mixtures that are alike are scored once, and the choices
 * of a question behind its prompt, read once (src/train/evaluate.ts); candidates that the time does not reach have no evidence.
 */

import type { BlendRule, ShownInPool } from '../blend/blend-pool.js';
import { BARE_MODEL } from '../blend/choice-record.js';
import type { FromBlendOptions } from '../blend/from-blend-options.js';
import { isCrayonError } from '../core/errors.js';
import type { BaseModel } from '../hf/base-model.js';
import type { Network } from '../model/network.js';
import { mixtureLosses } from '../pool/adapter-losses.js';
import { stackPool } from '../pool/gate.js';
import { memberCoefficients, membersOf } from '../pool/pool.js';
import { type EvaluationLora, forwardScorer } from '../train/evaluate.js';
import { type ExampleScore, type ScoredSequences, scoredSequences, scoreThrough } from '../train/score.js';
import { type Candidate, candidatesFor, LABELS } from './candidates.js';
import { type FoldTask, foldsOf, loraWithout, refinedWithout } from './folds.js';
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

export interface EvidenceOptions {
  model: Network;
  source: BaseModel;
  /** those that are different things on this pool when absent */
  candidates?: readonly Candidate[] | undefined;
  /** after it no candidate is begun, and the one under way ends with the batch that is being read */
  late?: AbortSignal | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Coefficients that are equal in steps of this are one mixture: finer than serving weighs (1/50), and far below what examples can tell. */
const STEP = 1e-2;

/**
 * @returns the evidence, and the losses (K, N) of each adapter alone where a candidate needed them
 * @throws CrayonError `interrupted` by the signal; `example-too-long`, `numbers-diverged`
 */
export async function gatherEvidence(
  { pool, tokenizer, form, examples, prepared, seen: { rows } }: Omit<ShownInPool, 'source'>,
  { model, source, candidates = candidatesFor(pool.manifest), late, signal, onProgress }: EvidenceOptions,
): Promise<{ evidence: CandidateEvidence[]; losses: Float64Array | undefined }> {
  const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
  const made = scoredSequences({ tokenizer, form, examples, maxLength, vocabSize });
  const stop = AbortSignal.any([late, signal].filter((one) => one !== undefined));
  const known = new Map<string, ExampleEvidence>();
  const evidence: CandidateEvidence[] = [];
  let stack: EvaluationLora | undefined;
  let losses: Float64Array | undefined;

  /** For each fold of examples what the others make. */
  const byFold = async <T>(place: number, make: (task: FoldTask) => Promise<T[]>): Promise<T[]> => {
    const found: T[] = [];
    const folds = foldsOf(examples.length);
    const shared = { pool, source, model, seen: { rows, losses }, prepared, signal: stop };
    for (const [f, left] of folds.entries()) {
      const ofFold = await make({ ...shared, left });
      for (const [at, i] of left.entries()) found[i] = ofFold[at]!;
      onProgress?.(place + (f + 1) / folds.length, candidates.length);
    }
    return found;
  };
  const refinedGates = (rule: BlendRule, place: number) =>
    byFold(place, async (task) => {
      const alpha = await refinedWithout(task, stack!, rule);
      return task.left.map(() => alpha);
    });
  const scoreTrained = (rule: BlendRule, how: FromBlendOptions, place: number) =>
    byFold(place, async (task) => {
      const lora = { ...(await loraWithout(task, rule, how)), gates: [[1]] };
      const scorer = forwardScorer(model, { lora, signal: stop });
      const { report } = await scoreThrough(scorer, ofExamples(made, task.left));
      return report.perExample.map(evidenceOf);
    });

  const score = async (candidate: Candidate, place: number): Promise<ExampleEvidence[]> => {
    const isBare = candidate.name === BARE_MODEL;
    stack ??= isBare ? undefined : stackPool(pool, source);
    if (candidate.name === LABELS) losses ??= await mixtureLosses(model, stack!, prepared, { signal: stop });
    const { manifest } = pool;
    const rule = candidate.kind === 'fixed' ? candidate.rule(manifest) : undefined;
    if (rule?.loraFromBlend !== undefined) return await scoreTrained(rule, rule.loraFromBlend, place);
    const weights =
      rule?.refine === undefined ? leaveOneOut(pool, { rows, losses }, candidate) : await refinedGates(rule, place);
    const gates = weights.map((alpha) =>
      isBare ? membersOf(manifest).map(() => 0) : memberCoefficients(manifest, alpha),
    );
    const keys = gates.map((alpha, i) => `${i}:${alpha.map((a) => Math.round(a / STEP))}`);
    const wanted = [...keys.keys()].filter((i) => !known.has(keys[i]!));
    if (wanted.length > 0) {
      const lora = isBare ? undefined : { ...stack!, gates: wanted.map((i) => gates[i]!) };
      const onScored = (done: number, total: number) => onProgress?.(place + done / total, candidates.length);
      const scorer = forwardScorer(model, { lora, signal: stop, onProgress: onScored });
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
