/** Operations with hand-written gradients: the one place that meets tf.customGrad and its types. */

import * as tf from '@tensorflow/tfjs-core';

export type T1 = tf.Tensor1D;
export type T2 = tf.Tensor2D;
export type T3 = tf.Tensor3D;
export type T4 = tf.Tensor4D;

type Saved = Record<string, tf.Tensor | undefined>;

export interface Evaluated<Y extends tf.Tensor, S extends Saved> {
  value: Y;
  /** what the backward pass needs of the forward pass; everything else is freed */
  saved: S;
  /** dy -> gradients of the inputs, in their order */
  backward: (dy: Y, saved: S) => tf.Tensor[];
}

/**
 * Evaluates one differentiable operation.
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
