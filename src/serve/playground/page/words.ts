/** Why an answer came from where, in sentences and as places on a scale. */

import type { CrayonFacts, SignalFact, WhoAnswered } from '../wire.js';

export const MODE_WORDS: Record<string, string> = {
  prefer_on_device: 'Prefer the device',
  only_on_device: 'Only the device',
  prefer_in_cloud: 'Prefer the server',
  only_in_cloud: 'Only the server',
};

const SOURCE_WORDS: Record<string, string> = { on_device: 'the device', in_cloud: 'the server' };

const REASONS: Record<string, string> = {
  mode: 'The mode names it.',
  context: 'Prompt and answer do not fit the device’s context.',
  load: 'The device’s queue is full.',
  memory: 'The device is short of memory.',
  'server-failed': 'The server was wanted and failed.',
  budget: 'The server’s budget is spent.',
  'circuit-open': 'The server has failed too often and is left alone for a moment.',
  'device-failed': 'The device was wanted and failed.',
};

/** The reason as a sentence. */
export function whyAnswered({ reason, fallback_from: wanted, failure }: WhoAnswered, facts: CrayonFacts): string {
  const signal = facts.signals.find(({ name }) => name === reason);
  const isOn = facts.signals.some(({ threshold }) => threshold !== null);
  const accepted =
    facts.server === null
      ? 'There is no server to ask.'
      : isOn
        ? 'No signal speaks for the server.'
        : 'No signal has a threshold, so the device answers.';
  const sentence =
    signal === undefined ? (REASONS[reason] ?? (reason === 'accepted' ? accepted : reason)) : sentenceOf(signal.doubt);
  return wanted === undefined
    ? sentence
    : `${sentence} Wanted: ${SOURCE_WORDS[wanted] ?? wanted} (${failure ?? 'failed'}).`;
}

function sentenceOf(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Four digits are enough to see on which side of a threshold a score is. */
export function shown(x: number): string {
  const digits = String(Math.abs(x) >= 100 ? Math.round(x) : Number(x.toPrecision(3)));
  return digits.replace('-', '−');
}

export interface ScalePlace {
  /** 0 to 1, along the scale. */
  score: number;
  threshold: number | null;
  /** The score is where the server answers. */
  isCrossed: boolean;
}

/** Bounds that a signal has by its nature; the others' follow from what is to be shown. */
const BOUNDS: Record<string, readonly [number, number]> = {
  scope: [0, 100],
  success: [0, 1],
  correctness: [0, 1],
  advantage: [-1, 1],
  gain: [-1, 1],
};

/** Where a score and its threshold stand. */
export function scalePlace({ name, unit, threshold, to_server }: SignalFact, score: number): ScalePlace {
  const [low, high] = BOUNDS[name] ?? boundsOf(unit, [score, threshold ?? score]);
  const at = (x: number) => Math.min(1, Math.max(0, (x - low) / (high - low)));
  const isCrossed = threshold !== null && (to_server === 'below' ? score < threshold : score > threshold);
  return { score: at(score), threshold: threshold === null ? null : at(threshold), isCrossed };
}

/** Log-probabilities and entropies end at 0; shares go from 0 to 1; what is left has as much room again. */
function boundsOf(unit: string, shown: readonly number[]): readonly [number, number] {
  if (/probability|margin/.test(unit)) return [0, 1];
  const least = Math.min(...shown);
  const most = Math.max(...shown);
  if (most <= 0) return [Math.min(1.5 * least, -0.1), 0];
  return [Math.min(0, least), 1.5 * most];
}

/** The names of a cluster's tasks, the largest first, with the share of the first where there are several. */
export function clusterLabel(tasks: Record<string, number>, size: number): string {
  const names = Object.entries(tasks);
  if (names.length === 0) return 'no tasks known';
  const [first, ...others] = names.slice(0, 3).map(([name, count]) => {
    return names.length === 1 || size === 0 ? name : `${name} ${Math.round((100 * count) / size)} %`;
  });
  const more = names.length > 3 ? [`${names.length - 3} more`] : [];
  return [first, ...others, ...more].join(', ');
}

/** Paragraphs and fenced code, in turn. A fence that is still open while an answer streams is code already. */
export function segmentsOf(text: string): Array<{ isCode: boolean; text: string }> {
  return text.split(/^[ \t]*(?:```|~~~).*(?:\n|$)/m).flatMap((part, i) => {
    const isCode = i % 2 === 1;
    return (isCode ? [part] : part.split(/\n[ \t]*\n/)).flatMap((lines) => {
      const bare = lines.replace(/^\n+|\s+$/g, '');
      return bare === '' ? [] : [{ isCode, text: bare }];
    });
  });
}
