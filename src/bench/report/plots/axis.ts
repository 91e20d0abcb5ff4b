/** Scales and ticks: pure functions from numbers to numbers and SVG. */

import assert from 'node:assert/strict';
import { html, type Markup } from '../html/markup.js';

/** How wide a plot is drawn; a page holds both, and shows the one that fits. */
export type PlotWidth = 'wide' | 'narrow';

export const WIDTH: Readonly<Record<PlotWidth, number>> = { wide: 900, narrow: 360 };

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

/** From [low, high] to pixels; `to` may be the smaller end, as it is for y. */
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

export interface Frame {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Vertical grid lines with numbers below, and the axis's title in the middle. */
export function xAxis(
  scale: Scale,
  { left, right, top, bottom }: Frame,
  title: string,
  text: (tick: number) => string,
) {
  return html`<g class="axis">${scale.ticks.map(
    (tick) =>
      html`<line x1="${scale(tick)}" x2="${scale(tick)}" y1="${top}" y2="${bottom}"/><text x="${scale(tick)}" y="${bottom + 17}" text-anchor="middle">${text(tick)}</text>`,
  )}<text class="title" x="${(left + right) / 2}" y="${bottom + 36}" text-anchor="middle">${title}</text></g>`;
}

/** Horizontal grid lines with numbers at the left, and the axis's title above them. */
export function yAxis(scale: Scale, { left, right, top }: Frame, title: string, text: (tick: number) => string) {
  return html`<g class="axis">${scale.ticks.map(
    (tick) =>
      html`<line x1="${left}" x2="${right}" y1="${scale(tick)}" y2="${scale(tick)}"/><text x="${left - 7}" y="${scale(tick) + 4}" text-anchor="end">${text(tick)}</text>`,
  )}<text class="title" x="${left - 30}" y="${top - 12}">${title}</text></g>`;
}

/** A whole picture; `label` is what a screen reader says. */
export function svg(width: PlotWidth, height: number, label: string, content: Markup): Markup {
  return html`<svg class="${width}" viewBox="0 0 ${WIDTH[width]} ${height}" role="img" aria-label="${label}">${content}</svg>`;
}
