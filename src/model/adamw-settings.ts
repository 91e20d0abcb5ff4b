/** AdamW's settings and state, whoever computes it. */

export const ADAMW_DEFAULTS = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0,
  /** largest L2 norm of the gradient; infinity for none */
  clipNorm: 1,
};
export type AdamWOptions = typeof ADAMW_DEFAULTS;

/** A snapshot that a checkpoint can hold. */
export interface AdamWState {
  /** updates done so far */
  step: number;
  parameters: Float32Array;
  /** first moment */
  m: Float32Array;
  /** second moment */
  v: Float32Array;
}
