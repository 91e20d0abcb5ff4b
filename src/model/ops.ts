/**
 * The Llama family's building blocks as tfjs operations with analytic gradients.
 *
 * Each is one `tf.customGrad`, for two reasons: the tape then keeps only what the backward pass needs, and frozen base
 * weights, which are captured and not inputs, get no gradient at all. Products are written in two dimensions wherever
 * possible, the form that every back end runs fast.
 *
 * Letters: B batch, T tokens, M = B*T rows, C hidden size, H query heads, K key/value heads, D head size, V vocabulary,
 * R = N*r stacked LoRA rank.
 */

import * as tf from '@tensorflow/tfjs-core';

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

type T1 = tf.Tensor1D;
type T2 = tf.Tensor2D;

/** A frozen linear layer as Hugging Face stores it: y = x W^T + b. */
export interface Linear {
  /** (out, in) */
  weight: T2;
  /** (out) */
  bias: T1 | null;
}

/** LoRA factors of one linear layer, all adapters of a pool stacked along the rank. */
export interface StackedLora {
  /** (R, in) */
  a: T2;
  /** (out, R) */
  b: T2;
  /** (M, R): every row's coefficients times the LoRA scale, each repeated r times */
  gate: T2;
}

const grad = <T extends tf.Tensor>(f: (...args: never[]) => { value: T; gradFunc: unknown }) =>
  tf.customGrad(f as unknown as Parameters<typeof tf.customGrad>[0]) as unknown as (...inputs: tf.Tensor[]) => T;

type Save = (tensors: tf.Tensor[]) => void;

/** y = x W^T + b with W and b frozen. x (M, in) -> (M, out) */
export function linear(x: T2, { weight, bias }: Linear): T2 {
  return grad<T2>((x: T2) => ({
    value: project(x, weight, bias),
    gradFunc: (dy: T2) => tf.matMul(dy, weight),
  }))(x);
}

function project(x: T2, weight: T2, bias: T1 | null): T2 {
  const y: T2 = tf.matMul(x, weight, false, true);
  return bias === null ? y : (tf.add(y, bias) as T2);
}

/**
 * y = x W^T + b + (gate * (x A^T)) B^T: deltaW(x) = sum_n alpha_n(x) s B_n A_n in two products, whatever N.
 *
 * @param needsInputGradient false where x depends on nothing trainable (the first block), which saves a product
 */
export function loraLinear(x: T2, base: Linear, lora: StackedLora, needsInputGradient = true): T2 {
  const { gate } = lora;
  const forward = (x: T2, a: T2, b: T2): { y: T2; h: T2 } => {
    const h = tf.mul(tf.matMul(x, a, false, true), gate) as T2; // (M, R)
    return { y: tf.add(project(x, base.weight, base.bias), tf.matMul(h, b, false, true)), h };
  };
  const factorGradients = (dy: T2, x: T2, b: T2, h: T2) => {
    const du = tf.mul(tf.matMul(dy, b), gate) as T2; // (M, R)
    return { du, da: tf.matMul(du, x, true, false), db: tf.matMul(dy, h, true, false) };
  };
  if (!needsInputGradient) {
    return grad<T2>((a: T2, b: T2, save: Save) => {
      const { y, h } = forward(x, a, b);
      save([b, h, x]);
      return {
        value: y,
        gradFunc: (dy: T2, [b, h, x]: [T2, T2, T2]) => {
          const { da, db } = factorGradients(dy, x, b, h);
          return [da, db];
        },
      };
    })(lora.a, lora.b);
  }
  return grad<T2>((x: T2, a: T2, b: T2, save: Save) => {
    const { y, h } = forward(x, a, b);
    save([x, a, b, h]);
    return {
      value: y,
      gradFunc: (dy: T2, [x, a, b, h]: [T2, T2, T2, T2]) => {
        const { du, da, db } = factorGradients(dy, x, b, h);
        return [tf.add(tf.matMul(dy, base.weight), tf.matMul(du, a)), da, db];
      },
    };
  })(x, lora.a, lora.b);
}

/** RMSNorm over the last axis with a frozen weight. x (..., C), weight (C) */
export function rmsNorm<T extends tf.Tensor>(x: T, weight: T1, eps: number): T {
  const inverseRms = (x: T) => tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), eps));
  return grad<T>((x: T, save: Save) => {
    const inv = inverseRms(x);
    save([x, inv]);
    return {
      value: tf.mul(tf.mul(x, inv), weight) as T,
      gradFunc: (dy: T, [x, inv]: [T, tf.Tensor]) => {
        const g = tf.mul(dy, weight);
        // d/dx (x * inv) = inv * (g - x * inv^2 * mean(g * x))
        const along = tf.mul(tf.mean(tf.mul(g, x), -1, true), tf.square(inv));
        return tf.mul(inv, tf.sub(g, tf.mul(x, along)));
      },
    };
  })(x);
}

/** Cosines and sines of the positions 0..T-1, and the matrix that swaps and negates the halves of a head. */
export interface RotaryTables {
  /** (T, 1, D) */
  cos: tf.Tensor3D;
  /** (T, 1, D) */
  sin: tf.Tensor3D;
  /** (D, D): x R = [-x2, x1] for x = [x1, x2] */
  rotateHalf: T2;
}

/** Rotary position embedding in Hugging Face's half-split layout. x (B, T, H, D) */
export function rotary(x: tf.Tensor4D, tables: RotaryTables): tf.Tensor4D {
  const turn = (x: tf.Tensor4D, transposed: boolean): tf.Tensor4D => {
    const D = x.shape[3];
    return tf.reshape(tf.matMul(tf.reshape(x, [-1, D]), tables.rotateHalf, false, transposed), x.shape);
  };
  return grad<tf.Tensor4D>((x: tf.Tensor4D) => ({
    value: tf.add(tf.mul(x, tables.cos), tf.mul(turn(x, false), tables.sin)),
    gradFunc: (dy: tf.Tensor4D) => tf.add(tf.mul(dy, tables.cos), turn(tf.mul(dy, tables.sin), true)),
  }))(x);
}

/**
 * Causal attention with grouped key/value heads.
 *
 * The query heads that share a key head are laid beside one another along the rows (G = H/K of them), so that no key is ever copied.
 *
 * @param q (B, T, H, D) @param k (B, T, K, D) @param v (B, T, K, D)
 * @param mask (T, T): 0 where a query may look, a large negative number elsewhere
 * @returns (M, H*D)
 */
export function attention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, mask: T2): T2 {
  const [B, T, H, D] = q.shape;
  const K = k.shape[2];
  const G = H / K;
  const scale = 1 / Math.sqrt(D);
  // (B, T, K, G, D) -> (B, K, G, T, D) -> (B*K, G*T, D)
  const foldQueries = (x: tf.Tensor) =>
    tf.reshape<tf.Rank.R3>(tf.transpose(tf.reshape(x, [B, T, K, G, D]), [0, 2, 3, 1, 4]), [B * K, G * T, D]);
  const unfoldQueries = (x: tf.Tensor) =>
    tf.reshape<tf.Rank.R4>(tf.transpose(tf.reshape(x, [B, K, G, T, D]), [0, 3, 1, 2, 4]), [B, T, H, D]);
  const foldKeys = (x: tf.Tensor4D) => tf.reshape<tf.Rank.R3>(tf.transpose(x, [0, 2, 1, 3]), [B * K, T, D]);
  const unfoldKeys = (x: tf.Tensor) => tf.transpose(tf.reshape(x, [B, K, T, D]), [0, 2, 1, 3]);

  const heads = grad<tf.Tensor4D>((q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, save: Save) => {
    const qf = foldQueries(tf.mul(q, scale));
    const kf = foldKeys(k);
    const vf = foldKeys(v);
    const scores = tf.reshape<tf.Rank.R4>(tf.matMul(qf, kf, false, true), [B * K, G, T, T]);
    const p = tf.reshape<tf.Rank.R3>(tf.softmax(tf.add(scores, mask)), [B * K, G * T, T]);
    save([qf, kf, vf, p]);
    return {
      value: unfoldQueries(tf.matMul(p, vf)),
      gradFunc: (dy: tf.Tensor4D, [qf, kf, vf, p]: tf.Tensor3D[]) => {
        const dyf = foldQueries(dy);
        const dp = tf.matMul(dyf, vf!, false, true);
        const ds = tf.mul(p!, tf.sub(dp, tf.sum(tf.mul(dp, p!), -1, true)));
        return [
          tf.mul(unfoldQueries(tf.matMul(ds, kf!)), scale),
          unfoldKeys(tf.matMul(ds, qf!, true, false)),
          unfoldKeys(tf.matMul(p!, dyf, true, false)),
        ];
      },
    };
  })(q, k, v);
  return tf.reshape(heads, [B * T, H * D]);
}

/** SwiGLU: silu(gate) * up. Both (M, I) */
export function swiGlu(gate: T2, up: T2): T2 {
  return grad<T2>((gate: T2, up: T2, save: Save) => {
    const s = tf.sigmoid(gate);
    save([gate, up, s]);
    return {
      value: tf.mul(tf.mul(gate, s), up),
      gradFunc: (dy: T2, [gate, up, s]: [T2, T2, T2]) => {
        const silu = tf.mul(gate, s);
        // silu'(g) = s + silu(g) (1 - s)
        const slope = tf.add(s, tf.mul(silu, tf.sub(1, s)));
        return [tf.mul(tf.mul(dy, up), slope), tf.mul(dy, silu)];
      },
    };
  })(gate, up);
}

/**
 * The rows of x at the given indices, with a gradient that scatters back.
 * (tfjs's own gather gradient needs a kernel that the wasm and WebGPU back ends lack.)
 *
 * @param x (M, C) @param rows (P) int32, no row twice
 */
export function takeRows(x: T2, rows: T1): T2 {
  const shape = x.shape;
  return grad<T2>((x: T2) => ({
    value: tf.gather(x, rows),
    gradFunc: (dy: T2) => tf.scatterND(tf.expandDims(rows, 1), dy, shape),
  }))(x);
}

/**
 * Cross-entropy of each row, times the row's weight, summed.
 *
 * @param logits (P, V) @param targets (P) int32 @param weights (P) for example 1/(number of targets) for a mean
 * @returns scalar
 */
export function weightedCrossEntropy(logits: T2, targets: T1, weights: T1): tf.Scalar {
  const V = logits.shape[1];
  return grad<tf.Scalar>((logits: T2, save: Save) => {
    save([logits]);
    return {
      value: tf.neg(tf.sum(tf.mul(targetLogprobs(logits, targets), weights))) as tf.Scalar,
      gradFunc: (dy: tf.Scalar, [logits]: [T2]) => {
        const difference = tf.sub(tf.softmax(logits), tf.oneHot(targets, V));
        return tf.mul(difference, tf.expandDims(tf.mul(weights, dy), 1));
      },
    };
  })(logits);
}

/** log softmax(logits)[target] of each row. logits (P, V), targets (P) int32 -> (P) */
export function targetLogprobs(logits: T2, targets: T1): T1 {
  const P = logits.shape[0];
  const shifted = tf.sub(logits, tf.max(logits, 1, true));
  const logSum = tf.log(tf.sum(tf.exp(shifted), 1)); // (P)
  const at = tf.stack([tf.range(0, P, 1, 'int32'), targets], 1); // (P, 2)
  return tf.sub(tf.gatherND(shifted, at) as T1, logSum) as T1;
}
