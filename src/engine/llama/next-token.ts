/**
 * The distribution of the next token, and a draw from it.
 *
 * Listing a whole vocabulary is what costs in llama.cpp's binding (12 instead of 1 ms a token for 32,000 words), so the head
 * of the list is asked for, with the sum over all of it; the rest only where the head cannot decide the draw.
 */

import { CrayonError } from '../../core/errors.js';

/**
 * The sum over the vocabulary as it is. It is NaN where a logit is NaN or +Infinity, or all are -Infinity; and the number of tokens
 * where all are equally likely to the last bit: what is left of a state that llama.cpp's norms have divided by infinity. No list of
 * the logits is needed to see it.
 *
 * @throws CrayonError `numbers-diverged`
 */
export function checkedTotal(total: number | undefined, vocabularySize: number): number {
  if (total === undefined) throw new Error('llama.cpp gave no sum of the weights');
  if (Number.isFinite(total) && (total !== vocabularySize || vocabularySize === 1)) return total;
  const what = Number.isFinite(total) ? 'every token is exactly as likely as every other' : 'a logit is not finite';
  throw new CrayonError('numbers-diverged', `the numbers diverged: ${what}`, {
    hint: 'The adapter or its scale is too strong for the model, or a file is damaged.',
  });
}

export interface NextToken {
  /** the likeliest token */
  best: number;
  /** likeliest first: none, a head, or the whole vocabulary */
  ids: readonly number[];
  /** the model's own, before temperature */
  logits: readonly number[];
  /** sum of exp(logit - largest logit) over the whole vocabulary */
  total: number;
  vocabularySize: number;
}

/** Natural logarithm of the i-th token's probability. */
export function logprobOf({ logits, total }: NextToken, i: number): number {
  return logits[i]! - logits[0]! - Math.log(total);
}

/** The likeliest token's: known without any list. */
export function bestLogprob({ total }: NextToken): number {
  return 0 - Math.log(total); // and not -0 for a certain token
}

/** Margin of the two likeliest tokens' probabilities and entropy in nats; needs the whole vocabulary. */
export function spread(next: NextToken): { margin: number; entropy: number } {
  const logTotal = Math.log(next.logits.reduce((sum, logit) => sum + Math.exp(logit - next.logits[0]!), 0));
  let entropy = 0;
  for (const logit of next.logits) {
    const logprob = logit - next.logits[0]! - logTotal;
    if (logprob > Number.NEGATIVE_INFINITY) entropy -= Math.exp(logprob) * logprob;
  }
  const second = next.logits[1] === undefined ? 0 : Math.exp(next.logits[1] - next.logits[0]! - logTotal);
  return { margin: Math.exp(-logTotal) - second, entropy };
}

export interface SamplingOptions {
  /** above 0 */
  temperature: number;
  /** (0, 1]: the smallest head of the list, after temperature, that holds this probability (Holtzman et al. 2020) */
  topP: number;
}

/** llama.cpp adds up `total` in single precision: relative error allowed for. */
const TOTAL_ERROR = 1e-4;

/**
 * Draws a token by inverse transform: `uniform` in [0, 1) falls into one token's share of the sorted distribution. Temperature
 * comes before top_p, as in transformers and vLLM.
 *
 * @returns index into `ids`, or null where the list's end would have to be known
 */
export function drawToken(next: NextToken, { temperature, topP }: SamplingOptions, uniform: number): number | null {
  const { logits, vocabularySize } = next;
  const weights = logits.map((logit) => Math.exp((logit - logits[0]!) / temperature));
  const head = weights.reduce((sum, weight) => sum + weight, 0);
  if (logits.length === vocabularySize) return place(weights, head, topP, uniform) ?? weights.length - 1;
  // Where it falls moves one way as the unseen mass grows: equal at both ends is equal in between.
  const least = place(weights, head, topP, uniform);
  const most = place(weights, head + unseenMass(next, temperature), topP, uniform);
  return least === most ? least : null;
}

/** Index whose share of the cumulative distribution `uniform` falls into, for a given sum of all weights; null: past the list. */
function place(weights: readonly number[], total: number, topP: number, uniform: number): number | null {
  let mass = total;
  if (topP < 1) {
    mass = 0;
    let i = 0;
    while (i < weights.length && mass < topP * total) mass += weights[i++]!;
    if (mass < topP * total) return null;
  }
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i]!;
    if (sum > uniform * mass) return i;
  }
  return null;
}

/**
 * Upper bound of the unseen tokens' weights at this temperature, from their known sum at temperature 1: each is at most the
 * last one seen, and above temperature 1 their sum is largest when all are equal (Jensen).
 */
function unseenMass({ logits, total, vocabularySize }: NextToken, temperature: number): number {
  const unseen = vocabularySize - logits.length;
  const power = 1 / temperature;
  const seen = logits.reduce((sum, logit) => sum + Math.exp(logit - logits[0]!), 0);
  const rest = Math.max(0, total - seen) + TOTAL_ERROR * total;
  const last = Math.exp(logits.at(-1)! - logits[0]!);
  const bySum = power >= 1 ? rest * last ** (power - 1) : unseen * (rest / unseen) ** power;
  return Math.min(unseen * last ** power, bySum);
}
