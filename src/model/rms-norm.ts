/** RMSNorm over the last axis with a frozen weight (Zhang and Sennrich, arXiv 1910.07467). */

import * as tf from '@tensorflow/tfjs-core';
import { operation, type T1 } from './operation.js';

/** x (..., C), weight (C) */
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
