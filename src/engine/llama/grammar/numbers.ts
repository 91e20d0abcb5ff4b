/** Numbers between bounds, as grammars of their digits. */

import { either } from './rules.js';

/** Bounds of a number; whole ones, or infinite. */
export interface Bounds {
  min: number;
  max: number;
  /** whether the bound itself is left out */
  aboveMin: boolean;
  belowMax: boolean;
}

/** Digits before the point at most: every one of them is kept in a double. */
export const MOST_DIGITS = 15;
const FRACTION = '("." [0-9]{1,15})?';
const NO_FRACTION = '("." "0"{1,15})?';
const SOME_FRACTION = '"." [0-9]{0,14} [1-9]';

/** Whole numbers from min to max. @returns null where there is none */
export function integerBetween({ min, max, aboveMin, belowMax }: Bounds): string | null {
  const lo = Math.ceil(min) + Number(aboveMin && Number.isInteger(min));
  const hi = Math.floor(max) - Number(belowMax && Number.isInteger(max));
  const found: string[] = [];
  if (lo < 0 && lo <= hi) found.push(`"-" ${natural(Math.max(1, -hi), -lo)}`);
  if (hi >= 0 && lo <= hi) found.push(natural(Math.max(0, lo), hi));
  return found.length === 0 ? null : either(found);
}

/** Numbers with or without a fraction, written without an exponent. @returns null where there is none */
export function numberBetween({ min, max, aboveMin, belowMax }: Bounds): string | null {
  const found: string[] = [];
  if (min < 0) {
    const size = { min: Math.max(0, -max), max: -min, aboveMin: max < 0 ? belowMax : true, belowMax: aboveMin };
    found.push(...sizes(size).map((one) => `"-" ${one}`));
  }
  if (max >= 0) found.push(...sizes({ min: Math.max(0, min), max, aboveMin: min >= 0 && aboveMin, belowMax }));
  return found.length === 0 ? null : either(found);
}

/** Without a sign. */
function sizes({ min, max, aboveMin, belowMax }: Bounds): string[] {
  const found: string[] = [];
  if (min > max || (min === max && (aboveMin || belowMax))) return found;
  if (min < max) {
    if (aboveMin) found.push(`"${min}" ${SOME_FRACTION}`);
    const first = aboveMin ? min + 1 : min;
    if (first < max) found.push(`${natural(first, max - 1)} ${FRACTION}`);
  }
  if (!belowMax && Number.isFinite(max)) found.push(`"${max}" ${NO_FRACTION}`);
  return found;
}

/** Digits of the whole numbers from lo (0 or more) to hi, which may be infinite. */
function natural(lo: number, hi: number): string {
  const found: string[] = [];
  const last = hi === Number.POSITIVE_INFINITY ? 10 ** MOST_DIGITS - 1 : hi;
  for (let from = lo; from <= last; ) {
    const to = Math.min(last, 10 ** String(from).length - 1);
    found.push(sameLength(String(from), String(to)));
    from = to + 1;
  }
  return either(found);
}

/** From a to b, which have as many digits. */
function sameLength(a: string, b: string): string {
  if (a === b) return `"${a}"`;
  if (/^0*$/.test(a) && /^9*$/.test(b)) return `[0-9]{${a.length}}`;
  if (a[0] === b[0]) return `"${a[0]}" ${sameLength(a.slice(1), b.slice(1))}`;
  const [first, last] = [Number(a[0]), Number(b[0])];
  const rest = a.length - 1;
  if (rest === 0) return `[${first}-${last}]`;
  const [zeros, nines] = ['0'.repeat(rest), '9'.repeat(rest)];
  const [isLow, isHigh] = [a.slice(1) === zeros, b.slice(1) === nines];
  const found: string[] = [];
  if (!isLow) found.push(`"${first}" ${sameLength(a.slice(1), nines)}`);
  const [from, to] = [isLow ? first : first + 1, isHigh ? last : last - 1];
  if (from <= to) found.push(`[${from}-${to}] [0-9]{${rest}}`);
  if (!isHigh) found.push(`"${last}" ${sameLength(zeros, b.slice(1))}`);
  return either(found);
}
