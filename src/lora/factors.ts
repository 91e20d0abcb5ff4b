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
 * Writes `weight` . B (out, r) into columns [column, column + r) of a row-major (out, width) matrix.
 * Returns false when a value written is not finite.
 */
export function placeColumns(
  target: Float32Array,
  width: number,
  column: number,
  b: Float32Array,
  out: number,
  r: number,
  weight: number,
): boolean {
  let check = 0; // v - v is 0 for a finite v and NaN otherwise
  let source = 0;
  for (let o = 0; o < out; o++) {
    const to = o * width + column;
    for (let j = 0; j < r; j++) {
      const value = Math.fround(b[source++]! * weight);
      target[to + j] = value;
      check += value - value;
    }
  }
  return check === 0;
}
