/** The operations of a model on TensorFlow.js, carried out at once on the active back end. */

import * as tf from '@tensorflow/tfjs-core';
import type { Evaluated, Operations, ProductOptions, Saved, T0, T1, T2, T3, Tensor } from './operations.js';

const raw = (x: Tensor | number) => x as tf.Tensor;
/** A result, in the type of whoever asked for it: every array of this back end is a tf.Tensor. */
const as = <T extends Tensor>(x: tf.Tensor) => x as unknown as T;

export const TFJS_OPERATIONS: Operations = {
  operation,
  residual: (x, y) => as(tf.add(raw(x), raw(y))),
  tidy: (make) => tf.tidy(make as unknown as () => tf.Tensor) as never,

  product: <T extends T2 | T3>(a: T, b: T, { transposeA, transposeB, plus }: ProductOptions = {}) => {
    const y = tf.matMul(raw(a), raw(b), transposeA, transposeB);
    return as<T>(plus === undefined ? y : tf.add(y, raw(plus)));
  },
  add: (a, b) => as(tf.add(raw(a), raw(b))),
  sub: (a, b) => as(tf.sub(raw(a), raw(b))),
  mul: (a, b) => as(tf.mul(raw(a), raw(b))),
  complement: (x) => as(tf.sub(1, raw(x))),
  sum: (terms) => (terms.length === 1 ? terms[0]! : as(tf.addN(terms.map(raw)))),
  square: (x) => as(tf.square(raw(x))),
  rsqrt: (x) => as(tf.rsqrt(raw(x))),
  exp: (x) => as(tf.exp(raw(x))),
  log: (x) => as(tf.log(raw(x))),
  tanh: (x) => as(tf.tanh(raw(x))),
  sigmoid: (x) => as(tf.sigmoid(raw(x))),
  softmax: (x) => as(tf.softmax(raw(x))),
  mean: (x) => tf.mean(raw(x), -1, true),
  total: (x) => as(tf.sum(raw(x), -1)),
  largest: (x) => as(tf.max(raw(x), -1)),
  totalOfAll: (x) => as<T0>(tf.sum(raw(x))),
  argMax: (x) => as<T1>(tf.argMax(raw(x), 1)),

  reshape: (x, shape) => as(tf.reshape(raw(x), shape as number[])),
  transpose: (x, permutation) => as(tf.transpose(raw(x), permutation)),
  concat: (parts, axis) => (parts.length === 1 ? parts[0]! : as(tf.concat(parts.map(raw), axis))),
  split: (x, sizes, axis) => (sizes.length === 1 ? [x] : tf.split(raw(x), sizes, axis).map((part) => as(part))),
  slice: (x, begin, size) => as(tf.slice(raw(x), begin, size)),
  repeat: (x, times, axis) => {
    return as(
      tf.tile(
        raw(x),
        x.shape.map((_, i) => (i === axis ? times : 1)),
      ),
    );
  },
  padTo: (x, size, axis) => {
    const margins = x.shape.map((have, i): [number, number] => [0, i === axis ? size - have : 0]);
    return as(tf.pad(raw(x), margins));
  },
  rows: (x, indices) => as<T2>(tf.gather(raw(x), raw(indices) as tf.Tensor1D)),
  pick: (x, indices) => {
    const P = x.shape[0];
    return as<T1>(tf.gatherND(raw(x), tf.stack([tf.range(0, P, 1, 'int32'), raw(indices)], 1)));
  },
};

/** The one place that meets tf.customGrad and its types. */
function operation<Y extends Tensor, S extends Saved>(
  inputs: Tensor[],
  forward: (...inputs: never[]) => Evaluated<Y, S>,
): Y {
  const run = tf.customGrad((...args) => {
    const save = args.pop() as unknown as (tensors: tf.Tensor[]) => void;
    const { value, saved, backward } = (forward as (...inputs: Tensor[]) => Evaluated<Y, S>)(...(args as tf.Tensor[]));
    const names = Object.keys(saved).filter((name) => saved[name] !== undefined);
    save(names.map((name) => raw(saved[name]!)));
    const gradFunc = (dy: tf.Tensor, tensors: tf.Tensor[]) => {
      const byName = Object.fromEntries(names.map((name, i) => [name, tensors[i]!]));
      return backward(as<Y>(dy), byName as unknown as S);
    };
    return { value: raw(value), gradFunc: gradFunc as (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor[] };
  });
  return as<Y>(run(...inputs.map(raw)));
}

// Outside of `operation`, a forward pass only adds and reshapes. tfjs-core alone brings no gradients, and the package that
// does pulls in four more; these two are all that is needed.
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

/**
 * The rows of x at the given indices, with a gradient that scatters back.
 * (tfjs's own gather gradient needs a kernel that the wasm and WebGPU back ends lack.)
 *
 * @param x (M, C) @param rows (P) int32, no row twice
 */
export function takeRows(x: T2, rows: T1): T2 {
  const { shape } = x;
  return operation([x], (x: T2) => ({
    value: TFJS_OPERATIONS.rows(x, rows),
    saved: {},
    backward: (dy: T2) => [as<T2>(tf.scatterND(tf.expandDims(raw(rows), 1), raw(dy), shape))],
  }));
}
