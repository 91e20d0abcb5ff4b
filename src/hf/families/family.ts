/**
 * What is known of a family of models beyond the block they share: RMSNorm, rotary attention, gated SiLU feed-forward.
 * Each family is one object in a file here, listed in families.ts.
 */

import type { JsonObject } from '../../files/json.js';

/** A sane bound on the number of layers, so that a bad file cannot make us check millions of names. */
export const MAX_LAYERS = 10_000;

export interface ModelFamily {
  /** `model_type` of config.json */
  readonly modelType: string;
  /** Of transformers' configuration class, for keys that a config.json leaves out. */
  readonly defaults: {
    /** null: as many as query heads */
    numKvHeads: number | null;
    /** null: hidden size / query heads */
    headDim: number | null;
    maxPositionEmbeddings: number;
  };
  /** RMSNorm on each query and key head. */
  readonly qkNorm: boolean;
  /** Which projections have a bias: q, k and v; o; the feed-forward ones. */
  biases(read: ConfigReader): { attentionBias: boolean; attentionOutBias: boolean; mlpBias: boolean };
  /** Tokens that every layer sees back, itself included; null for all of them. @throws CrayonError `model-unsupported` */
  slidingWindow(read: ConfigReader, path: string): number | null;
  readonly gguf: GgufArchitecture;
}

/** How llama.cpp runs a family. */
export interface GgufArchitecture {
  /** `general.architecture`; families may share one */
  readonly name: string;
  /**
   * llama.cpp's rotary embedding turns neighbouring rows (2j, 2j + 1) of a head, transformers' rows (j, j + D/2): the rows
   * of q and k are reordered (`permute` of its converter's LlamaModel). Else both are the same.
   */
  readonly reordersHeads: boolean;
  /** It reads a bias of the o projection, and `rope_freqs.weight` of rope type llama3. */
  readonly hasOutBias: boolean;
  readonly hasRopeFactors: boolean;
  /**
   * Reading a file as a base model: the keys of config.json that its metadata stand for, beyond those that gguf/base-config.ts
   * makes for all architectures (sizes, eps, rotary embedding, context, ties). What is not read here is refused there.
   */
  config?(keys: GgufKeys): JsonObject;
}

/** A GGUF file's metadata by their keys without `<architecture>.`; undefined where a key or a tensor is absent. */
export interface GgufKeys {
  /** as the decimal that was written: 1e-6, not the float32 next to it */
  number(key: string): number | undefined;
  numbers(key: string): readonly number[] | undefined;
  text(key: string): string | undefined;
  flag(key: string): boolean | undefined;
  /** by llama.cpp's name */
  hasTensor(name: string): boolean;
  tensor(name: string): Float32Array | undefined;
}

/** Values of a config.json with transformers' defaults; what is wrong is collected and refused at once. */

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

  flag(key: string): boolean {
    return this.#take(key, false, (x) => typeof x === 'boolean', 'true or false');
  }

  tokenIds(key: string): number[] {
    const value = this.json[key];
    if (value === undefined || value === null) return [];
    const ids = Array.isArray(value) ? value : [value];
    if (ids.every((id) => Number.isSafeInteger(id) && id >= 0)) return ids;
    this.bad.push(`${key} is ${JSON.stringify(value)}, expected a token id or a list of them`);
    return [];
  }

  #take<T>(key: string, fallback: T | undefined, isValid: (value: unknown) => boolean, expected: string): T {
    const value = this.json[key] ?? fallback;
    if (!isValid(value)) this.bad.push(`${key} is ${JSON.stringify(value) ?? 'missing'}, expected ${expected}`);
    return value as T;
  }
}
