/** Where the fixtures lie, and how far two arrays of numbers are apart. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SafetensorsFile } from '../../src/safetensors/read.js';

/** The repository. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

export const fixture = (...parts: string[]): string => join(ROOT, 'test', 'fixtures', ...parts);

/** Models and PEFT adapters that scripts/fixtures makes, one of each family at least. */
export const ADAPTED_MODELS = [
  'llama',
  'llama-rope3',
  'mistral',
  'qwen2',
  'qwen3',
  'gemma3',
  'granite',
  'olmo2',
  'phi3',
  'smollm3',
];
export const MODELS = [...ADAPTED_MODELS, 'llama-linear'];

/** Real data sets and models that lie beside the repository on its developers' machines, not in it. */
export const shared = (...parts: string[]): string => join(ROOT, '..', 'shared', 'data', ...parts);
export const hasShared = existsSync(shared());

export function fixtureJson<T>(...parts: string[]): T {
  return JSON.parse(readFileSync(fixture(...parts), 'utf8')) as T;
}

/** All float tensors of a fixture file. */
export function fixtureTensors(...parts: string[]): Map<string, Float32Array> {
  const file = SafetensorsFile.open(fixture(...parts));
  const tensors = new Map([...file.tensors.keys()].map((name) => [name, file.readF32(name)]));
  file.close();
  return tensors;
}

/** max |x - y| / max |y|: how far x is from the reference y, relative to y's largest value. */
export function relativeDifference(x: ArrayLike<number>, y: ArrayLike<number>): number {
  if (x.length !== y.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < y.length; i++) {
    difference = Math.max(difference, Number.isNaN(x[i]!) ? Number.POSITIVE_INFINITY : Math.abs(x[i]! - y[i]!));
    largest = Math.max(largest, Math.abs(y[i]!));
  }
  return difference / (largest || 1);
}
