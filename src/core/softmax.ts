/** Similarities to mixture coefficients. */

/** softmax(x / tau), computed without overflow; sums to 1. */
export function softmax(x: ArrayLike<number>, tau: number): Float64Array {
  const values = Float64Array.from(x);
  const max = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const weights = values.map((v) => Math.exp((v - max) / tau));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / sum);
}
