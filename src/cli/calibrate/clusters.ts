/**
 * Which clusters `crayon calibrate` counts rates in: those of the edge's pool, or some of the questions themselves, where the answers
 * are likelier so. Strangers to a pool are all strays to it, however unlike each other they are.
 */

import { clusterPrompts, type PromptClusters } from '../../blend/prompt-clusters.js';
import { type Embedding, type Prompt, promptFor, Query } from '../../engine/types.js';
import { type SparseRows, sparseRows } from '../../pool/sparse-rows.js';
import type { Question } from '../../routing/calibrate/collect.js';
import type { CalibrationRecord } from '../../routing/calibrate/data.js';
import { likeliestClusters } from '../../routing/calibrate/likeliest-clusters.js';
import type { Terminal } from '../terminal.js';

/** Numbers of clusters that are tried, each where it has so many questions at least. */
const NUMBERS = [4, 8, 16, 32, 64];
const QUESTIONS_EACH = 4;

export interface Tried {
  of: 'pool' | 'questions' | 'nothing';
  n: number;
  /** of both parties' answers to a question, left out of the counts in its turn, in nats; the mean */
  logLikelihood: number;
}

export interface CountedIn<Kept> {
  /** with their gates over the clusters that were taken */
  records: Kept[];
  /** to be written; null where the pool's are taken, or none */
  clusters: PromptClusters | null;
  tried: Tried[];
  taken: Tried;
}

/**
 * @param embedder null: the base has no embedding that costs no forward pass
 * @throws CrayonError what embedding throws
 */
export function chooseClusters<Kept extends CalibrationRecord>(
  records: Kept[],
  questions: readonly Question[],
  { embedder, form, seed }: { embedder: (Embedding & { kind: string }) | null; form: Prompt['kind']; seed: number },
): CountedIn<Kept> {
  const byId = new Map(questions.map((question) => [question.id, question]));
  const asked = function* (of: Embedding) {
    for (const { id } of records) yield new Query(promptFor(byId.get(id)!, form)).vector(of);
  };
  const vectors = embedder === null ? null : sparseRows(asked(embedder));
  return countedIn(records, vectors, { kind: embedder?.kind ?? '', seed });
}

/** @param vectors embeddings of the records' questions; null where they cannot be clustered */
export function countedIn<Kept extends Pick<CalibrationRecord, 'clusters' | 'edgeCorrect' | 'serverCorrect'>>(
  records: Kept[],
  vectors: SparseRows | null,
  { kind, seed }: { kind: string; seed: number },
): CountedIn<Kept> {
  const numbers = vectors === null ? [] : NUMBERS.filter((k) => QUESTIONS_EACH * k <= vectors.n);
  const made = numbers.map((k) => clusterPrompts(vectors!, kind, { k, seed }));
  const ofPool = records.flatMap(({ clusters }) => (clusters ? [clusters] : []));
  const hasPool = ofPool.length === records.length;
  const own = hasPool ? ofPool : records.map(() => [1]);
  const { chosen, logLikelihoods } = likeliestClusters([own, ...made.map(({ gates }) => gates)], records);
  const tried = logLikelihoods.map((logLikelihood, i): Tried => {
    if (i > 0) return { of: 'questions', n: numbers[i - 1]!, logLikelihood };
    return { of: hasPool ? 'pool' : 'nothing', n: own[0]!.length - (hasPool ? 1 : 0), logLikelihood };
  });
  const taken = tried[chosen]!;
  if (chosen === 0) return { records, clusters: null, tried, taken };
  const { clusters, gates } = made[chosen - 1]!;
  return { records: records.map((record, i) => ({ ...record, clusters: gates[i]! })), clusters, tried, taken };
}

export function printClusters({ tried, taken }: Pick<CountedIn<never>, 'tried' | 'taken'>, terminal: Terminal): void {
  if (tried.length < 2) return;
  terminal.table(
    ['clusters that rates are counted in', 'log-likelihood of left-out answers'],
    tried.map((one) => [`${clustersText(one)}${one === taken ? ', taken' : ''}`, one.logLikelihood.toFixed(3)]),
    ['left', 'right'],
  );
  terminal.print();
}

function clustersText({ of, n }: Tried): string {
  if (of === 'nothing') return 'none: one rate for all';
  return of === 'pool' ? `the pool's ${n}` : `${n} of the questions`;
}
