/**
 * Operations with hand-written gradients, each one `tf.customGrad`: those that the blocks share, and what stands before and
 * after the blocks of a Llama.
 *
 * These and the blocks' own (lora-linears.ts, attention.ts) are single operations for two reasons: the tape then keeps only
 * what the backward pass needs, and frozen base weights, which are captured and not inputs, get no gradient at all. Products
 * are written in two dimensions wherever possible, the form that every back end runs fast.
 *
 * Letters: M rows (batch x tokens), C hidden size, P predicted tokens, V vocabulary.
 */

import * as tf from '@tensorflow/tfjs-core';

export type T1 = tf.Tensor1D;
export type T2 = tf.Tensor2D;
export type T3 = tf.Tensor3D;
export type T4 = tf.Tensor4D;

/** By name; what is undefined is not there. */
export type Saved = Record<string, tf.Tensor | undefined>;

interface Evaluated<Y extends tf.Tensor, S extends Saved> {
  value: Y;
  /** what the backward pass needs of the forward pass; everything else is freed */
  saved: S;
  /** dy -> gradients of the inputs, in their order */
  backward: (dy: Y, saved: S) => tf.Tensor[];
}

/**
 * Evaluates one differentiable operation: the one place that meets tf.customGrad and its types.
 *
 * `forward` may capture frozen weights and the inputs' own shapes, but no other tensor that the forward pass makes: only
 * what is in `saved` outlives it.
 *
 * @param inputs the tensors that get a gradient
 */
export function operation<Y extends tf.Tensor, S extends Saved>(
  inputs: tf.Tensor[],
  forward: (...inputs: never[]) => Evaluated<Y, S>,
): Y {
  const run = tf.customGrad((...args) => {
    const save = args.pop() as unknown as (tensors: tf.Tensor[]) => void;
    const { value, saved, backward } = (forward as (...inputs: tf.Tensor[]) => Evaluated<Y, S>)(
      ...(args as tf.Tensor[]),
    );
    const names = Object.keys(saved).filter((name) => saved[name] !== undefined);
    save(names.map((name) => saved[name]!));
    const gradFunc = (dy: tf.Tensor, tensors: tf.Tensor[]) => {
      const byName = Object.fromEntries(names.map((name, i) => [name, tensors[i]!]));
      return backward(dy as Y, byName as S);
    };
    return { value, gradFunc: gradFunc as (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor[] };
  });
  return run(...inputs) as Y;
}

/** x, or the sum of several tensors of one shape in one pass. */
export function sumOf<T extends tf.Tensor>(terms: T[]): T {
  return terms.length === 1 ? terms[0]! : tf.addN(terms);
}

/** RMSNorm over the last axis with a frozen weight (Zhang and Sennrich, arXiv 1910.07467). x (..., C), weight (C) */
export function rmsNorm<T extends tf.Tensor>(x: T, weight: T1, eps: number): T {
  return operation([x], (x: T) => {
    const { value, inverse } = normalise(x, weight, eps);
    return {
      value,
      saved: { x, inverse },
      backward: (dy: T, { x, inverse }) => [normaliseBackward(dy, x, inverse, weight)],
    };
  });
}

/** The norm itself, and (..., 1) one over the root of the mean square, which its gradient needs. */
export function normalise<T extends tf.Tensor>(x: T, weight: T1, eps: number): { value: T; inverse: tf.Tensor } {
  const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), eps));
  return { value: tf.mul(tf.mul(x, inverse), weight) as T, inverse };
}

export function normaliseBackward<T extends tf.Tensor>(dy: T, x: T, inverse: tf.Tensor, weight: T1): T {
  const g = tf.mul(dy, weight);
  // d/dx (x * inv) = inv * (g - x * inv^2 * mean(g * x))
  const along = tf.mul(tf.mean(tf.mul(g, x), -1, true), tf.square(inverse));
  return tf.mul(inverse, tf.sub(g, tf.mul(x, along)));
}

/** x times a number, with its gradient. */
export function scaled<T extends tf.Tensor>(x: T, factor: number): T {
  return operation([x], (x: T) => ({
    value: tf.mul(x, factor) as T,
    saved: {},
    backward: (dy: T) => [tf.mul(dy, factor)],
  }));
}

// Outside the operations below, a forward pass only adds and reshapes. tfjs-core alone brings no gradients, and the
// package that does pulls in four more; these two are all that is needed.
if (tf.getGradient(tf.Add) === undefined) {
  tf.registerGradient({
    kernelName: tf.Add,
    gradFunc: (dy) => ({ a: () => dy as tf.Tensor, b: () => dy as tf.Tensor }), // of equal shapes, as residuals are
  });
}
if (tf.getGradient(tf.Reshape) === undefined) {
  tf.registerGradient({
    kernelName: tf.Reshape,
    inputsToSave: ['x'],
    gradFunc: (dy, [x]) => ({ x: () => tf.reshape(dy as tf.Tensor, x!.shape) }),
  });
}

/** y = x W^T with W frozen and no gradient: for scoring. x (M, in), weight (out, in) -> (M, out) */
export function project(x: T2, weight: T2): T2 {
  return tf.matMul(x, weight, false, true);
}

/**
 * The rows of x at the given indices, with a gradient that scatters back.
 * (tfjs's own gather gradient needs a kernel that the wasm and WebGPU back ends lack.)
 *
 * @param x (M, C) @param rows (P) int32, no row twice
 */
export function takeRows(x: T2, rows: T1): T2 {
  const shape = x.shape;
  return operation([x], (x: T2) => ({
    value: tf.gather(x, rows) as T2,
    saved: {},
    backward: (dy: T2) => [tf.scatterND(tf.expandDims(rows, 1), dy, shape)],
  }));
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
export function completionLoss(hidden: T2, head: T2, targets: T1, weights: T1): tf.Scalar {
  return operation([hidden], (hidden: T2) => {
    const logits = project(hidden, head); // (P, V)
    const p: T2 = tf.softmax(logits);
    // log sum exp = largest logit - log of the largest probability, which is at least 1/V
    const logSum = tf.sub(tf.max(logits, 1), tf.log(tf.max(p, 1))); // (P)
    const logprobs = tf.sub(atTargets(logits, targets), logSum);
    const slope = tf.sub(tf.matMul(p, head), tf.gather(head, targets)); // (P, C)
    return {
      value: tf.neg(tf.sum(tf.mul(logprobs, weights))) as tf.Scalar,
      saved: { gradient: tf.mul(slope, tf.expandDims(weights, 1)) },
      backward: (dy: tf.Scalar, { gradient }) => [tf.mul(gradient, dy)],
    };
  });
}

/** log softmax(logits)[target] of each row. logits (P, V), targets (P) int32 -> (P) */
export function targetLogprobs(logits: T2, targets: T1): T1 {
  const largest = tf.max(logits, 1, true);
  const logSum = tf.add(tf.log(tf.sum(tf.exp(tf.sub(logits, largest)), 1)), tf.squeeze(largest, [1])); // (P)
  return tf.sub(atTargets(logits, targets), logSum) as T1;
}

/** logits[i, targets[i]]. (P, V), (P) -> (P) */
function atTargets(logits: T2, targets: T1): T1 {
  const P = logits.shape[0];
  return tf.gatherND(logits, tf.stack([tf.range(0, P, 1, 'int32'), targets], 1)) as T1;
}
