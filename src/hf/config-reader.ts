/** Values of a config.json with transformers' defaults; what is wrong is collected and refused at once. */

import type { JsonObject } from '../files/json.js';

export class ConfigReader {
  readonly bad: string[] = [];
  readonly json: JsonObject;

  constructor(json: JsonObject) {
    this.json = json;
  }

  /** A whole number from 1. A fallback is checked like a value that was given. */
  size(key: string, fallback?: number): number {
    return this.#take(key, fallback, (x) => Number.isSafeInteger(x) && (x as number) >= 1, 'a whole number from 1');
  }

  optionalSize(key: string, fallback: number): number | null {
    return this.json[key] === null ? null : this.size(key, fallback);
  }

  positive(key: string, fallback?: number): number {
    return this.#take(key, fallback, (x) => Number.isFinite(x) && (x as number) > 0, 'a number above 0');
  }

  /** A list of `length` numbers above 0. */
  positives(key: string, length: number): number[] {
    const isList = (x: unknown) =>
      Array.isArray(x) && x.length === length && x.every((y) => Number.isFinite(y) && y > 0);
    return this.#take<number[]>(key, undefined, isList, `a list of ${length} numbers above 0`);
  }

  flag(key: string, fallback = false): boolean {
    return this.#take(key, fallback, (x) => typeof x === 'boolean', 'true or false');
  }

  tokenIds(key: string): number[] {
    const value = this.json[key];
    if (value === undefined || value === null) return [];
    const ids = Array.isArray(value) ? value : [value];
    if (ids.every((id) => Number.isSafeInteger(id) && id >= 0)) return ids;
    this.bad.push(`${key} is ${JSON.stringify(value)}, expected a token id or a list of them`);
    return [];
  }

  /** Something of each layer; undefined where it is not given. */
  perLayer<T>(key: string, isItem: (item: unknown) => item is T, expected: string): T[] | undefined {
    const value = this.json[key];
    if (value === undefined || value === null) return undefined;
    const layers = this.json.num_hidden_layers;
    if (Array.isArray(value) && value.length === layers && value.every(isItem)) return value;
    this.bad.push(`${key} is no list of ${JSON.stringify(layers)} times ${expected}`);
    return undefined;
  }

  /** Which layers attend within a window only, of a `layer_types`; undefined where it is not given. */
  slidingLayers(): boolean[] | undefined {
    const isType = (item: unknown): item is string => item === 'full_attention' || item === 'sliding_attention';
    const types = this.perLayer('layer_types', isType, '"full_attention" or "sliding_attention"');
    return types?.map((type) => type === 'sliding_attention');
  }

  #take<T>(key: string, fallback: T | undefined, isValid: (value: unknown) => boolean, expected: string): T {
    const value = this.json[key] ?? fallback;
    if (!isValid(value)) this.bad.push(`${key} is ${JSON.stringify(value) ?? 'missing'}, expected ${expected}`);
    return value as T;
  }
}
