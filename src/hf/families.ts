/** The families of models that are run, trained and exported: a new one is a file of families/ and a line here. */

import assert from 'node:assert/strict';
import { CrayonError } from '../core/errors.js';
import type { BlockForm, GgufArchitecture, ModelFamily } from './families/family.js';
import { gemma3 } from './families/gemma3.js';
import { granite } from './families/granite.js';
import { llama } from './families/llama.js';
import { mistral } from './families/mistral.js';
import { olmo2 } from './families/olmo2.js';
import { phi3 } from './families/phi3.js';
import { qwen2 } from './families/qwen2.js';
import { qwen3 } from './families/qwen3.js';
import { smollm3 } from './families/smollm3.js';

const FAMILIES: readonly ModelFamily[] = [llama, mistral, qwen2, qwen3, gemma3, granite, olmo2, phi3, smollm3];

/** For help and messages. */
export const MODEL_TYPES = FAMILIES.map(({ modelType }) => modelType);
export const GGUF_ARCHITECTURES = [...new Set(FAMILIES.map(({ gguf }) => gguf.name))];

export function findFamily(modelType: unknown): ModelFamily | undefined {
  return FAMILIES.find((family) => family.modelType === modelType);
}

/** Of a model type that has been checked. */
export function familyOf(modelType: string): ModelFamily {
  const family = findFamily(modelType);
  assert(family !== undefined, `model_type ${modelType}`);
  return family;
}

/** What llama.cpp calls a model of this type, which has been checked. */
export function ggufArchitecture(modelType: string): GgufArchitecture {
  return familyOf(modelType).gguf;
}

function projectionNames({ projections: { attentionIn, attentionOut, mlpIn, mlpOut } }: BlockForm): string[] {
  return [...attentionIn, attentionOut, ...mlpIn, mlpOut];
}

/** The projections of a block that LoRA can target, in checkpoint order. */
export function projectionsOf(modelType: string): string[] {
  return projectionNames(familyOf(modelType).block);
}

/** The projections' last names of all families, each once: for help, and for checks while no model is open. */
export const PROJECTIONS = [...new Set(FAMILIES.flatMap(({ block }) => projectionNames(block).map(lastName)))];

function lastName(projection: string): string {
  return projection.split('.').at(-1)!;
}

/**
 * The projections that a user chose, in checkpoint order.
 *
 * @param targets `all`, or names such as `q_proj` or `self_attn.q_proj`
 * @throws CrayonError `bad-option` naming those that the family does not have
 */
export function chosenProjections(modelType: string, targets: readonly string[] | 'all'): string[] {
  const all = projectionsOf(modelType);
  if (targets === 'all') return all;
  const unknown = targets.filter((target) => !all.some((name) => name === target || lastName(name) === target));
  if (unknown.length === 0) return all.filter((name) => targets.includes(name) || targets.includes(lastName(name)));
  throw new CrayonError('bad-option', `${modelType} has no projection ${unknown.join(', ')}`, {
    hint: `Choose from ${all.map(lastName).join(', ')}.`,
  });
}

/** By `general.architecture` of a GGUF file; of families that llama.cpp runs alike, the first. */
export function findFamilyOfArchitecture(name: string): ModelFamily | undefined {
  return FAMILIES.find(({ gguf }) => gguf.name === name);
}
