/**
 * The two factors of one LoRA module, as plain arrays: delta W = scale . B A.
 */
import assert from 'node:assert/strict';

/** Width and height of the adapted linear layer. */
export interface ModuleShape {
  in: number;
  out: number;
}

/** One adapter's factors of one module. */
export interface LoraFactors {
  r: number;
  /** lora_A, (r, in) row-major. */
  a: Float32Array;
  /** lora_B, (out, r) row-major. */
  b: Float32Array;
  /** lora_alpha / r, or lora_alpha / sqrt(r) for rsLoRA. */
  scale: number;
}

/** A blend of several: delta W = B A, every scale folded into the factors. */
export interface CombinedFactors {
  r: number;
  /** (r, in) */
  a: Float32Array;
  /** (out, r) */
  b: Float32Array;
  /** Components that are not zero; the rest of the r is padding. */
  effectiveRank: number;
  /** |B A - sum_n alpha_n s_n B_n A_n| / |sum_n alpha_n s_n B_n A_n| (Frobenius), before rounding to float32; 0 for a zero sum. */
  relativeError: number;
}

/** How several adapters become one; `linear` is not the same delta. */
export type CombineKind = 'cat' | 'svd' | 'linear';

/** Checks that factors and coefficients fit each other and the module; a mismatch here is a programmer's error. */
export function assertFactors(
  factors: readonly LoraFactors[],
  coefficients: ArrayLike<number>,
  shape: ModuleShape,
): void {
  assert.equal(coefficients.length, factors.length, 'one coefficient for each adapter');
  for (let n = 0; n < factors.length; n++) {
    const { a, b, r, scale } = factors[n]!;
    assert.equal(a.length, r * shape.in, `adapter ${n}: lora_A is not (${r}, ${shape.in})`);
    assert.equal(b.length, shape.out * r, `adapter ${n}: lora_B is not (${shape.out}, ${r})`);
    assert.ok(
      Number.isFinite(scale) && Number.isFinite(coefficients[n]!),
      `adapter ${n}: scale or coefficient not finite`,
    );
  }
}

/**
 * Writes rows [start, end) of `weight` . B (out, r) into columns [column, column + r) of a row-major (out, width) matrix.
 * Four values at a time: this loop decides how near `cat` comes to the speed of a file copy.
 *
 * @returns false when a value written is not finite
 */
export function placeColumns(
  target: Float32Array,
  width: number,
  column: number,
  b: Float32Array,
  r: number,
  weight: number,
  start: number,
  end: number,
): boolean {
  let even = 0; // a sum of float32 values in float64 cannot overflow: it is finite exactly when they all are
  let odd = 0;
  let source = start * r;
  for (let o = start; o < end; o++) {
    const rowEnd = source + r;
    let to = o * width + column;
    for (; source + 3 < rowEnd; source += 4, to += 4) {
      const v0 = Math.fround(b[source]! * weight);
      const v1 = Math.fround(b[source + 1]! * weight);
      const v2 = Math.fround(b[source + 2]! * weight);
      const v3 = Math.fround(b[source + 3]! * weight);
      target[to] = v0;
      target[to + 1] = v1;
      target[to + 2] = v2;
      target[to + 3] = v3;
      even += v0 + v2;
      odd += v1 + v3;
    }
    for (; source < rowEnd; source++, to++) {
      const value = Math.fround(b[source]! * weight);
      target[to] = value;
      even += value;
    }
  }
  return Number.isFinite(even + odd);
}
