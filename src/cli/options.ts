/** Option parsers shared by the commands. Each turns a flag's text into a checked value or names what it expected. */

import { InvalidArgumentError, Option } from 'commander';
import { BACKENDS } from '../model/names.js';

/** A whole number within bounds. */
export const wholeNumber =
  (min: number, max = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      const upper = max === Number.MAX_SAFE_INTEGER ? '' : ` to ${max}`;
      throw new InvalidArgumentError(`"${text}" is not a whole number from ${min}${upper}.`);
    }
    return value;
  };

/** A decimal number, above `min` (or from it, when inclusive). */
export const decimal =
  (min: number, inclusive = false) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value) || value < min || (value === min && !inclusive)) {
      throw new InvalidArgumentError(`"${text}" is not a number ${inclusive ? 'from' : 'above'} ${min}.`);
    }
    return value;
  };

/** `0.2,0.5,-0.1` */
export function numberList(text: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  if (values.some((v) => !Number.isFinite(v))) {
    throw new InvalidArgumentError(`"${text}" is not a list of numbers such as 0.2,0.5,0.3.`);
  }
  return values;
}

/** Collects the values of an option that may be repeated. */
export const collect = (value: string, earlier: string[] = []): string[] => [...earlier, value];

export const backendOption = () =>
  new Option('--backend <name>', 'tensor back end; the choice is printed')
    .choices(['auto', ...BACKENDS])
    .default('auto')
    .env('CRAYON_BACKEND');
