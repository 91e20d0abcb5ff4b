/**
 * From evidence to a choice: the first candidate, in the order of preference, whose mean loss is within one standard error of the paired
 * difference to the best one. Ten examples cannot tell more, and of two that they cannot tell apart other users fared better with the first.
 */

import type { ChoiceRecord } from '../blend/choice-record.js';
import { mean, standardError } from '../core/stats.js';
import { type Candidate, DEFAULT, type FixedCandidate } from './candidates.js';
import type { CandidateEvidence } from './evidence.js';

/** A candidate beside the best of all; nulls where it was not tried. */
export interface ComparedCandidate {
  candidate: Candidate;
  loss: number | null;
  difference: number | null;
  standardError: number | null;
  right: number | null;
  seconds: number;
}

export interface Choice {
  /** the first tie among all */
  ofAll: Candidate;
  /** that, or where no one adapter can be it the first tie among those that can */
  fixed: FixedCandidate;
  /** whether the time was enough to try at least what a blend is without a choice; if not, it is that */
  hasEvidence: boolean;
  candidates: ComparedCandidate[];
}

/** @param evidence in the order of preference */
export function chooseBy(evidence: readonly CandidateEvidence[]): Choice {
  const tried = evidence.flatMap(({ candidate, examples }) =>
    examples === null ? [] : [{ candidate, losses: examples.map(({ loss }) => loss) }],
  );
  const losses = tried.map((one) => one.losses);
  const best = leastMean(losses);
  const candidates = evidence.map(({ candidate, examples, seconds }): ComparedCandidate => {
    const none = { candidate, loss: null, difference: null, standardError: null, right: null, seconds };
    if (examples === null || best === undefined) return none;
    const found = examples.map(({ loss }) => loss);
    const right = examples.filter(({ isRight }) => isRight).length;
    return { ...none, loss: mean(found), ...pairedDifference(found, losses[best]!), right };
  });
  const preferred = <T extends Candidate>(among: ReadonlyArray<{ candidate: T; losses: number[] }>) =>
    among[firstTie(among.map((one) => one.losses)) ?? -1]?.candidate;
  const ofOneAdapter = tried.filter((one): one is { candidate: FixedCandidate; losses: number[] } =>
    isFixed(one.candidate),
  );
  const otherwise = evidence
    .map(({ candidate }) => candidate)
    .filter(isFixed)
    .find(({ name }) => name === DEFAULT)!;
  const hasEvidence = tried.some(({ candidate }) => candidate === otherwise);
  const ofAll = (hasEvidence && preferred(tried)) || otherwise;
  return {
    fixed: isFixed(ofAll) ? ofAll : (preferred(ofOneAdapter) ?? otherwise),
    ofAll,
    hasEvidence,
    candidates,
  };
}

const isFixed = (candidate: Candidate): candidate is FixedCandidate => candidate.kind === 'fixed';

/**
 * Of several candidates' losses on the same examples (K each), the first that is not worse than the best by more than one standard
 * error of the mean of the paired differences.
 */
export function firstTie(losses: ReadonlyArray<readonly number[]>): number | undefined {
  const best = leastMean(losses);
  if (best === undefined) return undefined;
  return losses.findIndex((one) => {
    const { difference, standardError: error } = pairedDifference(one, losses[best]!);
    return difference <= error;
  });
}

function leastMean(losses: ReadonlyArray<readonly number[]>): number | undefined {
  const means = losses.map(mean);
  return losses.length === 0 ? undefined : means.indexOf(Math.min(...means));
}

function pairedDifference(one: readonly number[], other: readonly number[]) {
  const gaps = one.map((loss, i) => loss - other[i]!);
  return { difference: mean(gaps), standardError: gaps.length > 1 ? standardError(gaps) : 0 };
}

/** As crayon.json keeps it: no seconds, so that the same examples give the same bytes. */
export function choiceRecord(choice: Choice, examples: ReadonlyArray<{ choices?: unknown }>): ChoiceRecord {
  const withChoices = examples.filter(({ choices }) => choices !== undefined).length;
  return {
    chosen: choice.fixed.name,
    chosenOfAll: choice.ofAll.name,
    examples: examples.length,
    evidence: withChoices === 0 ? 'tokens' : withChoices === examples.length ? 'choices' : 'both',
    candidates: choice.candidates.map(({ candidate: { name }, seconds: _, ...found }) => ({ name, ...found })),
  };
}
