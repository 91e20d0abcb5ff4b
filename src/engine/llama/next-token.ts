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
  /** only so many of the likeliest; 0 or absent for all */
  topK?: number | undefined;
  /** only those at least so likely as this share of the likeliest, before temperature; 0 or absent for all */
  minP?: number | undefined;
}

/** llama.cpp adds up `total` in single precision: relative error allowed for. */
const TOTAL_ERROR = 1e-4;

/** A distribution of which a part is listed, likeliest first, perhaps with logits that a request has changed. */
export interface Seen {
  ids: readonly number[];
  logits: readonly number[];
  /** The others: how many, the most that the logit of any may be, and the most that their exp(logit - first logit) may add up to. */
  unseen: { count: number; most: number; mass: number };
}

/** The model's own distribution. */
export function seenOf({ ids, logits, total, vocabularySize }: NextToken): Seen {
  const seen = logits.reduce((sum, logit) => sum + Math.exp(logit - logits[0]!), 0);
  const mass = Math.max(0, total - seen) + TOTAL_ERROR * total;
  return { ids, logits, unseen: { count: vocabularySize - logits.length, most: logits.at(-1)!, mass } };
}

/**
 * Draws a token by inverse transform: `uniform` in [0, 1) falls into one token's share of the sorted distribution. Top_k, top_p and
 * min_p cut it in llama.cpp's order, each measured on what stands before it; but temperature comes before top_p, as in transformers
 * and vLLM, and not last.
 *
 * @returns index into `ids`, or null where the list's end would have to be known
 */
export function drawToken(next: NextToken, options: SamplingOptions, uniform: number): number | null {
  return drawSeen(seenOf(next), options, uniform);
}

/** As `drawToken`, of a distribution that may have been changed. */
export function drawSeen({ ids, logits, unseen }: Seen, options: SamplingOptions, uniform: number): number | null {
  const { temperature, topP, topK = 0, minP = 0 } = options;
  const isWhole = unseen.count <= 0;
  // Of those that are no likelier than an unlisted one may be, the places are not known.
  const known = isWhole ? ids.length : ids.length - countBelow(logits, unseen.most);
  if (known === 0 || (topK > known && !isWhole)) return null;
  const size = topK > 0 ? Math.min(topK, ids.length) : ids.length;
  const listed = size === ids.length ? logits : logits.slice(0, size);
  const weights = listed.map((logit) => Math.exp((logit - logits[0]!) / temperature));
  const head = weights.reduce((sum, weight) => sum + weight, 0);
  const least = logits[0]! + Math.log(minP);
  const likely = minP > 0 ? size - countBelow(listed, least) : size;
  const isCut = isWhole || topK > 0; // nothing but what is listed is left before top_p
  const isClosed = isCut || (minP > 0 && least > unseen.most); // nothing after min_p
  if (!isClosed && likely < size) return null;
  const cuts = { topP, likely, hasRest: isCut ? likely === size : !isClosed };
  if (isCut) return place(weights, head, cuts, uniform) ?? likely - 1;
  // Where it falls moves one way as the unseen mass grows: equal at both ends is equal in between.
  const low = place(weights, head, cuts, uniform);
  const high = place(weights, head + unseenMass({ ids, logits, unseen }, temperature), cuts, uniform);
  return low === high && low !== null && low < known ? low : null;
}

/** How many at the list's end are less than a logit. */
function countBelow(logits: readonly number[], least: number): number {
  let i = logits.length;
  while (i > 0 && logits[i - 1]! < least) i--;
  return logits.length - i;
}

interface Cuts {
  topP: number;
  /** so many at the list's beginning are left by min_p */
  likely: number;
  /** whether what is not listed may be drawn */
  hasRest: boolean;
}

/** Index whose share of the cumulative distribution `uniform` falls into, for a given sum of all weights; null: past the list. */
function place(
  weights: readonly number[],
  total: number,
  { topP, likely, hasRest }: Cuts,
  uniform: number,
): number | null {
  let mass = total;
  if (topP < 1 || !hasRest) {
    mass = 0;
    let i = 0;
    while (i < likely && (topP === 1 || mass < topP * total)) mass += weights[i++]!;
    if (hasRest && mass < topP * total) return null;
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
function unseenMass({ logits, unseen: { count, most, mass } }: Seen, temperature: number): number {
  const power = 1 / temperature;
  const last = Math.exp(most - logits[0]!);
  const bySum = power >= 1 ? mass * last ** (power - 1) : count * (mass / count) ** power;
  return Math.min(count * last ** power, bySum);
}
