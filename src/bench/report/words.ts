/** How the report writes numbers: one place, so that terminal, Markdown and HTML say the same. */

import { formatBytes, formatCount, formatDuration } from '../../core/format.js';
import type { Interval } from '../../core/stats.js';
import type { ScoringMethod, UserKind } from '../types.js';
import type { Estimate } from './units.js';

export const KIND_TITLES: Readonly<Record<UserKind, string>> = {
  seen: 'seen task',
  'seen-kind': 'seen kind',
  'unseen-kind': 'unseen kind',
  mixture: 'mixture',
};

export const METHOD_TITLES: Readonly<Record<ScoringMethod, string>> = {
  loglikelihood: 'log-likelihood of the choices',
  generation: 'generated answer, exact match',
};

/** 0.6234 -> "62.3"; a dash where there is no number. */
export function points(share: number | null | undefined): string {
  return share === null || share === undefined ? '-' : (100 * share).toFixed(1);
}

/** 0.039 -> "+3.9" */
export function signedPoints(share: number): string {
  const text = points(share);
  if (Number(text) === 0) return '0.0';
  return share > 0 ? `+${text}` : text.replace('-', '−');
}

/** An estimate with its interval, such as "62.3 [59.1, 65.4]"; a dash where there is no number. */
const bracketed =
  (text: (x: number) => string, unit = '') =>
  ({ estimate, low, high }: Interval): string =>
    Number.isFinite(estimate) ? `${text(estimate)}${unit} [${text(low)}, ${text(high)}]` : '-';

/** 0.643 -> "64" */
export const wholePercent = (part: number): string => (100 * part).toFixed(0).replace('-', '−');

/** "62.3 [59.1, 65.4]" */
export const interval = bracketed(points);
/** "62.3 [59, 65]" */
export const wholeInterval = ({ estimate, low, high }: Interval): string =>
  `${points(estimate)} [${wholePercent(low)}, ${wholePercent(high)}]`;
/** "+3.9 [+0.8, +7.1]" */
export const signedInterval = bracketed(signedPoints);
/** "0.78 [0.71, 0.84]" */
export const ratioInterval = bracketed((x) => x.toFixed(2));
/** "0.043 [0.031, 0.058]" */
export const fineInterval = bracketed((x) => x.toFixed(3));
/** "64 % [48, 81]" */
export const percentInterval = bracketed(wholePercent, ' %');
/** 0.0213 -> "+2.1 %"; a dash where there is no number */
export const signedPercent = (part: number): string => (Number.isFinite(part) ? `${signedPoints(part)} %` : '-');
/** "+2.1 % [+0.4, +3.9]" */
export const signedPercentInterval = bracketed(signedPoints, ' %');

/** Whether a difference's interval leaves out zero. */
export function isClear({ low, high }: Interval): boolean {
  return low > 0 || high < 0;
}

export function percent(share: number): string {
  return `${Number((100 * share).toFixed(1))} %`;
}

/** Three significant digits below a second, as formatDuration has it above. */
export function milliseconds(ms: number): string {
  if (ms === 0) return '0';
  return ms < 100 ? `${Number(ms.toPrecision(2))} ms` : formatDuration(ms);
}

export function bytes(count: number): string {
  return count === 0 ? '0' : formatBytes(Math.round(count));
}

export function count(n: number): string {
  return formatCount(Math.round(n));
}

/** Three decimals, or a dash. */
export function decimal(x: number | null, digits = 3): string {
  return x === null || !Number.isFinite(x) ? '-' : x.toFixed(digits);
}

/** The title, with the method of scoring where the run has more than one. */
export function withMethod(
  { title, method }: { title: string; method: ScoringMethod },
  methods: readonly ScoringMethod[],
): string {
  return methods.length > 1 ? `${title} (${method})` : title;
}

/** How much figures rest on: "12 users, 3 seeds, 3,600 test examples". */
export function basis(all: ReadonlyArray<Pick<Estimate, 'users' | 'seeds' | 'draws' | 'examples'>>): string {
  const nouns = { users: 'user', seeds: 'seed', examples: 'test example' } as const;
  const counts = Object.entries(nouns).map(([key, noun]) => {
    const numbers = all.map((estimate) => estimate[key as keyof typeof nouns]);
    const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
    return least === most ? plural(most, noun) : `${formatCount(least)} to ${plural(most, noun)}`;
  });
  const draws = Math.max(...all.map((estimate) => estimate.draws));
  return [...counts, ...(draws > 1 ? [`up to ${draws} draws of each`] : [])].join(', ');
}

/** What their intervals were resampled over. */
export function bootstrapOver(all: ReadonlyArray<Pick<Estimate, 'seeds' | 'draws'>>): string {
  const draws = all.some((estimate) => estimate.draws > 1) ? 'draws and ' : '';
  if (all.every(({ seeds }) => seeds === 1)) return `a bootstrap over each user's ${draws}test examples`;
  return `a nested bootstrap over seeds, and each user's ${draws}test examples`;
}

export function plural(n: number, noun: string): string {
  return `${formatCount(n)} ${noun}${n === 1 ? '' : 's'}`;
}

/**
 * Text from outside as it may be shown: what would move a terminal's cursor, break a line, or turn the direction of
 * reading becomes a replacement character. Task names come from files that anybody can write.
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, '\ufffd');
}

/** `visible`, cut to a width in characters. */
export function short(text: string, width: number): string {
  const characters = [...visible(text)];
  return characters.length <= width ? characters.join('') : `${characters.slice(0, width - 1).join('')}…`;
}
