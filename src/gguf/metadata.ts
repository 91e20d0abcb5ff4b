/** Typed access to a GGUF file's metadata: a value of another type than its key promises is an error, an absent one is not. */

import { ggufInvalid } from './errors.js';
import type { GgufMetadata } from './types.js';

/** @throws CrayonError `gguf-invalid` when it is no text */
export function ggufString(metadata: GgufMetadata, key: string, path: string): string | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type !== 'string') throw ggufInvalid(path, `${key} is ${entry.type}, expected string`);
  return entry.value;
}

/** A number of any width; 64-bit ones are rounded to a double. @throws CrayonError `gguf-invalid` when it is none */
export function ggufNumber(metadata: GgufMetadata, key: string, path: string): number | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (typeof entry.value === 'number' || typeof entry.value === 'bigint') return Number(entry.value);
  throw ggufInvalid(path, `${key} is ${entry.type}, expected a number`);
}

/** A whole number of at least `least`. @throws CrayonError `gguf-invalid` */
export function ggufCount(metadata: GgufMetadata, key: string, path: string, least = 1): number | undefined {
  const value = ggufNumber(metadata, key, path);
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return value;
  throw ggufInvalid(path, `${key} is ${value}, expected a whole number of at least ${least}`);
}

/** @throws CrayonError `gguf-invalid` when it is no truth value */
export function ggufBool(metadata: GgufMetadata, key: string, path: string): boolean | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type !== 'bool') throw ggufInvalid(path, `${key} is ${entry.type}, expected bool`);
  return entry.value;
}

/** @throws CrayonError `gguf-invalid` when it is no array of texts */
export function ggufStrings(metadata: GgufMetadata, key: string, path: string): readonly string[] | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type === 'array' && entry.of === 'string') return entry.value;
  throw ggufInvalid(path, `${key} is ${describe(entry)}, expected an array of string`);
}

/** Numbers of 32 bits or fewer. @throws CrayonError `gguf-invalid` when it is no array of such numbers */
export function ggufNumbers(metadata: GgufMetadata, key: string, path: string): readonly number[] | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type === 'array' && isNumeric(entry)) return entry.value;
  throw ggufInvalid(path, `${key} is ${describe(entry)}, expected an array of numbers`);
}

type GgufArray = Extract<ReturnType<GgufMetadata['get']>, { type: 'array' }>;
type NumberArray = Extract<GgufArray, { value: number[] }>;

function isNumeric(entry: GgufArray): entry is NumberArray {
  return !['string', 'bool', 'uint64', 'int64'].includes(entry.of);
}

function describe(entry: NonNullable<ReturnType<GgufMetadata['get']>>): string {
  return entry.type === 'array' ? `an array of ${entry.of}` : entry.type;
}
