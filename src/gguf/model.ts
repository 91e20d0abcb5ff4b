/**
 * A Hugging Face model directory as one GGUF file: tensors, hyperparameters and tokenizer, as llama.cpp's
 * convert_hf_to_gguf.py writes them (conversion/base.py, llama.py, qwen.py).
 */

import { basename, resolve } from 'node:path';
import { CrayonError } from '../core/errors.js';
import type { ModelConfig } from '../hf/config.js';
import { ggufArchitecture } from '../hf/families.js';
import { expectedShapes, HfModel } from '../hf/model.js';
import { readTokenizerFiles } from '../hf/tokenizer.js';
import { countTypes, fileTypeMetadata, type GgufFileType, storedTypes } from './file-types.js';
import { type GgufValue, ggufStrings } from './format.js';
import { ggufTensorName, inGgufOrder } from './names.js';
import { isGgufPath } from './read.js';
import { requantiseGgufSteps } from './requantise.js';
import { ropeContextLength, ropeDifferences, ropeMetadata, ropeTensors } from './rope.js';
import type { GgufWriteType } from './types.js';
import { ggufEndTokenIds } from './vocabulary/end-tokens.js';
import { ggufVocabulary } from './vocabulary/write.js';
import { type GgufStep, type GgufTensorToWrite, runToEnd, writeGgufSteps } from './write.js';

export interface ExportModelOptions {
  /** a Hugging Face directory of a family in hf/families.ts, or a GGUF of one, which is stored anew */
  model: string;
  /** the GGUF file to write */
  out: string;
  /** how matrices are stored, some of them with more bits than most; vectors are always F32 */
  type: GgufFileType;
  /** replace an earlier GGUF file */
  force?: boolean;
  /** store a GGUF anew that is quantised already */
  allowRequantize?: boolean;
}

export interface ExportedGguf {
  bytes: number;
  tensors: number;
  /** how many tensors are stored in which type */
  types: Partial<Record<GgufWriteType, number>>;
  architecture: string;
  /** tokens that end the model's answers, but not those of llama.cpp with this file: it has keys for three */
  unheldEndTokens: Array<{ id: number; text: string }>;
}

/**
 * Writes a model as GGUF.
 *
 * @throws CrayonError `output-exists`, `bad-option` for a quantised GGUF without `allowRequantize`, `model-unsupported`,
 *   `tokenizer-unsupported`, `tensor-not-finite`, or what opening the model throws; nothing is left behind
 *
 * @example
 * exportModelGguf({ model: 'models/crayon-edge', out: 'crayon-edge.gguf', type: 'F16' });
 */
export function exportModelGguf(options: ExportModelOptions): ExportedGguf {
  return runToEnd(exportModelGgufSteps(options));
}

/** The same in steps, as `writeGgufSteps`: for progress, and to stop on the way. */
export function* exportModelGgufSteps(options: ExportModelOptions): Generator<GgufStep, ExportedGguf> {
  if (isGgufPath(options.model)) return yield* requantiseGgufSteps(options);
  const { out, type, force = false } = options;
  const model = HfModel.open(options.model);
  try {
    const { config } = model;
    refuseUnsupported(config, options.model);
    const files = readTokenizerFiles(options.model);
    const vocabulary = ggufVocabulary(files, { ...config, endTokenIds: model.endTokenIds }, options.model);
    const metadata = new Map<string, GgufValue>([
      ...modelMetadata(config, modelName(options.model, vocabulary), type),
      ...vocabulary,
    ]);
    const written = { metadata, path: out };
    const held = ggufEndTokenIds(written);
    const texts = ggufStrings(written, 'tokenizer.ggml.tokens')!;
    const unheldEndTokens = model.endTokenIds
      .filter((id) => !held.includes(id))
      .map((id) => ({ id, text: texts[id] ?? '' }));
    const tensors = modelTensors(model, type);
    const { bytes } = yield* writeGgufSteps(out, metadata, tensors, { force });
    const types = countTypes(tensors);
    const architecture = ggufArchitecture(config.modelType).name;
    return { bytes, tensors: tensors.length, types, architecture, unheldEndTokens };
  } finally {
    model.close();
  }
}

/** Tokens that llama.cpp looks for in a model by this name, and does not load it without (llama-vocab.cpp). */
const PHI3 = { name: /phi-?3/gi, tokens: ['<unk>', '<s>', '</s>', '<|endoftext|>'] };

/** The directory's name, unless llama.cpp would take it for a vocabulary that it is not. */
function modelName(dir: string, vocabulary: ReadonlyMap<string, GgufValue>): string {
  const name = basename(resolve(dir));
  const tokens = vocabulary.get('tokenizer.ggml.tokens')!.value as string[];
  return PHI3.tokens.every((token) => tokens.includes(token)) ? name : name.replace(PHI3.name, 'phi 3');
}

/** What transformers computes with these settings and llama.cpp would not, in words; none where a model can be exported. */
export function ggufDifferences(config: ModelConfig): string[] {
  const architecture = ggufArchitecture(config.modelType);
  const found = [...ropeDifferences(config, architecture), ...(architecture.differs?.(config) ?? [])];
  if (config.attentionOutBias && !architecture.hasOutBias) found.push('a bias on the o projection');
  return found;
}

function refuseUnsupported(config: ModelConfig, where: string): void {
  const found = ggufDifferences(config);
  if (found.length === 0) return;
  throw new CrayonError('model-unsupported', `${where}: ${config.modelType} with ${found.join(' and ')}`, {
    hint: 'llama.cpp does not run such a model.',
  });
}

function modelMetadata(config: ModelConfig, name: string, type: GgufFileType): Map<string, GgufValue> {
  const { name: architecture, metadata: more } = ggufArchitecture(config.modelType);
  const metadata = new Map<string, GgufValue>();
  const text = (key: string, value: string): unknown => metadata.set(key, { type: 'string', value });
  const whole = (key: string, value: number): unknown => metadata.set(key, { type: 'uint32', value });
  const real = (key: string, value: number): unknown => metadata.set(key, { type: 'float32', value });
  text('general.architecture', architecture);
  text('general.type', 'model');
  text('general.name', name);
  whole(`${architecture}.block_count`, config.numLayers);
  whole(`${architecture}.context_length`, contextLength(config));
  whole(`${architecture}.embedding_length`, config.hiddenSize);
  whole(`${architecture}.feed_forward_length`, config.intermediateSize);
  whole(`${architecture}.attention.head_count`, config.numHeads);
  whole(`${architecture}.attention.head_count_kv`, config.numKvHeads);
  whole(`${architecture}.attention.key_length`, config.headDim);
  whole(`${architecture}.attention.value_length`, config.headDim);
  real(`${architecture}.attention.layer_norm_rms_epsilon`, config.rmsNormEps);
  for (const [key, value] of ropeMetadata(config)) metadata.set(`${architecture}.${key}`, value);
  for (const [key, value] of Object.entries(more?.(config) ?? {})) {
    if ('whole' in value) whole(`${architecture}.${key}`, value.whole);
    else real(`${architecture}.${key}`, value.real);
  }
  whole(`${architecture}.vocab_size`, config.vocabSize);
  for (const [key, value] of fileTypeMetadata(type)) metadata.set(key, value);
  return metadata;
}

/**
 * In most architectures llama.cpp attends to all earlier tokens. Within a sliding window that is the same thing, so a
 * windowed model is given the context in which it is exact.
 */
function contextLength(config: ModelConfig): number {
  const { modelType, slidingWindow } = config;
  const length = ropeContextLength(config);
  if (slidingWindow === null || ggufArchitecture(modelType).hasWindow) return length;
  return Math.min(length, slidingWindow);
}

function modelTensors(model: HfModel, fileType: GgufFileType): GgufTensorToWrite[] {
  const { config } = model;
  const architecture = ggufArchitecture(config.modelType);
  const tensors: Array<Omit<GgufTensorToWrite, 'type'>> = ropeTensors(config);
  for (const [hfName, shape] of expectedShapes(config)) {
    const name = ggufTensorName(architecture, hfName)!;
    const data = () => inGgufOrder(architecture, name, config, model.readF32(hfName));
    tensors.push({ name, shape, data });
  }
  const types = storedTypes(fileType, tensors, { ...config, architecture: architecture.name });
  return tensors.map((tensor, i) => ({ ...tensor, type: types[i]! }));
}
