/**
 * A GGUF file as a base model: what llama.cpp runs on the device is trained on, scored and embedded by as it is, under
 * Hugging Face's names and in its order of rows, dequantised to float32 tensor by tensor.
 */

import { createHash } from 'node:crypto';
import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import { firstNonFinite } from '../core/vector.js';
import type { JsonObject } from '../files/json.js';
import type { BaseModel, BaseTensorInfo, OpenBaseOptions } from '../hf/base-model.js';
import type { ModelConfig } from '../hf/config.js';
import type { GgufArchitecture } from '../hf/families/family.js';
import { expectedShapes, HfModel } from '../hf/model.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import { ggufModelConfig } from './base-config.js';
import { ggufInvalid, ggufNumber, ggufString, ggufUnsupported } from './format.js';
import { ggufRow, ggufTensorName, inHfOrder } from './names.js';
import { GgufFile, isGgufPath } from './read.js';
import { ROPE_FACTORS, ROPE_TENSORS } from './rope.js';
import { GGML_TYPES } from './types.js';
import { ggufEndTokenIds } from './vocabulary/end-tokens.js';
import { ggufTokenizer } from './vocabulary/tokenizer.js';

/**
 * Opens a base model: a Hugging Face directory or a GGUF file. Headers only are read; the caller closes it.
 *
 * @throws CrayonError what `HfModel.open` or `GgufModel.open` throws
 *
 * @example
 * const base = openBase('models/crayon-edge');
 * const tokenizer = base.tokenizer();
 * base.close();
 */
export function openBase(path: string, options: OpenBaseOptions = {}): BaseModel {
  return isGgufPath(path) ? GgufModel.open(path, options) : HfModel.open(path, options);
}

/** One open file. */
export class GgufModel implements BaseModel {
  readonly format = 'gguf';
  readonly path: string;
  readonly config: ModelConfig;
  readonly architecture: GgufArchitecture;
  /** The config.json of its tensors by Hugging Face's names, for transformers. */
  readonly configJson: JsonObject;
  readonly #file: GgufFile;
  /** llama.cpp's name of each tensor, by Hugging Face's. */
  readonly #names: ReadonlyMap<string, string>;

  private constructor(file: GgufFile, read: ReturnType<typeof ggufModelConfig>, names: Map<string, string>) {
    this.path = file.path;
    this.config = read.config;
    this.architecture = read.architecture;
    this.configJson = read.json;
    this.#file = file;
    this.#names = names;
  }

  /**
   * Opens a file and checks that it has all tensors of its architecture, of the right shapes, and no others.
   *
   * @throws CrayonError `gguf-unsupported` for another architecture, an option or a tensor type that is not computed with,
   *   `gguf-invalid` (all bad tensors at once), or what opening the file throws
   */
  static open(path: string, { someWeights = false }: OpenBaseOptions = {}): GgufModel {
    const file = GgufFile.open(path);
    try {
      const read = ggufModelConfig(file);
      const names = checkTensors(file, read.config, read.architecture);
      if (!someWeights) refuseUnreadable(file);
      return new GgufModel(file, read, names);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** llama.cpp's converter writes them; a name is a label, and says nothing certain. */
  get names(): readonly string[] {
    const keys = ['general.name', 'general.repo_url'];
    return keys.flatMap((key) => ggufString(this.#file, key) || []);
  }

  get endTokenIds(): readonly number[] {
    return ggufEndTokenIds(this.#file);
  }

  tensorNames(): string[] {
    return [...this.#names.keys()];
  }

  info(name: string): BaseTensorInfo {
    const { shape, type: dtype } = this.#file.info(this.#nameOf(name));
    return { shape, dtype };
  }

  readF32(name: string): Float32Array {
    const stored = this.#nameOf(name);
    const data = this.#finite(stored, this.#file.readF32(stored));
    return inHfOrder(this.architecture, stored, this.config, data);
  }

  readRowsF32(name: string, rows: ArrayLike<number>): Float32Array {
    const stored = this.#nameOf(name);
    const places = Array.from(rows, (row) => ggufRow(this.architecture, stored, this.config, row));
    return this.#finite(stored, this.#file.readRowsF32(stored, places));
  }

  digest(): string {
    return this.#file.digest();
  }

  /** SHA-256 over all metadata of the tokenizer, in the order of the keys' names. */
  tokenizerDigest(): string {
    const hash = createHash('sha256');
    const keys = [...this.#file.metadata.keys()].filter((key) => key.startsWith('tokenizer.')).sort();
    for (const key of keys) {
      const text = JSON.stringify(this.#file.metadata.get(key), (_, x) => (typeof x === 'bigint' ? String(x) : x));
      hash.update(`\n${key}\n${text.length}\n${text}`);
    }
    return hash.digest('hex');
  }

  /** llama.cpp's own, id for id: see vocabulary/tokenizer.ts. */
  tokenizer(): Tokenizer {
    return ggufTokenizer(this.#file);
  }

  close(): void {
    this.#file.close();
  }

  #nameOf(name: string): string {
    const stored = this.#names.get(name);
    if (stored === undefined) throw ggufInvalid(this.path, `has no tensor "${name}"`);
    return stored;
  }

  #finite(name: string, data: Float32Array): Float32Array {
    if (firstNonFinite(data) === -1) return data;
    throw new CrayonError('tensor-not-finite', `${this.path}: NaN or infinity in "${name}"`, {
      hint: 'The model file is damaged or was made from a failed run.',
    });
  }
}

/** Rotary frequencies that old converters stored and llama.cpp does not load. */
const UNUSED = /^blk\.\d+\.attn_rot_embd\.weight$/;

/** Checks every tensor of the file; returns llama.cpp's names by Hugging Face's. */
function checkTensors(file: GgufFile, config: ModelConfig, architecture: GgufArchitecture): Map<string, string> {
  const names = new Map<string, string>();
  const bad: string[] = [];
  for (const [hfName, shape] of expectedShapes(config)) {
    const name = ggufTensorName(architecture, hfName);
    if (name === undefined) throw ggufUnsupported(file.path, `no name for "${hfName}" in a GGUF file`);
    names.set(hfName, name);
    const found = file.tensors.get(name)?.shape;
    if (found === undefined) bad.push(`"${name}" is missing, expected [${shape}]`);
    else if (String(found) !== String(shape)) bad.push(`"${name}" has shape [${found}], expected [${shape}]`);
  }
  const known = new Set(names.values());
  if (architecture.hasRopeFactors) known.add(ROPE_FACTORS);
  if (config.ropeScaling?.type === 'longrope') for (const name of ROPE_TENSORS) known.add(name);
  for (const name of file.tensors.keys()) {
    // A tensor that is not computed with would be left out in silence.
    if (!known.has(name) && !UNUSED.test(name))
      bad.push(`"${name}" is not expected of architecture ${architecture.name}`);
  }
  if (bad.length === 0) return names;
  const isWhole = [...known].every((name) => file.tensors.has(name));
  throw ggufInvalid(file.path, abridge(bad, 10), hintFor(file, isWhole));
}

/** The file itself was read: its bytes are sound, and something else is the matter. */
function hintFor(file: GgufFile, isWhole: boolean): string {
  if ((ggufNumber(file, 'split.count') ?? 0) > 1 || /-\d{5}-of-\d{5}\.gguf$/i.test(file.path)) {
    return 'It is one part of several: join them with llama.cpp’s llama-gguf-split --merge.';
  }
  if (isWhole) return 'It is a variant of the architecture that crayon does not compute; llama.cpp may well run it.';
  return 'Its tensors are not those that its own metadata announce: convert or fetch the model again.';
}

function refuseUnreadable(file: GgufFile): void {
  const tensors = [...file.tensors.values()].filter(({ name }) => !file.isReadable(name));
  if (tensors.length === 0) return;
  const shown = tensors.map(({ name, type }) => `"${name}" is stored as ${type}`);
  throw ggufUnsupported(
    file.path,
    `${abridge(shown, 5)}; expected ${Object.keys(GGML_TYPES).join(', ')}`,
    'Quantise the model to one of these types.',
  );
}
