/**
 * The weights of a Hugging Face directory: one safetensors file or several with an index, checked against what config.json says
 * that the model has. Where the two contradict each other it goes as in transformers, and the user is told; what would leave
 * weights of a layer out is refused.
 */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { warn } from '../core/warning.js';
import { exists } from '../files/io.js';
import { isJsonObject, readJsonObject } from '../files/json.js';
import type { TensorInfo } from '../safetensors/header.js';
import { SafetensorsFile } from '../safetensors/read.js';
import type { ModelConfig } from './config.js';

const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** Types of weights. */
export const FLOATS: readonly string[] = ['F64', 'F32', 'F16', 'BF16'];

const EMBEDDINGS = 'model.embed_tokens.weight';
const OUTPUT = 'lm_head.weight';

/** Where a tensor lies: in which file, and under which name there. */
export interface Place {
  readonly file: SafetensorsFile;
  readonly name: string;
}

export interface Weights {
  readonly shards: readonly SafetensorsFile[];
  readonly places: Map<string, Place>;
  /** in a file, but the index does not say so: not read */
  readonly unnamed: readonly string[];
}

/** @throws CrayonError `file-not-found`, `model-unsupported` for a pickle, `model-invalid` for an index that is wrong */
export function openWeights(dir: string): Weights {
  const single = join(dir, WEIGHTS);
  if (exists(single)) {
    const file = SafetensorsFile.open(single);
    return {
      shards: [file],
      places: new Map([...file.tensors.keys()].map((name) => [name, { file, name }])),
      unnamed: [],
    };
  }
  if (exists(join(dir, INDEX))) return openShards(dir);
  if (exists(join(dir, 'pytorch_model.bin')) || exists(join(dir, 'pytorch_model.bin.index.json'))) {
    throw new CrayonError('model-unsupported', `${dir}: pytorch_model.bin is a pickle, which can run code when read`, {
      hint: 'Convert it: load it with transformers and save_pretrained() it again.',
    });
  }
  throw new CrayonError('file-not-found', `${dir}: has neither ${WEIGHTS} nor ${INDEX}`, {
    hint: 'The download is not complete, or the weights are stored in another format: only safetensors is read.',
  });
}

function openShards(dir: string): Weights {
  const path = join(dir, INDEX);
  const { weight_map: map } = readJsonObject(path, LIMITS.indexBytes);
  if (!isJsonObject(map) || Object.keys(map).length === 0) {
    throw new CrayonError('model-invalid', `${path}: expected an object weight_map from tensor to file name`);
  }
  const fileNames = [...new Set(Object.values(map))].sort();
  // A plain name stays in the directory; anything with a separator could point elsewhere on this machine.
  const bad = fileNames.filter((name) => typeof name !== 'string' || !/^[\w][\w.-]*\.safetensors$/.test(name));
  if (bad.length > 0) {
    const shown = bad.slice(0, 5).map((name) => JSON.stringify(name));
    throw new CrayonError(
      'model-invalid',
      `${path}: weight_map names ${shown.join(', ')}, expected files of this directory`,
    );
  }
  if (fileNames.length > LIMITS.shards) {
    throw new CrayonError('model-invalid', `${path}: ${fileNames.length} files, expected at most ${LIMITS.shards}`);
  }
  const shards = new Map<string, SafetensorsFile>();
  try {
    for (const name of fileNames as string[]) shards.set(name, SafetensorsFile.open(join(dir, name)));
    const places = new Map(Object.entries(map).map(([name, at]) => [name, { file: shards.get(at as string)!, name }]));
    const missing = [...places].filter(([name, { file }]) => !file.tensors.has(name));
    if (missing.length > 0) {
      const shown = missing.slice(0, 10).map(([name, { file }]) => `"${name}" is not in ${file.path}`);
      throw new CrayonError('model-invalid', `${path}: ${shown.join('; ')}`);
    }
    const unnamed = [...shards].flatMap(([at, { tensors }]) =>
      [...tensors.keys()].filter((name) => map[name] !== at).map((name) => `${name} in ${at}`),
    );
    return { shards: [...shards.values()], places, unnamed };
  } catch (error) {
    for (const shard of shards.values()) shard.close();
    throw error;
  }
}

/** What a checkpoint that could see holds beside its language model. */
const VISION = /(^|\.)(vision_tower|vision_model|multi_modal_projector)\./;

/** @throws CrayonError `model-unsupported` */
export function refuseVision(dir: string, places: ReadonlyMap<string, unknown>): void {
  const vision = [...places.keys()].filter((name) => VISION.test(name));
  if (vision.length === 0) return;
  throw new CrayonError('model-unsupported', `${dir}: weights of a vision model (${abridge(vision, 3, ', ')})`, {
    hint: 'Save its language model alone, for Gemma 3 as Gemma3ForCausalLM.',
  });
}

/**
 * Whether the output matrix is the embedding table, as transformers 5 finds it (`tie_weights` in modeling_utils.py): where
 * config.json ties them and both are in the file, they stay apart unless they are equal, and where only one is there, it
 * is both.
 *
 * @param someWeights the caller reads no output matrix: whether the two are equal, which takes reading both, is not asked
 */
export function resolveTies(dir: string, config: ModelConfig, { places }: Weights, someWeights: boolean): ModelConfig {
  const output = places.get(OUTPUT);
  if (!config.tieWordEmbeddings || output === undefined) return config;
  const embeddings = places.get(EMBEDDINGS);
  if (embeddings === undefined) {
    places.set(EMBEDDINGS, output);
    return config;
  }
  if (someWeights || areEqual(embeddings, output)) return config;
  warn(
    `${dir}: config.json has tie_word_embeddings true, but ${OUTPUT} is another matrix than ${EMBEDDINGS}: each is used ` +
      'for what it is named after, as in transformers 5. Write "tie_word_embeddings": false to settle it, or take ' +
      `${OUTPUT} out of the file if the embeddings are meant for both.`,
  );
  return { ...config, tieWordEmbeddings: false };
}

/** What is compared at a time, in bytes. */
const COMPARED_BYTES = 2 ** 22;

/** Bit for bit where both are of one type, which costs no more than reading them; else as float32. */
function areEqual(a: Place, b: Place): boolean {
  const [ofA, ofB] = [a.file.info(a.name), b.file.info(b.name)];
  if (String(ofA.shape) !== String(ofB.shape)) return false;
  if (!FLOATS.includes(ofA.dtype) || !FLOATS.includes(ofB.dtype)) return false;
  if (ofA.dtype !== ofB.dtype) {
    const values = b.file.readF32(b.name);
    return a.file.readF32(a.name).every((value, i) => value === values[i]);
  }
  const [start, end] = ofA.dataOffsets;
  const chunks = [new Uint8Array(COMPARED_BYTES), new Uint8Array(COMPARED_BYTES)] as const;
  for (let at = 0; at < end - start; at += COMPARED_BYTES) {
    const [x, y] = chunks.map((chunk) => chunk.subarray(0, Math.min(COMPARED_BYTES, end - start - at)));
    a.file.readBytesInto(a.name, at, x!);
    b.file.readBytesInto(b.name, at, y!);
    if (Buffer.compare(x!, y!) !== 0) return false;
  }
  return true;
}

/** Buffers that old versions of transformers saved and no version computes with (`_adjust_missing_and_unexpected_keys`). */
const BUFFERS = /rotary_emb\.inv_freq|(^|\.)position_ids$/;

/**
 * @param expected every tensor of the model with its shape
 * @throws CrayonError `model-invalid` naming all tensors that are missing, of another shape or type, or of a layer that
 *   config.json does not speak of; what else is there and not computed with is named in a warning
 */
export function checkTensors(dir: string, expected: ReadonlyMap<string, readonly number[]>, weights: Weights): void {
  const { places, unnamed } = weights;
  const bad: string[] = [];
  for (const [name, shape] of expected) {
    const place = places.get(name);
    const info: TensorInfo | undefined = place?.file.info(place.name);
    if (info === undefined) {
      const hint = name === OUTPUT ? ' (tie_word_embeddings is false or not given)' : '';
      bad.push(`"${name}" is missing${hint}, expected [${shape}]`);
    } else if (info.shape.length !== shape.length || info.shape.some((size, i) => size !== shape[i])) {
      bad.push(`"${name}" has shape [${info.shape}], expected [${shape}]`);
    } else if (!FLOATS.includes(info.dtype)) {
      bad.push(`"${name}" is ${info.dtype}, expected a float type`);
    }
  }
  const others = [...places.keys()].filter((name) => !expected.has(name) && !BUFFERS.test(name) && name !== OUTPUT);
  const [ofLayers, unused] = [others.filter(isOfLayer), others.filter((name) => !isOfLayer(name))];
  bad.push(...ofLayers.map((name) => `"${name}" is not expected by config.json`));
  if (bad.length > 0) {
    throw new CrayonError('model-invalid', `${dir}: ${abridge(bad, 20)}`, {
      hint: hintFor(expected, weights, ofLayers),
    });
  }
  const left = [...unused, ...unnamed];
  if (left.length === 0) return;
  const shown = abridge(
    left.map((name) => JSON.stringify(name)),
    5,
    ', ',
  );
  warn(`${dir}: ${left.length} weights of the file are not used: ${shown}. transformers leaves them out as well.`);
}

const isOfLayer = (name: string) => name.startsWith('model.layers.');

/** What is likeliest wrong, seen from the tensors that are there. */
function hintFor(
  expected: ReadonlyMap<string, unknown>,
  { places, unnamed }: Weights,
  ofLayers: readonly string[],
): string {
  const names = [...places.keys()];
  const missing = [...expected.keys()].filter((name) => !places.has(name));
  if (names.some((name) => /\.lora_[AB]\./.test(name))) {
    return 'These are weights of a PEFT adapter: name its base model here, and the adapter with --adapter.';
  }
  if (names.some((name) => /\.(qweight|qzeros|weight_packed|weight_scale|absmax)$/.test(name))) {
    return 'The weights are quantised: use the float16, bfloat16 or float32 version of the model, or a GGUF of it.';
  }
  const prefixed = names.find((name) => missing.some((wanted) => name.endsWith(`.${wanted}`)));
  if (prefixed !== undefined) {
    return `The names have more before them ("${prefixed}"), as wrappers and compiled models save them: save the model itself again.`;
  }
  if (missing.length > 0 && missing.every((name) => unnamed.some((one) => one.startsWith(`${name} in `)))) {
    return `${INDEX} does not name tensors that are in the files: write it anew, by save_pretrained().`;
  }
  if (ofLayers.length > 0 && missing.length === 0) {
    return 'config.json says less than the weights have (num_hidden_layers, attention_bias, mlp_bias, model_type): it belongs to another model.';
  }
  if (missing.length > 0 && ofLayers.length === 0) {
    return 'The weights are incomplete (a download that broke off?), or config.json belongs to a larger model.';
  }
  return 'The weights do not belong to this config.json.';
}
