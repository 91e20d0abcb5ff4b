/**
 * What crayon uses of node-llama-cpp that its types do not show: llama.cpp's context itself, whose adapters can be changed between two
 * decodes. Its own queue keeps a lock while any sequence computes, and has one set of adapters for a context's whole life; with it, a
 * question would wait for another one's whole answer, and every set would take a KV cache of its own. All of it is in this file, and
 * checked when the engine opens, so that a version which looks otherwise inside is refused there.
 */

import { resolve } from 'node:path';
import type { LlamaContext, LlamaModel } from 'node-llama-cpp';
import { CrayonError } from '../../core/errors.js';

/** A LoRA in llama.cpp's memory. */
export interface HeldLora {
  dispose(): Promise<void>;
}

/** Which logits are told: none, all, or some: these tokens', the least and largest, the chosen one's, so many of the likeliest. */
export type ToldLogits =
  | boolean
  | [tokens: readonly number[], max: boolean, min: boolean, chosen: boolean, likeliest: number];

export type Sampled = [
  token: number | undefined,
  probabilities: undefined,
  confidence: undefined,
  logits: number[] | undefined,
  total: number | undefined,
];

/** llama.cpp's context: one call at a time. */
export interface AddonContext {
  initBatch(size: number): void;
  /** @returns the places of the outputs in the batch */
  addToBatch(sequence: number, position: number, tokens: Uint32Array, outputs: Uint32Array): Uint32Array;
  decodeBatch(): Promise<void>;
  sampleToken(
    place: number,
    sampler: AddonSampler,
    probabilities: false,
    confidence: false,
    logits: ToldLogits,
    total: boolean,
  ): Promise<Sampled>;
  /** @returns false where the cache cannot do it: nothing has changed */
  removeTokenCellsFromSequence(sequence: number, start: number, end: number): boolean;
  disposeSequence(sequence: number): void;
  /** the first position that the cache still has everything of; -1 of an empty sequence */
  getSequenceKvCacheMinPosition(sequence: number): number;
  setLoras(loras: readonly HeldLora[], scales: readonly number[]): void;
  getThreads(): number;
  setThreads(threads: number): void;
}

export interface AddonSampler {
  applyConfig(config: object): void;
  dispose(): void;
}

/** A grammar that llama.cpp has read, and where an answer stands in one. */
export type GrammarText = object & { readonly brand: 'grammar' };
export type GrammarState = object & { readonly brand: 'state' };

interface Bindings {
  AddonSampler: {
    new (model: object): AddonSampler;
    acceptGrammarEvaluationStateToken(state: GrammarState, token: number): void;
    canBeNextTokenForGrammarEvaluationState(state: GrammarState, token: number): boolean;
  };
  AddonGrammar: new (text: string, params: { addonExports: object; rootRuleName: string }) => GrammarText;
  AddonGrammarEvaluationState: new (model: object, grammar: GrammarText) => GrammarState;
}

interface ModelInside {
  _getOrLoadLora(path: string): Promise<HeldLora>;
  _loraAdapters: Map<string, HeldLora>;
  _model: object;
  _llama: { _bindings: Bindings };
}

const CALLS = [
  ...(['initBatch', 'addToBatch', 'decodeBatch', 'sampleToken', 'removeTokenCellsFromSequence'] as const),
  ...(['disposeSequence', 'getSequenceKvCacheMinPosition', 'setLoras', 'getThreads', 'setThreads'] as const),
];

/** @throws CrayonError `engine-unavailable` where node-llama-cpp looks otherwise inside */
export function insideOf(context: LlamaContext): AddonContext {
  const { _ctx: addon } = context as unknown as { _ctx?: Partial<AddonContext> };
  for (const call of CALLS) if (typeof addon?.[call] !== 'function') throw otherInside(`_ctx.${call}`);
  return addon as AddonContext;
}

/** Takes the likeliest token. @throws as `insideOf` */
export function greedySampler(model: LlamaModel): AddonSampler {
  const { _model, _llama } = model as unknown as Partial<ModelInside>;
  const Sampler = _llama?._bindings?.AddonSampler;
  if (typeof Sampler !== 'function' || _model === undefined) throw otherInside('AddonSampler');
  const sampler = new Sampler(_model);
  sampler.applyConfig({});
  return sampler;
}

/** Grammars of a model's tokens. `parse` throws a plain Error for a text that is none. @throws as `insideOf` */
export function grammarsOf(model: LlamaModel) {
  const { _model, _llama } = model as unknown as Partial<ModelInside>;
  const {
    AddonSampler: sampler,
    AddonGrammar,
    AddonGrammarEvaluationState,
  } = _llama?._bindings ?? ({} as Partial<Bindings>);
  const calls = [
    ...[AddonGrammar, AddonGrammarEvaluationState],
    ...[sampler?.acceptGrammarEvaluationStateToken, sampler?.canBeNextTokenForGrammarEvaluationState],
  ];
  if (_model === undefined || calls.some((call) => typeof call !== 'function')) throw otherInside('AddonGrammar');
  const State = AddonGrammarEvaluationState!;
  return {
    parse: (text: string) => new AddonGrammar!(text, { addonExports: _llama!._bindings, rootRuleName: 'root' }),
    start: (grammar: GrammarText) => new State(_model, grammar),
    accept: (state: GrammarState, token: number) => sampler!.acceptGrammarEvaluationStateToken(state, token),
    allows: (state: GrammarState, token: number) => sampler!.canBeNextTokenForGrammarEvaluationState(state, token),
  };
}

/** @throws as `insideOf`; what llama.cpp throws for a file that is no LoRA of the model */
export async function loadLora(model: LlamaModel, path: string): Promise<HeldLora> {
  const inside = model as unknown as Partial<ModelInside>;
  if (typeof inside._getOrLoadLora !== 'function') throw otherInside('_getOrLoadLora');
  return inside._getOrLoadLora(path);
}

/**
 * Frees a LoRA that no context has set. node-llama-cpp itself keeps each until the model goes, some megabytes a customisation.
 *
 * @returns whether it was loaded and is freed
 */
export async function freeLora(model: LlamaModel, path: string): Promise<boolean> {
  const { _loraAdapters: loaded } = model as unknown as Partial<ModelInside>;
  if (model.disposed || !(loaded instanceof Map)) return false;
  const key = resolve(path);
  const lora = loaded.get(key);
  if (typeof lora?.dispose !== 'function') return false;
  loaded.delete(key);
  await lora.dispose();
  return true;
}

function otherInside(what: string): CrayonError {
  return new CrayonError('engine-unavailable', `node-llama-cpp has no ${what}: this version looks otherwise inside`, {
    hint: 'Install the version that package.json names.',
  });
}
