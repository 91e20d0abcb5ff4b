/** The families of models that are run, trained and exported: a new one is a file of families/ and a line here. */

import assert from 'node:assert/strict';
import type { GgufArchitecture, ModelFamily } from './families/family.js';
import { llama } from './families/llama.js';
import { mistral } from './families/mistral.js';
import { qwen2 } from './families/qwen2.js';
import { qwen3 } from './families/qwen3.js';

const FAMILIES: readonly ModelFamily[] = [llama, mistral, qwen2, qwen3];

/** For help and messages. */
export const MODEL_TYPES = FAMILIES.map(({ modelType }) => modelType);
export const GGUF_ARCHITECTURES = [...new Set(FAMILIES.map(({ gguf }) => gguf.name))];

export function findFamily(modelType: unknown): ModelFamily | undefined {
  return FAMILIES.find((family) => family.modelType === modelType);
}

/** What llama.cpp calls a model of this type, which has been checked. */
export function ggufArchitecture(modelType: string): GgufArchitecture {
  const family = findFamily(modelType);
  assert(family !== undefined, `model_type ${modelType}`);
  return family.gguf;
}

/** By `general.architecture` of a GGUF file; of families that llama.cpp runs alike, the first. */
export function findFamilyOfArchitecture(name: string): ModelFamily | undefined {
  return FAMILIES.find(({ gguf }) => gguf.name === name);
}
