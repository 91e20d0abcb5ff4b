/**
 * A Hugging Face model directory: config.json, weights in one safetensors file or several, tokenizer.json.
 *
 * Opening reads the headers only and checks every tensor's shape; weights are read one by one when asked for.
 */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { firstNonFinite } from '../core/vector.js';
import { warn } from '../core/warning.js';
import { sha256File } from '../files/digest.js';
import { exists, readSmallFile } from '../files/io.js';
import { decodeUtf8, isJsonObject, parseJson } from '../files/json.js';
import type { TensorInfo } from '../safetensors/header.js';
import type { SafetensorsFile } from '../safetensors/read.js';
import type { BaseModel, OpenBaseOptions } from './base-model.js';
import { type ModelConfig, parseModelConfig } from './config.js';
import { generationEndIds, tokenizerEosId } from './end-tokens.js';
import { familyOf } from './families.js';
import { loadTokenizer, type Tokenizer } from './tokenizer.js';
import type { VocabularyIndex } from './vocabulary-index.js';
import { checkTensors, FLOATS, openWeights, type Place, refuseVision, resolveTies, type Weights } from './weights.js';

export type { ModelConfig, RopeScaling } from './config.js';

const CONFIG = 'config.json';
const TOKENIZER = 'tokenizer.json';

/** Whether a directory looks like a Hugging Face model: it has a config.json. */
export function isModelDirectory(dir: string): boolean {
  return exists(join(dir, CONFIG));
}

/**
 * One open model.
 *
 * @example
 * const model = HfModel.open('models/crayon-edge');
 * const rows = model.readRowsF32('model.embed_tokens.weight', [1, 5, 9]); // (3, C)
 * model.close();
 */
export class HfModel implements BaseModel {
  readonly format = 'hf';
  readonly path: string;
  readonly config: ModelConfig;
  readonly names: readonly string[];
  readonly #configBytes: Uint8Array;
  readonly #generationEnds: readonly number[];
  #endTokenIds: readonly number[] | undefined;
  #tokenizerDigest: string | undefined;
  readonly #shards: readonly SafetensorsFile[];
  /** Where each tensor lies. */
  readonly #places: ReadonlyMap<string, Place>;

  private constructor(
    dir: string,
    config: ModelConfig,
    names: readonly string[],
    generationEnds: readonly number[],
    configBytes: Uint8Array,
    weights: Weights,
  ) {
    this.path = dir;
    this.config = config;
    this.names = names;
    this.#generationEnds = generationEnds;
    this.#configBytes = configBytes;
    this.#shards = weights.shards;
    this.#places = weights.places;
  }

  /**
   * Opens a model directory.
   *
   * @param options.someWeights see OpenBaseOptions
   * @throws CrayonError `path-not-recognised`, `model-unsupported`, `model-invalid` (all bad tensors at once), or what
   *   reading the files throws
   */
  static open(dir: string, { someWeights = false }: OpenBaseOptions = {}): HfModel {
    const configPath = join(dir, CONFIG);
    if (!exists(configPath)) {
      const found = exists(dir) ? 'has no config.json, so is not a Hugging Face model directory' : 'no such directory';
      throw new CrayonError(exists(dir) ? 'path-not-recognised' : 'file-not-found', `${dir}: ${found}`, {
        hint: 'Name a directory with config.json, model.safetensors and tokenizer.json, as save_pretrained() writes it, or a GGUF file.',
      });
    }
    const configBytes = readSmallFile(configPath, LIMITS.configBytes);
    const json = parseJson(decodeUtf8(configBytes, configPath), configPath);
    if (!isJsonObject(json)) throw new CrayonError('json-invalid', `${configPath}: expected a JSON object`);
    const config = parseModelConfig(json, configPath);
    const generationEnds = generationEndIds(dir, config.vocabSize);
    const weights = openWeights(dir);
    try {
      refuseVision(dir, weights.places);
      const resolved = resolveTies(dir, config, weights, someWeights);
      checkTensors(dir, expectedShapes(resolved), weights);
      if (exists(join(dir, 'adapter_config.json'))) {
        warn(`${dir}: has a PEFT adapter beside the model, which is not applied: give its directory as the adapter.`);
      }
      const { _name_or_path: name } = json;
      const names = typeof name === 'string' && name !== '' ? [name] : [];
      return new HfModel(dir, resolved, names, generationEnds, configBytes, weights);
    } catch (error) {
      for (const shard of weights.shards) shard.close();
      throw error;
    }
  }

  /**
   * Every token at which an answer ends, the tokenizer's EOS first: what the tokenizer, config.json and generation_config.json
   * say together. (transformers lets the last one overrule the others; a model is never served beyond its own EOS here.)
   */
  get endTokenIds(): readonly number[] {
    if (this.#endTokenIds === undefined) {
      const eos = tokenizerEosId(this.path);
      this.#endTokenIds = [...new Set([...(eos === null ? [] : [eos]), ...this.#otherEnds])];
    }
    return this.#endTokenIds;
  }

  tensorNames(): string[] {
    return [...this.#places.keys()];
  }

  /** Type and shape of a tensor. */
  info(name: string): TensorInfo {
    const { file, name: stored } = this.#placeOf(name);
    return file.info(stored);
  }

  /** A weight as float32, row-major. @throws CrayonError `tensor-not-finite` naming all bad tensors */
  readF32(name: string): Float32Array {
    const { file, name: stored } = this.#placeOf(name);
    return this.#refuseNonFinite(file.readF32(stored));
  }

  /** Some rows of a matrix: (rows.length, columns). @throws CrayonError `tensor-not-finite` naming all bad tensors */
  readRowsF32(name: string, rows: ArrayLike<number>): Float32Array {
    const { file, name: stored } = this.#placeOf(name);
    return this.#refuseNonFinite(file.readRowsF32(stored, rows));
  }

  /**
   * An identity that does not depend on reading gigabytes: SHA-256 over config.json and, for each weight file, its
   * size, its header and 64 blocks of 4 KiB spread evenly over it (all of it when it is below 16 MiB). A retrained or
   * merged model differs in every block; a change confined to a few unread bytes of a large file is not seen.
   */
  digest(): string {
    const hash = createHash('sha256').update(this.#configBytes);
    for (const shard of this.#shards)
      hash.update(`\n${shard.sizeBytes}\n`).update(shard.sample(64, 4096, 16 * 2 ** 20));
    return hash.digest('hex');
  }

  /** SHA-256 of tokenizer.json, as it was when first asked for. */
  tokenizerDigest(): string {
    this.#tokenizerDigest ??= sha256File(join(this.path, TOKENIZER));
    return this.#tokenizerDigest;
  }

  tokenizer(index?: VocabularyIndex): Tokenizer {
    return loadTokenizer(this.path, this.#otherEnds, index);
  }

  /** Beside the tokenizer's EOS, which the tokenizer itself knows. */
  get #otherEnds(): number[] {
    return [...this.config.eosTokenIds, ...this.#generationEnds];
  }

  close(): void {
    for (const shard of this.#shards) shard.close();
  }

  #placeOf(name: string): Place {
    const place = this.#places.get(name);
    if (place === undefined) throw new CrayonError('model-invalid', `${this.path}: has no tensor "${name}"`);
    return place;
  }

  #refuseNonFinite(data: Float32Array): Float32Array {
    if (firstNonFinite(data) === -1) return data;
    const bad = this.#nonFinite();
    const names = bad.map((tensor) => `"${tensor}"`);
    throw new CrayonError('tensor-not-finite', `${this.path}: NaN or infinity in ${abridge(names, 10, ', ')}`, {
      hint: 'The model file is damaged or was saved by a failed run.',
    });
  }

  /** Names of all weights with NaN or infinity: reads everything, so only once one is known to be bad. */
  #nonFinite(): string[] {
    const isBad = ([, { file, name }]: [string, Place]) =>
      FLOATS.includes(file.info(name).dtype) && firstNonFinite(file.readF32(name)) !== -1;
    return [...this.#places].filter(isBad).map(([name]) => name);
  }
}

/** One linear layer of a block: (out, in). */
export interface ProjectionShape {
  /** within the layer: `self_attn.q_proj` */
  name: string;
  out: number;
  in: number;
  hasBias: boolean;
}

/** The linear layers of every block, in checkpoint order. */
export function projectionShapes(config: ModelConfig): ProjectionShape[] {
  const { hiddenSize: C, intermediateSize: I, headDim: D, numHeads, numKvHeads } = config;
  const { attentionIn, attentionOut, mlpIn, mlpOut } = familyOf(config.modelType).block.projections;
  // What reads one input is one matrix each, or one for all, the parts one below another.
  const group = (names: readonly string[], parts: number[], inputs: number, hasBias: boolean): ProjectionShape[] => {
    const outs = names.length === 1 ? [parts.reduce((a, b) => a + b)] : parts;
    return names.map((name, i) => ({ name, out: outs[i]!, in: inputs, hasBias }));
  };
  return [
    ...group(attentionIn, [numHeads * D, numKvHeads * D, numKvHeads * D], C, config.attentionBias),
    ...group([attentionOut], [C], numHeads * D, config.attentionOutBias),
    ...group(mlpIn, [I, I], C, config.mlpBias),
    ...group([mlpOut], [C], I, config.mlpBias),
  ];
}

/** Every tensor of the model with its shape; C hidden size, V vocabulary, D head size. */
export function expectedShapes(config: ModelConfig): Map<string, number[]> {
  const { hiddenSize: C, vocabSize: V, headDim: D, numHeads, numKvHeads } = config;
  const { norms, qkNorm } = familyOf(config.modelType).block;
  const shapes = new Map<string, number[]>([
    ['model.embed_tokens.weight', [V, C]],
    ['model.norm.weight', [C]],
  ]);
  if (!config.tieWordEmbeddings) shapes.set('lm_head.weight', [V, C]);
  const projections = projectionShapes(config);
  for (let layer = 0; layer < config.numLayers; layer++) {
    const prefix = `model.layers.${layer}`;
    for (const { name, out, in: inputs, hasBias } of projections) {
      shapes.set(`${prefix}.${name}.weight`, [out, inputs]);
      if (hasBias) shapes.set(`${prefix}.${name}.bias`, [out]);
    }
    for (const norm of [norms.attentionIn, norms.attentionOut, norms.mlpIn, norms.mlpOut]) {
      if (norm !== null) shapes.set(`${prefix}.${norm}.weight`, [C]);
    }
    if (qkNorm !== null) {
      shapes.set(`${prefix}.self_attn.q_norm.weight`, [qkNorm === 'head' ? D : numHeads * D]);
      shapes.set(`${prefix}.self_attn.k_norm.weight`, [qkNorm === 'head' ? D : numKvHeads * D]);
    }
  }
  return shapes;
}
