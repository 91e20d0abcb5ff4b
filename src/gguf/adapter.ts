/**
 * A PEFT adapter, trained or blended, as a GGUF LoRA file for llama.cpp.
 *
 * llama.cpp adds scale * alpha / rank * B A to a weight, with one alpha for the whole file and the rank of each pair read
 * from its shape (src/llama-adapter.h, `get_scale`). Its own converter writes `lora_alpha` and never looks at rsLoRA or
 * alpha patterns; here alpha is chosen, and B rescaled where one alpha cannot be right for all modules, so that every module
 * has the scale that PEFT gives it.
 */

import { basename, resolve } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import { BASE_RECORD, type BaseRecord } from '../hf/adapter-record.js';
import type { BaseModel, OpenBaseOptions } from '../hf/base-model.js';
import type { GgufArchitecture } from '../hf/families/family.js';
import { ggufArchitecture } from '../hf/families.js';
import { expectedShapes } from '../hf/model.js';
import { type LoraModule, openPeftAdapter, type PeftAdapter } from '../peft/read.js';
import { openBase } from './base.js';
import { type GgufValue, ggufString } from './format.js';
import { type AttentionShape, ggufModuleName, ggufTensorName, inGgufOrder } from './names.js';
import { GgufFile } from './read.js';
import { type GgufTensorToWrite, writeGguf } from './write.js';

export interface WriteAdapterOptions {
  out: string;
  /** Default: F32. */
  type?: 'F32' | 'F16';
  force?: boolean;
  /** the form that it was trained in, kept in the file; absent where nothing is known */
  prompt?: AdapterPrompt | undefined;
  /** the base model that it was made on, kept in the file */
  madeOn?: AdapterBaseName | undefined;
}

/** What a GGUF LoRA can say of its prompts: the chat template's source, null for plain, and the system prompt of the training. */
export interface AdapterPrompt {
  template: string | null;
  system?: string | undefined;
}

const TEMPLATE_KEY = 'crayon.prompt.chat_template';
const SYSTEM_KEY = 'crayon.prompt.system';
/** For plain alone: a template says that the form is chat. */
const FORM_KEY = 'crayon.prompt.form';

/** Which base model an adapter is of, as far as its maker said. */
export interface AdapterBaseName {
  base?: BaseRecord | undefined;
  baseName?: string | undefined;
}

/** As llama.cpp's convert_lora_to_gguf.py names the base model. */
const BASE_NAME_KEY = 'general.base_model.0.name';
const BASE_KEYS = {
  digest: 'crayon.base.digest',
  tokenizerDigest: 'crayon.base.tokenizer_digest',
  format: 'crayon.base.format',
} as const;

/** What this file says of its adapter's prompts and base model. @throws CrayonError `gguf-invalid`, `file-not-found` */
export function readAdapterMetadata(path: string): AdapterBaseName & { prompt?: AdapterPrompt | undefined } {
  const file = GgufFile.open(path);
  file.close();
  const template = ggufString(file, TEMPLATE_KEY);
  const base = BASE_RECORD.safeParse({
    digest: ggufString(file, BASE_KEYS.digest),
    tokenizerDigest: ggufString(file, BASE_KEYS.tokenizerDigest),
    format: ggufString(file, BASE_KEYS.format),
  });
  return {
    prompt:
      template !== undefined
        ? { template, system: ggufString(file, SYSTEM_KEY) }
        : ggufString(file, FORM_KEY) === 'plain'
          ? { template: null }
          : undefined,
    base: base.success ? base.data : undefined,
    baseName: ggufString(file, BASE_NAME_KEY),
  };
}

function baseMetadata({ base, baseName }: AdapterBaseName): Array<[string, GgufValue]> {
  const named = baseName === undefined ? [] : [[BASE_NAME_KEY, baseName] as const];
  const values = [
    ...named,
    ...Object.entries(base ?? {}).map(([key, value]) => [BASE_KEYS[key as keyof BaseRecord], value] as const),
  ];
  const count: Array<[string, GgufValue]> =
    named.length === 0 ? [] : [['general.base_model.count', { type: 'uint32', value: 1 }]];
  return [...count, ...values.map(([key, value]): [string, GgufValue] => [key, { type: 'string', value }])];
}

export interface ExportAdapterOptions extends WriteAdapterOptions {
  /** A PEFT directory. */
  adapter: string;
  /** The base model: a Hugging Face directory or a GGUF file; its headers are read, not its weights. */
  base: string;
}

/**
 * What is written: an adapter read from its directory, or a blend that is computed as it is asked for. The last part of `dir`
 * becomes `general.name`; factors are asked for once for each module in order, A before B, and used before the next one.
 */
export type AdapterSource = Pick<PeftAdapter, 'dir' | 'modules' | 'readA' | 'readB'>;

export interface ExportedAdapter {
  bytes: number;
  modules: number;
  /** adapter.lora.alpha in the file */
  alpha: number;
  /** modules whose B was rescaled, because one alpha could not be right for all */
  rescaled: number;
  architecture: string;
}

/**
 * Writes an adapter as GGUF.
 *
 * @throws CrayonError `output-exists`, `adapter-mismatch` naming every module that the base lacks or has in another shape,
 *   `adapter-unsupported` for the output head of a model whose embeddings are tied, or what opening the adapter throws
 *
 * @example
 * exportAdapterGguf({ adapter: 'my-adapter', base: 'models/crayon-edge', out: 'my-adapter.gguf' });
 */
export function exportAdapterGguf({ adapter: dir, base: path, ...options }: ExportAdapterOptions): ExportedAdapter {
  const adapter = openPeftAdapter(dir, { copies: 'later' });
  try {
    const someWeights = adapter.copies.length === 0 && !adapter.modules.some(({ name }) => name === 'lm_head');
    const base = readAdapterBase(path, { someWeights }, (model) => adapter.compareCopies(model));
    return writeAdapterGguf(adapter, base, options);
  } finally {
    adapter.close();
  }
}

/** The same for what is open already. */
export function writeAdapterGguf(
  adapter: AdapterSource,
  base: AdapterBase,
  { out, type = 'F32', force = false, prompt, madeOn = {} }: WriteAdapterOptions,
): ExportedAdapter {
  const names = placeModules(adapter, base);
  const { alpha, factors } = chooseAlpha(adapter.modules);
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: base.architecture.name }],
    ['general.type', { type: 'string', value: 'adapter' }],
    ['general.name', { type: 'string', value: basename(resolve(adapter.dir)) }],
    ...baseMetadata(madeOn),
    ['adapter.type', { type: 'string', value: 'lora' }],
    ['adapter.lora.alpha', { type: 'float32', value: alpha }],
  ]);
  if (prompt !== undefined) {
    const [key, value] = prompt.template === null ? [FORM_KEY, 'plain'] : [TEMPLATE_KEY, prompt.template];
    metadata.set(key, { type: 'string', value });
  }
  if (prompt?.system !== undefined) metadata.set(SYSTEM_KEY, { type: 'string', value: prompt.system });
  const tensors = adapter.modules.flatMap((module, i): GgufTensorToWrite[] => {
    const name = names[i]!;
    // The rows of B are the rows of the weight.
    const b = () => inGgufOrder(base.architecture, name, base, scaled(adapter.readB(module), factors[i]!));
    return [
      { name: `${name}.lora_a`, shape: [module.r, module.in], type, data: () => adapter.readA(module) },
      { name: `${name}.lora_b`, shape: [module.out, module.r], type, data: b },
    ];
  });
  const { bytes } = writeGguf(out, metadata, tensors, { force });
  const rescaled = factors.filter((factor) => factor !== 1).length;
  return { bytes, modules: names.length, alpha, rescaled, architecture: base.architecture.name };
}

/** llama.cpp's name of each module's weight. */
function placeModules({ dir, modules }: AdapterSource, base: AdapterBase): string[] {
  const bad: string[] = [];
  const names = modules.map((module) => {
    if (module.name === 'lm_head' && base.isTied) {
      const problem = `${dir}: adapts lm_head, which is the embedding table of ${base.path}`;
      const hint =
        'llama.cpp has one matrix for both and no LoRA on it. Score it with --through forward, or train the adapter without lm_head.';
      throw new CrayonError('adapter-unsupported', problem, { hint });
    }
    const name = `${ggufModuleName(base.architecture, module.name)}.weight`;
    const shape = base.shapes.get(name);
    if (shape === undefined || shape.length !== 2 || name === 'token_embd.weight') {
      bad.push(`"${module.name}" is no linear layer of the base model`);
    } else if (shape[0] !== module.out || shape[1] !== module.in) {
      bad.push(`"${module.name}" is (${module.out}, ${module.in}), expected (${shape.join(', ')})`);
    }
    return name;
  });
  if (bad.length === 0) return names;
  throw new CrayonError('adapter-mismatch', `${dir}: ${abridge(bad, 10)} (${base.path})`, {
    hint: 'The adapter was made for another base model.',
  });
}

/**
 * One alpha for the file. Where scale * r is the same for all modules it is that, and the factors are stored as they are;
 * elsewhere the first module's, and the others' B takes up the difference. Never 0, which llama.cpp reads as "no alpha".
 */
export function chooseAlpha(modules: readonly Pick<LoraModule, 'r' | 'scale'>[]): { alpha: number; factors: number[] } {
  const wanted = modules.map(({ r, scale }) => r * scale);
  const first = wanted.find((alpha) => alpha !== 0) ?? 1;
  const alpha = Math.fround(first);
  return { alpha, factors: wanted.map((one) => (Math.abs(one - first) <= 1e-9 * Math.abs(first) ? 1 : one / alpha)) };
}

function scaled(b: Float32Array, factor: number): Float32Array {
  if (factor !== 1) for (let i = 0; i < b.length; i++) b[i]! *= factor;
  return b;
}

/** What an adapter's export must know about its base model, from a Hugging Face directory or from a GGUF file. */
export interface AdapterBase extends AttentionShape {
  path: string;
  architecture: GgufArchitecture;
  /** The output matrix is the embedding table. */
  isTied: boolean;
  /** Shape (out, in) of a weight by llama.cpp's name. */
  shapes: ReadonlyMap<string, readonly number[]>;
}

/**
 * Reads headers only, unless `look` reads more.
 *
 * @throws CrayonError what opening the model or the file throws
 */
export function readAdapterBase(
  path: string,
  options: OpenBaseOptions = { someWeights: true },
  look: (model: BaseModel) => void = () => {},
): AdapterBase {
  const model = openBase(path, options);
  try {
    look(model);
  } finally {
    model.close();
  }
  const { config } = model;
  const architecture = ggufArchitecture(config.modelType);
  const shapes = new Map<string, readonly number[]>();
  for (const [name, shape] of expectedShapes(config)) {
    if (name.endsWith('.weight')) shapes.set(ggufTensorName(architecture, name)!, shape);
  }
  const { numHeads, numKvHeads, headDim, tieWordEmbeddings: isTied } = config;
  return { path, architecture, numHeads, numKvHeads, headDim, isTied, shapes };
}
