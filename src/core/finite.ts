/**
 * Finding NaN and infinity in a float array, at the speed of one pass over it.
 */

/** Index of the first NaN or infinity in `data`, or -1 when every element is finite. */
export function firstNonFinite(data: Float32Array | Float64Array): number {
  const n = data.length;
  // NaN and infinity survive every addition, and float32 values cannot overflow a float64 sum (float64 values can: then
  // the search below decides). Four sums keep the processor's adders busy.
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 3 < n; i += 4) {
    s0 += data[i]!;
    s1 += data[i + 1]!;
    s2 += data[i + 2]!;
    s3 += data[i + 3]!;
  }
  for (; i < n; i++) s0 += data[i]!;
  if (Number.isFinite(s0 + s1 + s2 + s3)) return -1;
  return data.findIndex((x) => !Number.isFinite(x));
}
