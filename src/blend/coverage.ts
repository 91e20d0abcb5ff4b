/**
 * Does the pool cover the user's examples? Their similarity to the nearest centroid, against that of the training examples to
 * their own centroid, whose quantiles the pool keeps for each cluster.
 *
 * An example of the training data's kind falls at any percentile of its cluster with equal chance, so the median over the
 * examples is near 50. A median in the lowest percentiles means texts unlike anything the base LoRAs were trained on.
 */
import { CrayonError } from '../core/errors.js';
import { type Rows, rowNorms, similaritiesTo } from '../core/gate.js';
import { mean, quantile } from '../core/stats.js';
import { argmax, row } from '../core/vector.js';
import { type PoolCluster, SIMILARITY_QUANTILES } from '../pool/pool.js';
import { BARE_MODEL, type ChoiceRecord } from './choice-record.js';

/** Median percentile below which the pool does not cover the examples, and below which it is in doubt. */
const NOT_COVERED_BELOW = 5;
const BORDERLINE_BELOW = 20;

/** Share of examples below the 5th percentile of their cluster above which coverage is in doubt whatever the median. */
const STRAY_SHARE = 0.3;

/** Quantiles of fewer training examples than this say little: the pool's average ones are used instead. */
const MIN_CLUSTER_SIZE = 10;

export type CoverageVerdict = 'covered' | 'borderline' | 'not-covered';

/** What the check needs of a cluster in the pool's manifest. */
export type ClusterSimilarity = Pick<PoolCluster, 'size' | 'similarity'>;

export interface Coverage {
  verdict: CoverageVerdict;
  /** One plain sentence. */
  sentence: string;
  /** Median of the examples' percentiles, 0 to 100. */
  percentile: number;
  /** Share of the examples below the 5th percentile of their cluster, 0 to 1. */
  strayShare: number;
  /** Mean cosine of the examples with their nearest centroid, and that of the training examples of the same clusters. */
  similarity: number;
  trainingSimilarity: number;
  /** For each example, in order. */
  examples: Array<{ cluster: number; similarity: number; percentile: number }>;
}

/**
 * Compares the user's examples with the training examples.
 *
 * @throws CrayonError `examples-count` without examples
 */
export function checkCoverage(examples: Rows, centroids: Rows, clusters: readonly ClusterSimilarity[]): Coverage {
  if (examples.n === 0) throw new CrayonError('examples-count', 'no examples to compare with the pool');
  const place = placing(clusters);
  const norms = rowNorms(centroids);
  const placed = Array.from({ length: examples.n }, (_, i) =>
    place(similaritiesTo(row(examples.data, i, examples.d), centroids, norms)),
  );

  const percentiles = placed.map((example) => example.percentile).sort((a, b) => a - b);
  const percentile = quantile(percentiles, 0.5);
  const strays = placed.filter((example) => example.percentile < SIMILARITY_QUANTILES[1]).length;
  const strayShare = strays / placed.length;
  const verdict = judge(percentile, strayShare);
  const similarity = mean(placed.map((example) => example.similarity));
  const trainingSimilarity = mean(placed.map(({ cluster }) => clusters[cluster]!.similarity.mean));
  const sentence = describe(verdict, percentile, strays, placed.length);
  return { verdict, sentence, percentile, strayShare, similarity, trainingSimilarity, examples: placed };
}

/** Of cosines (N): the nearest cluster, and where they lie among that of its own examples, 0 to 100. */
export function placing(clusters: readonly ClusterSimilarity[]) {
  const overall = averageQuantiles(clusters);
  return (similarities: Float64Array) => {
    const cluster = argmax(similarities);
    const { size, similarity } = clusters[cluster]!;
    const quantiles = size < MIN_CLUSTER_SIZE ? overall : similarity.quantiles;
    return { cluster, similarity: similarities[cluster]!, percentile: percentileOf(similarities[cluster]!, quantiles) };
  };
}

/** Where a value lies among the training examples, 0 to 100, linear between the stored quantiles. */
export function percentileOf(value: number, quantiles: readonly number[]): number {
  const last = quantiles.length - 1;
  if (value < quantiles[0]!) return 0;
  if (value >= quantiles[last]!) return 100;
  let i = 0;
  while (value >= quantiles[i + 1]!) i++;
  const [low, high] = [quantiles[i]!, quantiles[i + 1]!];
  const [from, to] = [SIMILARITY_QUANTILES[i]!, SIMILARITY_QUANTILES[i + 1]!];
  return from + ((value - low) / (high - low)) * (to - from);
}

function judge(percentile: number, strayShare: number): CoverageVerdict {
  if (percentile < NOT_COVERED_BELOW) return 'not-covered';
  return percentile < BORDERLINE_BELOW || strayShare > STRAY_SHARE ? 'borderline' : 'covered';
}

/** How each verdict's sentence begins, and what follows from it. */
const WORDS: Record<CoverageVerdict, [opening: string, consequence: string]> = {
  covered: ['The pool covers these examples', ''],
  borderline: [
    'The pool covers these examples only in part',
    ' Expect less from the blend than on the pool’s own tasks.',
  ],
  'not-covered': [
    'The pool does not cover these examples',
    ' The blend may do no better than the base model: train a LoRA, or build a pool with such data.',
  ],
};

/** What leave-one-out says counts more than what similarity says. */
export function coverageByEvidence(coverage: Coverage, { chosen, examples, candidates }: ChoiceRecord): Coverage {
  if (candidates.find(({ name }) => name === chosen)?.loss == null) return coverage; // time was up
  const bare = candidates.find(({ name }) => name === BARE_MODEL);
  if (bare?.loss == null) return coverage;
  const facts = coverage.sentence.replace(WORDS[coverage.verdict][1], '');
  if (bare.difference! <= bare.standardError!) {
    const isCovered = coverage.verdict === 'covered' && chosen !== BARE_MODEL;
    const opening = isCovered
      ? 'These examples do not show that the pool helps'
      : 'Your examples are outside this pool';
    const consequence = isCovered ? 'Show more of them.' : 'Train a LoRA, or build a pool with such data.';
    const sentence = `${opening}: the bare model does as well, by leave-one-out on ${examples}. ${consequence} By similarity alone: ${facts}`;
    return { ...coverage, verdict: isCovered ? 'borderline' : 'not-covered', sentence };
  }
  if (coverage.verdict === 'covered') return coverage;
  return { ...coverage, sentence: `${facts} Leave-one-out on them says that it helps all the same.` };
}

function describe(verdict: CoverageVerdict, percentile: number, strays: number, count: number): string {
  const [opening, consequence] = WORDS[verdict];
  const place = `at percentile ${Math.round(percentile)} of the training examples’ similarity to their cluster (50 would be typical)`;
  return `${opening}: their median is ${place}, and ${strays} of ${count} are below the 5th.${consequence}`;
}

/** Quantiles of the pool as a whole: the average over clusters, by size. */
function averageQuantiles(clusters: readonly ClusterSimilarity[]): number[] {
  const total = clusters.reduce((sum, { size }) => sum + size, 0);
  return SIMILARITY_QUANTILES.map((_, i) =>
    clusters.reduce((sum, { size, similarity }) => sum + (size / total) * similarity.quantiles[i]!, 0),
  );
}
