/**
 * HTML and SVG by tagged templates that escape: whatever is put into one is text, unless it is markup already. A task's
 * name cannot become a tag by being forgotten.
 */

import assert from 'node:assert/strict';
import { visible } from '../words.js';

/** Text that is HTML or SVG; made by `html` only. */
export class Markup {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
}

type Value = string | number | Markup | readonly Markup[];

/** Markup with every value escaped for element content and quoted attributes. Numbers must be finite. */
export function html(strings: TemplateStringsArray, ...values: readonly Value[]): Markup {
  let text = strings[0]!;
  for (const [i, value] of values.entries()) text += rendered(value) + strings[i + 1]!;
  return new Markup(text);
}

function rendered(value: Value): string {
  if (value instanceof Markup) return value.text;
  if (typeof value === 'string') return escapeHtml(value);
  if (typeof value !== 'number') return value.map((part) => part.text).join('');
  assert.ok(Number.isFinite(value), 'html: a number that is not finite');
  return String(Number(value.toFixed(2))); // a hundredth of a pixel
}

export const NOTHING = new Markup('');

export function escapeHtml(text: string): string {
  return visible(text)
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;')
    .replace(/'/g, '&#39;');
}
