/**
 * AdamW (Loshchilov and Hutter, arXiv 1711.05101) on one flat vector of parameters, with the gradient's norm clipped
 * first. The order of operations is that of torch.optim.AdamW and torch.nn.utils.clip_grad_norm_.
 */

import * as tf from '@tensorflow/tfjs-core';
import { ADAMW_DEFAULTS, type AdamWOptions, type AdamWState } from './adamw-settings.js';

/** Stands for no clipping: larger than any norm, and finite in float32. */
const LARGE = 1e30;

export class AdamW {
  readonly #options: AdamWOptions;
  step: number;
  #p: tf.Tensor1D;
  #m: tf.Tensor1D;
  #v: tf.Tensor1D;
  /** 0 for a number that is frozen, 1 for all others */
  readonly #mask: tf.Tensor1D | undefined;
  /** what weight decay pulls back to; zero when absent */
  readonly #anchor: tf.Tensor1D | undefined;

  /** @param frozen ranges of numbers that stay as they are, with their moments @param anchor what weight decay pulls to */
  constructor(
    start: Float32Array | AdamWState,
    options: AdamWOptions = ADAMW_DEFAULTS,
    frozen: Iterable<[number, number]> = [],
    anchor?: Float32Array,
  ) {
    this.#options = options;
    const fresh = start instanceof Float32Array;
    const parameters = fresh ? start : start.parameters;
    this.step = fresh ? 0 : start.step;
    this.#p = tf.keep(tf.tensor1d(parameters));
    this.#m = tf.keep(fresh ? tf.zeros([parameters.length]) : tf.tensor1d(start.m));
    this.#v = tf.keep(fresh ? tf.zeros([parameters.length]) : tf.tensor1d(start.v));
    if (anchor !== undefined) this.#anchor = tf.keep(tf.tensor1d(anchor));
    const ranges = [...frozen];
    if (ranges.length === 0) return;
    const mask = new Float32Array(parameters.length).fill(1);
    for (const [from, to] of ranges) mask.fill(0, from, to);
    this.#mask = tf.keep(tf.tensor1d(mask));
  }

  /** The current parameters; owned by the optimizer, replaced by every update. */
  get parameters(): tf.Tensor1D {
    return this.#p;
  }

  /**
   * One update.
   *
   * @param ofAll the gradient: same length as the parameters; not disposed
   * @returns the gradient's norm before clipping, a scalar that the caller disposes
   */
  update(ofAll: tf.Tensor1D, learningRate: number): tf.Scalar {
    const { beta1, beta2, epsilon, weightDecay, clipNorm } = this.#options;
    this.step++;
    const [p, m, v, norm] = tf.tidy(() => {
      const mask = this.#mask;
      const gradient = mask === undefined ? ofAll : tf.mul(ofAll, mask);
      // Scalars are multiplied with one another before they meet a long vector: every pass over one counts.
      const square = tf.square(gradient);
      const norm = tf.sqrt(tf.sum(square)) as tf.Scalar;
      const clip: tf.Scalar = tf.minimum(tf.div(Math.min(clipNorm, LARGE), tf.add(norm, 1e-6)), 1);
      const m = tf.add(tf.mul(this.#m, beta1), tf.mul(gradient, tf.mul(clip, 1 - beta1)));
      const v = tf.add(tf.mul(this.#v, beta2), tf.mul(square, tf.mul(tf.square(clip), 1 - beta2)));
      const decay = learningRate * weightDecay;
      const left = mask === undefined ? 1 - decay : tf.sub(1, tf.mul(mask, decay));
      const kept = weightDecay === 0 ? this.#p : tf.mul(this.#p, left);
      const isPulled = this.#anchor !== undefined && weightDecay !== 0;
      const decayed = isPulled ? tf.add(kept, tf.mul(this.#anchor!, tf.sub(1, left))) : kept;
      // p - stepSize * (m / bias1) / (sqrt(v / bias2) + epsilon)
      const stepSize = learningRate / (1 - beta1 ** this.step);
      const rootScale = 1 / Math.sqrt(1 - beta2 ** this.step);
      const denominator = tf.add(tf.mul(tf.sqrt(v), rootScale / stepSize), epsilon / stepSize);
      const p = stepSize === 0 ? tf.clone(decayed) : tf.sub(decayed, tf.div(m, denominator));
      return [p, m, v, norm] as [tf.Tensor1D, tf.Tensor1D, tf.Tensor1D, tf.Scalar];
    });
    tf.dispose([this.#p, this.#m, this.#v]);
    this.#p = tf.keep(p);
    this.#m = tf.keep(m);
    this.#v = tf.keep(v);
    return norm;
  }

  async state(): Promise<AdamWState> {
    const [parameters, m, v] = await Promise.all([this.#p.data(), this.#m.data(), this.#v.data()]);
    return {
      step: this.step,
      parameters: Float32Array.from(parameters),
      m: Float32Array.from(m),
      v: Float32Array.from(v),
    };
  }

  dispose(): void {
    tf.dispose([this.#p, this.#m, this.#v, this.#mask, this.#anchor].filter((one) => one !== undefined));
  }
}
