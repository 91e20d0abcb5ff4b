/**
 * Float32 to ggml's K-quants, byte for byte as ggml's reference code does it (ggml-quants.c: quantize_row_q4_K_ref, q5_K_ref,
 * q6_K_ref with make_qkx2_quants and make_qx_quants).
 *
 * Every operation that is in float there is rounded by Math.fround here, in the same order: a double's sum, product, quotient
 * or root of floats, rounded once more, is the float's. That rounding is slow, and most trials of a scale are lost: each is first
 * summed in plain doubles, which bounds its error from below, and is summed as in C only where it might win.
 */

import { putFloat16 } from './half.js';

const f = Math.fround;
const SUPER = 256;
/** 1.5 * 2^23: adding it to a float below 2^22 leaves the nearest whole number, ties to even (`nearest_int`). */
const NEAREST = 12_582_912;
/** The same for a double, 1.5 * 2^52. */
const NEAREST_DOUBLE = 6_755_399_441_055_744;
/** A quotient in doubles is off the one in floats by less than 1e-4: nearer to a tie than that, the level is uncertain. */
const TIE = 0.4999;
/** Below this a group counts as all zero (GROUP_MAX_EPS). */
const LEAST = f(1e-15);

/** The super-block at work, its quantised values, and a trial's. */
const x = new Float64Array(SUPER);
const levels = new Uint8Array(SUPER);
const trial = new Float64Array(32);
/** Of the group at work: weights of its elements, and products that every trial needs. */
const weights = new Float64Array(32);
const weighted = new Float64Array(32);
/** Of each group: scale, and minimum (its negative). */
const scales = new Float64Array(16);
const minima = new Float64Array(8);

const asFloat = new Float32Array(1);
const asBits = new Int32Array(asFloat.buffer);

/** `nearest_int`, for NaN, infinity and beyond 2^22 too, where C's reading of the bits gives something else. */
function nearest(value: number): number {
  if (Math.abs(value) < 4_194_304) return f(value + NEAREST) - NEAREST;
  asFloat[0] = value + NEAREST;
  return (asBits[0]! & 0x7fffff) - 0x400000;
}

/** (least + 0.1 i + most), the numerators of the trials' inverse scales. */
function numerators(least: number, steps: number, most: number): Float64Array {
  return Float64Array.from({ length: steps + 1 }, (_, i) => f(f(least + f(f(0.1) * i)) + most));
}

/** Sums over a group that all its trials share, in doubles: of weights w, of w x, and of w x². */
const sums = new Float64Array(3);
/** A trial's sums of w level, w level² and w level x in doubles, and those of the best so far: equal ones are the same trial. */
const tried = new Float64Array(3);
const kept = new Float64Array(3);

/**
 * Whether the trial of a scale and minimum cannot have an error below `least`: the least squares' own error for its levels,
 * less what float's roundings could make of it, is above.
 */
function isLost(start: number, most: number, inverse: number, min: number, least: number): boolean {
  let sumL = 0;
  let sumLL = 0;
  let sumXL = 0;
  for (let i = 0; i < 32; i++) {
    const value = x[start + i]!;
    const exact = inverse * (value - min);
    let level = exact + NEAREST_DOUBLE - NEAREST_DOUBLE;
    if (!(Math.abs(exact - level) < TIE)) {
      tried.fill(Number.NaN);
      return false;
    }
    if (level < 0) level = 0;
    else if (level > most) level = most;
    const wl = weights[i]! * level;
    sumL += wl;
    sumLL += wl * level;
    sumXL += wl * value;
  }
  const [sumOfW, sumOfX, sumOfXX] = [sums[0]!, sums[1]!, sums[2]!];
  tried[0] = sumL;
  tried[1] = sumLL;
  tried[2] = sumXL;
  if (sumL === kept[0] && sumLL === kept[1] && sumXL === kept[2]) return true;
  const covariance = sumXL - (sumOfX * sumL) / sumOfW;
  const variance = sumLL - (sumL * sumL) / sumOfW;
  const error = sumOfXX - (sumOfX * sumOfX) / sumOfW - (covariance * covariance) / variance;
  const root = Math.sqrt(error) - 4e-6 * Math.sqrt(sumOfXX);
  return root * root * (1 - 1e-5) > least && error > 1e-5 * sumOfXX;
}

/**
 * Scale and minimum of 32 elements of `x` from `start`, and their levels of 0 to `most`, by weighted least squares over
 * trials of other scales (`make_qkx2_quants`).
 *
 * @returns the scale; the minimum goes to `minima[group]`
 */
function fitScaleAndMinimum(group: number, most: number, trials: Float64Array): number {
  const start = 32 * group;
  let min = x[start]!;
  let max = min;
  let sumW = weights[0]!;
  let sumX = f(sumW * min);
  let sumOfW = sumW;
  let sumOfX = sumW * min;
  let sumOfXX = sumOfX * min;
  for (let i = 1; i < 32; i++) {
    const value = x[start + i]!;
    const w = weights[i]!;
    if (value < min) min = value;
    if (value > max) max = value;
    sumW = f(sumW + w);
    sumX = f(sumX + f(w * value));
    sumOfW += w;
    sumOfX += w * value;
    sumOfXX += w * value * value;
  }
  sums[0] = sumOfW;
  sums[1] = sumOfX;
  sums[2] = sumOfXX;
  if (min > 0) min = 0;
  if (max === min) {
    levels.fill(0, start, start + 32);
    minima[group] = -min;
    return 0;
  }
  kept.fill(Number.NaN);
  const lowest = min;
  let inverse = f(most / f(max - min));
  let scale = f(1 / inverse);
  let least = 0;
  for (let i = 0; i < 32; i++) {
    const value = x[start + i]!;
    const level = Math.max(0, Math.min(most, nearest(f(inverse * f(value - min)))));
    levels[start + i] = level;
    const off = f(f(f(scale * level) + min) - value);
    least = f(least + f(weights[i]! * f(off * off)));
  }
  for (let step = 0; step < trials.length; step++) {
    inverse = f(trials[step]! / f(max - min));
    const isTame = Math.abs(inverse) * (Math.abs(max - min) + Math.abs(min - lowest)) < 500;
    if (!isTame) tried.fill(Number.NaN);
    else if (isLost(start, most, inverse, min, least)) continue;
    let sumL = 0;
    let sumL2 = 0;
    let sumXL = 0;
    for (let i = 0; i < 32; i++) {
      const value = x[start + i]!;
      const level = Math.max(0, Math.min(most, nearest(f(inverse * f(value - min)))));
      trial[i] = level;
      const wl = f(weights[i]! * level);
      sumL = f(sumL + wl);
      sumL2 = f(sumL2 + f(wl * level));
      sumXL = f(sumXL + f(wl * value));
    }
    const determinant = f(f(sumW * sumL2) - f(sumL * sumL));
    if (!(determinant > 0)) continue;
    let newScale = f(f(f(sumW * sumXL) - f(sumX * sumL)) / determinant);
    let newMin = f(f(f(sumL2 * sumX) - f(sumL * sumXL)) / determinant);
    if (newMin > 0) {
      newMin = 0;
      newScale = f(sumXL / sumL2);
    }
    let error = 0;
    // The sum never falls: once it has reached the least, the trial is lost.
    for (let i = 0; i < 32 && error < least; i++) {
      const off = f(f(f(newScale * trial[i]!) + newMin) - x[start + i]!);
      error = f(error + f(weights[i]! * f(off * off)));
    }
    if (error < least) {
      for (let i = 0; i < 32; i++) levels[start + i] = trial[i]!;
      kept.set(tried);
      least = error;
      scale = newScale;
      min = newMin;
    }
  }
  minima[group] = -min;
  return scale;
}

/** Weights of a group's elements: the root of their mean square, and their size. */
function weighGroup(start: number): void {
  let squares = 0;
  for (let i = 0; i < 32; i++) squares = f(squares + f(x[start + i]! * x[start + i]!));
  const mean = f(Math.sqrt(f(squares / 32)));
  for (let i = 0; i < 32; i++) weights[i] = f(mean + Math.abs(x[start + i]!));
}

/**
 * The head of Q4_K and Q5_K: d, dmin and eight 6-bit pairs (`get_scale_min_k4` reads them); `levels` are then those for the
 * stored scales.
 */
function putHead(out: Uint8Array, at: number, most: number, trials: Float64Array, where: string): void {
  let maxScale = 0;
  let maxMin = 0;
  for (let group = 0; group < 8; group++) {
    weighGroup(32 * group);
    const scale = fitScaleAndMinimum(group, most, trials);
    scales[group] = scale;
    if (scale > maxScale) maxScale = scale;
    if (minima[group]! > maxMin) maxMin = minima[group]!;
  }
  const inverseScale = maxScale > 0 ? f(63 / maxScale) : 0;
  const inverseMin = maxMin > 0 ? f(63 / maxMin) : 0;
  const d = putFloat16(out, at, f(maxScale / 63), where);
  const dmin = putFloat16(out, at + 2, f(maxMin / 63), where);
  for (let group = 0; group < 8; group++) {
    const scale = Math.min(63, nearest(f(inverseScale * scales[group]!)) & 255);
    const min = Math.min(63, nearest(f(inverseMin * minima[group]!)) & 255);
    if (group < 4) {
      out[at + 4 + group] = scale;
      out[at + 8 + group] = min;
    } else {
      out[at + 8 + group] = (scale & 15) | ((min & 15) << 4);
      out[at + group]! |= (scale >> 4) << 6;
      out[at + 4 + group]! |= (min >> 4) << 6;
    }
    const step = f(d * scale);
    if (step === 0) continue; // the levels of the search stay
    const offset = f(dmin * min);
    for (let i = 32 * group; i < 32 * group + 32; i++) {
      levels[i] = Math.max(0, Math.min(most, nearest(f(f(x[i]! + offset) / step))));
    }
  }
}

const TRIALS_4 = numerators(-1, 20, 15);
const TRIALS_5 = numerators(-0.5, 15, 31);

/** 144 bytes: the head, then 32 bytes of nibbles for each pair of groups. */
export function quantiseQ4K(data: Float32Array, out: Uint8Array, where: string): void {
  for (let from = 0, at = 0; from < data.length; from += SUPER, at += 144) {
    x.set(data.subarray(from, from + SUPER));
    putHead(out, at, 15, TRIALS_4, where);
    for (let i = 0; i < 128; i++) {
      const first = ((i >> 5) << 6) | (i & 31);
      out[at + 16 + i] = levels[first]! | (levels[first + 32]! << 4);
    }
  }
}

/** 176 bytes: the head, 32 bytes of fifth bits (bit g of byte l is of element l of group g), nibbles as in Q4_K. */
export function quantiseQ5K(data: Float32Array, out: Uint8Array, where: string): void {
  for (let from = 0, at = 0; from < data.length; from += SUPER, at += 176) {
    x.set(data.subarray(from, from + SUPER));
    putHead(out, at, 31, TRIALS_5, where);
    out.fill(0, at + 16, at + 48);
    for (let i = 0; i < SUPER; i++) out[at + 16 + (i & 31)]! |= (levels[i]! >> 4) << (i >> 5);
    for (let i = 0; i < 128; i++) {
      const first = ((i >> 5) << 6) | (i & 31);
      out[at + 48 + i] = (levels[first]! & 15) | ((levels[first + 32]! & 15) << 4);
    }
  }
}

/** -(32 + 0.1 i) for i from -9 to 9 without 0: the numerators of the trials' inverse scales. */
const TRIALS_6 = Float64Array.from([-9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9], (i) =>
  f(-f(32 + f(f(0.1) * i))),
);

/**
 * Whether a trial's `sumXL`² cannot exceed `best` * `sumL2`: all terms of either sum have one sign, so doubles are near. The
 * levels that are best so far win nothing again.
 */
function isLostScale(start: number, inverse: number, best: number): boolean {
  let sumXL = 0;
  let sumL2 = 0;
  for (let i = 0; i < 16; i++) {
    const exact = inverse * x[start + i]!;
    let level = exact + NEAREST_DOUBLE - NEAREST_DOUBLE;
    if (!(Math.abs(exact - level) < TIE)) {
      tried.fill(Number.NaN);
      return false;
    }
    if (level < -32) level = -32;
    else if (level > 31) level = 31;
    sumXL += weighted[i]! * level;
    sumL2 += weights[i]! * level * level;
  }
  tried[0] = sumXL;
  tried[1] = sumL2;
  return (sumXL === kept[0] && sumL2 === kept[1]) || sumXL * sumXL < best * sumL2 * (1 - 1e-5);
}

/** The scale of 16 elements of `x` from `start`, and their levels of -32 to 31, 32 added (`make_qx_quants`, weights x²). */
function fitScale(start: number): number {
  let extreme = 0;
  let size = 0;
  for (let i = start; i < start + 16; i++) {
    const value = x[i]!;
    if (Math.abs(value) > size) {
      size = Math.abs(value);
      extreme = value;
    }
  }
  if (size < LEAST) {
    levels.fill(0, start, start + 16);
    return 0;
  }
  let inverse = f(-32 / extreme);
  let sumXL = 0;
  let sumL2 = 0;
  for (let i = 0; i < 16; i++) {
    const value = x[start + i]!;
    const level = Math.max(-32, Math.min(31, nearest(f(inverse * value))));
    levels[start + i] = level + 32;
    const w = f(value * value);
    const wx = f(w * value);
    weights[i] = w;
    weighted[i] = wx;
    sumXL = f(sumXL + f(wx * level));
    sumL2 = f(sumL2 + f(f(w * level) * level));
  }
  let scale = sumL2 === 0 ? 0 : f(sumXL / sumL2);
  let best = f(scale * sumXL);
  kept.fill(Number.NaN);
  for (let step = 0; step < TRIALS_6.length; step++) {
    inverse = f(TRIALS_6[step]! / extreme);
    if (isLostScale(start, inverse, best)) continue;
    sumXL = 0;
    sumL2 = 0;
    for (let i = 0; i < 16; i++) {
      const level = Math.max(-32, Math.min(31, nearest(f(inverse * x[start + i]!))));
      sumXL = f(sumXL + f(weighted[i]! * level));
      sumL2 = f(sumL2 + f(f(weights[i]! * level) * level));
    }
    if (sumL2 > 0 && f(sumXL * sumXL) > f(best * sumL2)) {
      for (let i = start; i < start + 16; i++) {
        levels[i] = 32 + Math.max(-32, Math.min(31, nearest(f(inverse * x[i]!))));
      }
      kept.set(tried);
      scale = f(sumXL / sumL2);
      best = f(scale * sumXL);
    }
  }
  return scale;
}

/** 210 bytes: 128 of lower nibbles, 64 of upper bit pairs, 16 int8 scales, d. */
export function quantiseQ6K(data: Float32Array, out: Uint8Array, where: string): void {
  for (let from = 0, at = 0; from < data.length; from += SUPER, at += 210) {
    x.set(data.subarray(from, from + SUPER));
    let extreme = 0;
    for (let group = 0; group < 16; group++) {
      const scale = fitScale(16 * group);
      scales[group] = scale;
      if (Math.abs(scale) > Math.abs(extreme)) extreme = scale;
    }
    if (Math.abs(extreme) < LEAST) {
      out.fill(0, at, at + 210);
      continue;
    }
    const inverse = f(-128 / extreme);
    const d = putFloat16(out, at + 208, f(1 / inverse), where);
    for (let group = 0; group < 16; group++) {
      const scale = Math.min(127, nearest(f(inverse * scales[group]!)));
      out[at + 192 + group] = scale;
      const step = f(d * scale);
      if (step === 0) continue;
      for (let i = 16 * group; i < 16 * group + 16; i++) {
        levels[i] = 32 + Math.max(-32, Math.min(31, nearest(f(x[i]! / step))));
      }
    }
    for (let i = 0; i < 64; i++) {
      const first = ((i >> 5) << 7) | (i & 31);
      const [a, b, c, e] = [levels[first]!, levels[first + 32]!, levels[first + 64]!, levels[first + 96]!];
      const low = at + ((i >> 5) << 6) + (i & 31);
      out[low] = (a & 15) | ((c & 15) << 4);
      out[low + 32] = (b & 15) | ((e & 15) << 4);
      out[at + 128 + i] = (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((e >> 4) << 6);
    }
  }
}
