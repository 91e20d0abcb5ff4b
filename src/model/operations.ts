/**
 * The operations that a model is written in, and what carries them out: TensorFlow.js at once (tfjs-operations.ts), or a graph
 * that ONNX Runtime will run (trace.ts). The equations and their gradients stand once, in terms of these.
 */

/** An array on some back end; only its shape is known to everybody. */
export interface Tensor<S extends number[] = number[]> {
  readonly shape: S;
}

export type T0 = Tensor<[]>;
export type T1 = Tensor<[number]>;
export type T2 = Tensor<[number, number]>;
export type T3 = Tensor<[number, number, number]>;
export type T4 = Tensor<[number, number, number, number]>;

/** By name; what is undefined is not there. */
export type Saved = Record<string, Tensor | undefined>;

export interface Evaluated<Y extends Tensor, S extends Saved> {
  value: Y;
  /** what the backward pass needs of the forward pass; everything else may be freed */
  saved: S;
  /** dy -> gradients of the inputs, in their order */
  backward: (dy: Y, saved: S) => Tensor[];
}

export interface ProductOptions {
  transposeA?: boolean;
  transposeB?: boolean;
  /** added to the product, of its shape or one row of it */
  plus?: Tensor | undefined;
}

/** Axes count from 0; -1 is the last one. Numbers stand for tensors without a shape. */
export interface Operations {
  /**
   * Evaluates one differentiable operation.
   *
   * `forward` may capture frozen weights and the inputs' shapes, but no other tensor that the forward pass makes: only what is
   * in `saved` outlives it.
   *
   * @param inputs the tensors that get a gradient
   */
  operation<Y extends Tensor, S extends Saved>(inputs: Tensor[], forward: (...inputs: never[]) => Evaluated<Y, S>): Y;
  /** x + y of equal shapes, outside of `operation`: both get a gradient */
  residual<T extends Tensor>(x: T, y: T): T;
  /** Frees what is made within, but for the result. */
  tidy<T extends Tensor | Record<string, Tensor>>(make: () => T): T;

  /** a b, in two dimensions, or of each pair of matrices in three */
  product<T extends T2 | T3 = T2>(a: T, b: T, options?: ProductOptions): T;
  add<T extends Tensor>(a: T, b: Tensor | number): T;
  sub<T extends Tensor>(a: T, b: Tensor | number): T;
  mul<T extends Tensor>(a: T, b: Tensor | number): T;
  /** 1 - x */
  complement<T extends Tensor>(x: T): T;
  sum<T extends Tensor>(terms: T[]): T;
  square<T extends Tensor>(x: T): T;
  /** 1 / sqrt(x) */
  rsqrt<T extends Tensor>(x: T): T;
  exp<T extends Tensor>(x: T): T;
  log<T extends Tensor>(x: T): T;
  tanh<T extends Tensor>(x: T): T;
  sigmoid<T extends Tensor>(x: T): T;
  /** over the last axis */
  softmax<T extends Tensor>(x: T): T;
  /** over the last axis, which stays with size 1 */
  mean(x: Tensor): Tensor;
  /** over the last axis, which goes */
  total<T extends Tensor>(x: Tensor): T;
  /** over the last axis, which goes */
  largest<T extends Tensor>(x: Tensor): T;
  /** over everything */
  totalOfAll(x: Tensor): T0;
  /** index of the largest along the last axis, which goes: int32 */
  argMax(x: T2): T1;

  reshape<T extends Tensor>(x: Tensor, shape: T['shape']): T;
  transpose<T extends Tensor>(x: T, permutation: number[]): T;
  concat<T extends Tensor>(parts: T[], axis: number): T;
  split<T extends Tensor>(x: T, sizes: number[], axis: number): T[];
  slice<T extends Tensor>(x: T, begin: number[], size: number[]): T;
  /** x beside itself, `times` times along the axis */
  repeat<T extends Tensor>(x: T, times: number, axis: number): T;
  /** zeros behind x along the axis, up to the size */
  padTo<T extends Tensor>(x: T, size: number, axis: number): T;
  /** rows of x (n, C) at the indices (P): (P, C) */
  rows(x: T2, indices: T1): T2;
  /** x[i, indices[i]] of x (P, V): (P) */
  pick(x: T2, indices: T1): T1;
}
