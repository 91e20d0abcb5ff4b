/** Option parsers shared by the commands. Each turns a flag's text into a checked value or names what it expected. */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseBytes } from '../core/format.js';
import type { DatasetOptions } from '../data/dataset.js';
import { TURNS } from '../data/record.js';
import { PROMPT_FORMS } from '../hf/prompt-form.js';
import { BACKENDS, type BackendName } from '../model/names.js';

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

/** `6GB`, `800MB`, `5.5GiB` */
export function byteCount(text: string): number {
  const bytes = parseBytes(text);
  if (!(bytes > 0)) throw new InvalidArgumentError(`"${text}" is not a size such as 6GB, 800MB or 5.5GiB.`);
  return bytes;
}

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

/** One of these values; `preset` where it is not given. */
export const choice = (flags: string, description: string, values: readonly string[], preset?: string): Option =>
  new Option(flags, description).choices(values).default(preset);

export interface BackendFlag {
  backend: BackendName | 'auto';
}

export const backendOption = () =>
  choice('--backend <name>', 'tensor back end; the choice is printed', ['auto', ...BACKENDS], 'auto').env(
    'CRAYON_BACKEND',
  );

/** Data sets, and what is read of them. */
export interface DataFlags extends DatasetOptions {
  data: string[];
  seed: number;
}

/** @param what the examples are, with the formats that they may have */
export function dataOptions(command: Command, what: string, split?: string): Command {
  return splitOptions(command.requiredOption('--data <file>', `${what}; may be repeated`, collect), split).option(
    '--limit <n>',
    'at most this many examples of each file, drawn with the seed',
    wholeNumber(1),
  );
}

/** The form of prompts, for commands that make something new or may be told of it. */
export function promptFormOption(by: string): Option {
  return choice(
    '--prompt-form <form>',
    `give prompts as conversations or as plain text (default: ${by})`,
    PROMPT_FORMS,
  );
}

/** For commands that take an adapter or a pool and a model. */
export const anyBaseOption = () =>
  new Option(
    '--any-base',
    'take an adapter or a pool of another base model: a warning in place of the refusal',
  ).default(false);

const TURNS_OF = 'which answers of a conversation are examples, each with all that stands before it (default: last)';

export const turnsOption = () => choice('--turns <which>', TURNS_OF, TURNS);

/** For the YAML of a data set. */
export function splitOptions(command: Command, split?: string): Command {
  const otherwise = split === undefined ? ' (default: train)' : '';
  return command
    .option('--data-dir <dir>', 'where the paths inside a YAML start')
    .option('--split <name>', `split to read where a YAML names several${otherwise}`, split);
}

/** For commands whose pool may be an address. */
export interface PoolFlags {
  poolKeyEnv?: string;
  /** bytes */
  poolCache?: number;
  cacheDir?: string;
}

export const POOL_PLACE = 'directory written by build-pool, or the http(s) address of one';

/** @param withCacheDir where the command has no --cache-dir of its own */
export function poolOptions(command: Command, withCacheDir = true): Command {
  if (withCacheDir) command.option('--cache-dir <dir>', 'where what is fetched of a pool by address is kept');
  return command
    .option('--pool-key-env <name>', 'environment variable that holds the key of a pool by address')
    .option('--pool-cache <size>', 'the most that all fetched pools may take, such as 2GB (default: 4GiB)', byteCount);
}
