/**
 * Scales, ticks, axes and marks. A picture has no width of its own: across, everything in it stands at a percentage of its
 * plot area, so that one drawing fills a page as well as a phone while its letters and marks keep their size. The margins
 * around the plot area, where the axes are written, are the padding that style.ts gives it.
 */

import assert from 'node:assert/strict';
import { html, type Markup, NOTHING } from './markup.js';

export interface Scale {
  (value: number): number;
  /** ascending, within the domain */
  ticks: number[];
}

/** Steps of 1, 2 or 5 times a power of ten, so that about `count` of them cover the range. */
export function linearTicks(low: number, high: number, count: number): number[] {
  assert.ok(high > low && count > 0, `linearTicks from ${low} to ${high}`);
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * (1 - 1e-9))!;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toFixed(digits)));
}

/** 1, 2 and 5 times powers of ten; powers alone where that would be more than `most`. */
export function logTicks(low: number, high: number, most: number): number[] {
  assert.ok(low > 0 && high > low, `logTicks from ${low} to ${high}`);
  const all: number[] = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    for (const m of [1, 2, 5]) all.push(Number(`${m}e${e}`));
  }
  const inside = all.filter((t) => t >= low * (1 - 1e-9) && t <= high * (1 + 1e-9));
  if (inside.length <= most) return inside;
  const powers = inside.filter((t) => Math.log10(t) % 1 === 0);
  const every = Math.ceil(powers.length / most);
  return powers.length < 2 ? inside.slice(0, most) : powers.filter((_, i) => i % every === 0);
}

/** From [low, high] to [from, to]; `to` may be the smaller end, as it is for y. */
export function linearScale(low: number, high: number, from: number, to: number, count: number): Scale {
  const scale = (value: number) => from + ((value - low) / (high - low)) * (to - from);
  return Object.assign(scale, { ticks: linearTicks(low, high, count) });
}

export function logScale(low: number, high: number, from: number, to: number, most: number): Scale {
  const [a, b] = [Math.log(low), Math.log(high)];
  const scale = (value: number) => from + ((Math.log(value) - a) / (b - a)) * (to - from);
  return Object.assign(scale, { ticks: logTicks(low, high, most) });
}

/** The range of values, widened to whole tenths of 0..1, never empty. */
export function accuracyRange(values: readonly number[]): [number, number] {
  const finite = values.filter((v) => Number.isFinite(v));
  if (finite.length === 0) return [0, 1];
  const low = Math.max(0, Math.floor(Math.min(...finite) * 10 - 1e-9) / 10);
  const high = Math.min(1, Math.ceil(Math.max(...finite) * 10 + 1e-9) / 10);
  return high > low ? [low, high] : [Math.max(0, low - 0.1), Math.min(1, high + 0.1)];
}

/** Vertical grid lines with numbers below, and the axis's title in the middle. */
export function xAxis(scale: Scale, title: string, text: (tick: number) => string): Markup {
  return html`<g class="axis">${scale.ticks.map(
    (tick) =>
      html`<line x1="${scale(tick)}%" x2="${scale(tick)}%" y2="100%"/><text x="${scale(tick)}%" y="100%" dy="17" text-anchor="middle">${text(tick)}</text>`,
  )}<text x="50%" y="100%" dy="36" text-anchor="middle">${title}</text></g>`;
}

/** Horizontal grid lines with numbers at the left, and the axis's title above them. */
export function yAxis(scale: Scale, title: string, text: (tick: number) => string): Markup {
  return html`<g class="axis">${scale.ticks.map(
    (tick) =>
      html`<line x2="100%" y1="${scale(tick)}%" y2="${scale(tick)}%"/><text x="-7" y="${scale(tick)}%" dy="4" text-anchor="end">${text(tick)}</text>`,
  )}<text x="-30" y="-12">${title}</text></g>`;
}

/** 0.6 -> "60", for an axis of points or percents. */
export const inHundredths = (x: number): string => (100 * x).toFixed(0);

const SHAPES = [
  'M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0Z',
  'M-3.6 -3.6h7.2v7.2h-7.2Z',
  'M0 -4.6L4.6 3.6H-4.6Z',
  'M0 -5.1L5.1 0L0 5.1L-5.1 0Z',
];

/** Small marks that differ in shape, for those who do not see the colours. */
export function shape(kind: number, className: string): Markup {
  return html`<path class="${className}" d="${SHAPES[kind % SHAPES.length]!}"/>`;
}

/** Puts a mark at a percentage across, and at a percentage or a number of pixels down. */
export function placed(x: number, y: number, down: '%' | 'px', mark: Markup): Markup {
  return html`<svg x="${x}%" y="${y}${down}">${mark}</svg>`;
}

/** A whole picture; `label` is what a screen reader says. Without a height, the style sheet has it. */
export function picture(className: string, label: string, content: Markup, height?: number): Markup {
  const size = height === undefined ? NOTHING : html` height="${height}"`;
  return html`<svg class="picture ${className}"${size} role="img" aria-label="${label}">${content}</svg>`;
}
