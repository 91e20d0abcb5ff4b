/**
 * Parts with hand-written gradients, each one `operation`: those that the blocks share, and what stands before and after the
 * blocks of a Llama.
 *
 * These and the blocks' own (lora-linears.ts, attention.ts) are single operations for two reasons: only what the backward pass
 * needs outlives the forward pass, and frozen base weights, which are captured and not inputs, get no gradient at all.
 * Products are written in two dimensions wherever possible, the form that every back end runs fast.
 *
 * Letters: M rows (batch x tokens), C hidden size, P predicted tokens, V vocabulary.
 */

import type { Operations, T0, T1, T2, Tensor } from './operations.js';

/** RMSNorm over the last axis with a frozen weight (Zhang and Sennrich, arXiv 1910.07467). x (..., C), weight (C) */
export function rmsNorm<T extends Tensor>(ops: Operations, x: T, weight: T1, eps: number): T {
  return ops.operation([x], (x: T) => {
    const { value, inverse } = normalise(ops, x, weight, eps);
    return {
      value,
      saved: { x, inverse },
      backward: (dy: T, { x, inverse }) => [normaliseBackward(ops, dy, x, inverse, weight)],
    };
  });
}

/** The norm itself, and (..., 1) one over the root of the mean square, which its gradient needs. */
export function normalise<T extends Tensor>(
  ops: Operations,
  x: T,
  weight: T1,
  eps: number,
): { value: T; inverse: Tensor } {
  const inverse = ops.rsqrt(ops.add(ops.mean(ops.square(x)), eps));
  return { value: ops.mul(ops.mul(x, inverse), weight), inverse };
}

export function normaliseBackward<T extends Tensor>(ops: Operations, dy: T, x: T, inverse: Tensor, weight: T1): T {
  const g = ops.mul(dy, weight);
  // d/dx (x * inv) = inv * (g - x * inv^2 * mean(g * x))
  const along = ops.mul(ops.mean(ops.mul(g, x)), ops.square(inverse));
  return ops.mul(ops.sub(g, ops.mul(x, along)), inverse);
}

/** x times a number, with its gradient. */
export function scaled<T extends Tensor>(ops: Operations, x: T, factor: number): T {
  return ops.operation([x], (x: T) => ({
    value: ops.mul(x, factor),
    saved: {},
    backward: (dy: T) => [ops.mul(dy, factor)],
  }));
}

/** y = x W^T with W frozen and no gradient: for scoring. x (M, in), weight (out, in) -> (M, out) */
export function project(ops: Operations, x: T2, weight: T2): T2 {
  return ops.product(x, weight, { transposeB: true });
}

/**
 * Cross-entropy of each row, times the row's weight, summed: the output head and the loss as one operation.
 *
 * Its gradient, sum_v p_v E_v - E_target, is taken in the forward pass, so that nothing of the vocabulary's width is kept
 * and no one-hot target is ever made.
 *
 * @param hidden (P, C) @param head (V, C) frozen @param targets (P) int32
 * @param weights (P) for example 1/(number of targets) for a mean
 * @returns scalar
 */
export function completionLoss(ops: Operations, hidden: T2, head: T2, targets: T1, weights: T1): T0 {
  return ops.operation([hidden], (hidden: T2) => {
    const logits = project(ops, hidden, head); // (P, V)
    const p = ops.softmax(logits);
    // log sum exp = largest logit - log of the largest probability, which is at least 1/V
    const logSum = ops.sub(ops.largest<T1>(logits), ops.log(ops.largest<T1>(p))); // (P)
    const logprobs = ops.sub(ops.pick(logits, targets), logSum);
    const slope = ops.sub(ops.product(p, head), ops.rows(head, targets)); // (P, C)
    const column = ops.reshape<T2>(weights, [weights.shape[0], 1]);
    return {
      value: ops.mul(ops.totalOfAll(ops.mul(logprobs, weights)), -1),
      saved: { gradient: ops.mul(slope, column) },
      backward: (dy: T0, { gradient }) => [ops.mul(gradient, dy)],
    };
  });
}

/** What a row of logits says: log-probabilities of the target and of the likeliest token, and which that is. */
export interface Predictions {
  /** (P) log softmax(logits)[target], in nats */
  targets: T1;
  /** (P) log-probability of `best` */
  largest: T1;
  /** (P) int32 */
  best: T1;
}

/** @param logits (P, V) @param targets (P) int32 */
export function predictions(ops: Operations, logits: T2, targets: T1): Predictions {
  const largest = ops.largest<T1>(logits); // (P)
  const below = ops.sub(logits, ops.reshape<T2>(largest, [largest.shape[0], 1]));
  const log = ops.log(ops.total<T1>(ops.exp(below))); // of the sum of exp(logit - largest)
  return {
    targets: ops.sub(ops.pick(logits, targets), ops.add(log, largest)),
    largest: ops.mul(log, -1),
    best: ops.argMax(logits),
  };
}
