/**
 * PEFT LoRA adapter directories, read: adapter_config.json and adapter_model.safetensors.
 *
 * Tensors are `base_model.model.<module>.lora_A.weight` (r, in) and `.lora_B.weight` (out, r); the module's weight
 * changes by scale * B A.
 */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import { firstNonFinite } from '../core/vector.js';
import { exists, isDirectory } from '../files/io.js';
import { readJsonObject } from '../files/json.js';
import { readUnreplaced } from '../files/siblings.js';
import { isFloat, type TensorInfo } from '../safetensors/header.js';
import { SafetensorsFile } from '../safetensors/read.js';
import {
  ADAPTER_CONFIG,
  loraScale,
  type PeftConfig,
  parsePeftConfig,
  ranksAndAlphas,
  targetedModules,
} from './config.js';
import { type BaseCopy, type ComparedBase, compareCopies, copyOf, refuseCopies } from './copies.js';

export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';
const TENSOR_PREFIX = 'base_model.model.';

/** One adapted linear layer. */
export interface LoraModule {
  /** Module path in the base model, e.g. `model.layers.0.self_attn.q_proj`. */
  name: string;
  r: number;
  /** Input features. */
  in: number;
  /** Output features. */
  out: number;
  /** lora_alpha / r, or lora_alpha / sqrt(r) under rsLoRA, after the patterns. */
  scale: number;
}

/** An open adapter; its tensors are read when asked for, and checked for NaN and infinity then. */
export interface PeftAdapter {
  readonly dir: string;
  readonly config: PeftConfig;
  /** Sorted by name. */
  readonly modules: readonly LoraModule[];
  /** Weights of the base model beside the LoRA, which are to be compared with it. */
  readonly copies: readonly BaseCopy[];
  /** Bytes of the weights file. */
  readonly sizeBytes: number;
  /** lora_A (r, in), row-major. */
  readA(module: LoraModule): Float32Array;
  /** lora_B (out, r), row-major. */
  readB(module: LoraModule): Float32Array;
  /** lora_A into the caller's array of r * in elements; unchecked where the caller looks for NaN and infinity, and then calls `validate`. */
  readAInto(module: LoraModule, target: Float32Array, isChecked?: boolean): void;
  /** lora_B into the caller's array of out * r elements, likewise. */
  readBInto(module: LoraModule, target: Float32Array, isChecked?: boolean): void;
  /** @throws CrayonError `adapter-unsupported` where they are other weights than this base model's */
  compareCopies(base: ComparedBase): void;
  /** Reads every tensor once; all those with NaN or infinity are named in one `tensor-not-finite` error. */
  validate(): void;
  close(): void;
}

export type LoraSide = 'A' | 'B';

/** Name of a tensor in the weights file. */
export function loraTensorName(module: string, side: LoraSide): string {
  return `${TENSOR_PREFIX}${module}.lora_${side}.weight`;
}

/**
 * Opens an adapter directory and checks its configuration and every tensor's name and shape.
 *
 * @param options.copies weights of the base model in the file are refused, or left to the caller, who has the base model to
 *   compare them with
 * @throws CrayonError `file-not-found`, `adapter-unsupported`, `adapter-invalid` (all bad tensors at once), or
 *   `safetensors-invalid`
 *
 * @example
 * const adapter = openPeftAdapter('adapters/german');
 * for (const module of adapter.modules) console.log(module.name, adapter.readA(module).length);
 * adapter.close();
 */
export function openPeftAdapter(dir: string, { copies = 'refuse' }: { copies?: 'refuse' | 'later' } = {}): PeftAdapter {
  return readUnreplaced(dir, () => openFiles(dir, copies === 'refuse'));
}

function openFiles(dir: string, refusesCopies: boolean): PeftAdapter {
  const weights = findWeights(dir);
  const configPath = join(dir, ADAPTER_CONFIG);
  const config = parsePeftConfig(readJsonObject(configPath), configPath);
  const file = SafetensorsFile.open(weights);
  let found: { modules: LoraModule[]; copies: BaseCopy[] };
  try {
    found = findModules(file, config, configPath);
    if (refusesCopies) refuseCopies(weights, found.copies);
  } catch (error) {
    file.close();
    throw error;
  }
  const { modules } = found;
  const validate = () => refuseNotFinite(file, modules);
  const read = (module: LoraModule, side: LoraSide, target: Float32Array, isChecked = true) => {
    file.readInto(loraTensorName(module.name, side), target);
    if (isChecked && firstNonFinite(target) !== -1) validate(); // throws, and names the others too
    return target;
  };
  return {
    dir,
    config,
    ...found,
    sizeBytes: file.sizeBytes,
    compareCopies: (base) => compareCopies(file, found.copies, base),
    readA: (module) => read(module, 'A', new Float32Array(module.r * module.in)),
    readB: (module) => read(module, 'B', new Float32Array(module.out * module.r)),
    readAInto: (module, target, isChecked) => void read(module, 'A', target, isChecked),
    readBInto: (module, target, isChecked) => void read(module, 'B', target, isChecked),
    validate,
    close: () => file.close(),
  };
}

function refuseNotFinite(file: SafetensorsFile, modules: readonly LoraModule[]): void {
  const names = modules.flatMap(({ name }) => [loraTensorName(name, 'A'), loraTensorName(name, 'B')]);
  const bad = names.filter((name) => firstNonFinite(file.readF32(name)) !== -1);
  if (bad.length === 0) return;
  throw new CrayonError('tensor-not-finite', `${file.path}: NaN or infinity in ${bad.join(', ')}`, {
    hint: 'The adapter is broken, most likely by its training: it cannot be used.',
  });
}

function findWeights(dir: string): string {
  if (!exists(dir)) throw new CrayonError('file-not-found', `${dir}: no such adapter directory`);
  if (!isDirectory(dir)) {
    throw new CrayonError('path-not-recognised', `${dir}: expected a PEFT adapter directory, found a file`);
  }
  if (!exists(join(dir, ADAPTER_CONFIG))) {
    throw new CrayonError('path-not-recognised', `${dir}: no ${ADAPTER_CONFIG}, so not a PEFT adapter directory`);
  }
  const weights = join(dir, ADAPTER_WEIGHTS);
  if (exists(weights)) return weights;
  if (exists(join(dir, 'adapter_model.bin'))) {
    const hint = `Convert it to ${ADAPTER_WEIGHTS}: load it with PEFT and save_pretrained() it again.`;
    throw new CrayonError(
      'adapter-unsupported',
      `${dir}: adapter_model.bin is a pickle, which can run code when read`,
      {
        hint,
      },
    );
  }
  throw new CrayonError('file-not-found', `${weights}: no such file`);
}

type Halves = Partial<Record<LoraSide, TensorInfo>>;

function findModules(file: SafetensorsFile, config: PeftConfig, configPath: string) {
  const unsupported: string[] = [];
  const copies: BaseCopy[] = [];
  const bad: string[] = [];
  const pairs = new Map<string, Halves>();
  for (const [name, info] of file.tensors) {
    const reason = refusalOf(name);
    if (reason !== undefined) {
      unsupported.push(`"${name}" (${reason})`);
      continue;
    }
    const copy = copyOf(name);
    if (copy !== undefined) {
      copies.push(copy);
      continue;
    }
    const [, module, side] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/su.exec(name) ?? [];
    if (module === undefined) bad.push(`"${name}": ${unexpectedName(name)}`);
    else pairs.set(module, { ...pairs.get(module), [side as LoraSide]: info });
  }
  if (unsupported.length > 0) {
    const named = abridge(unsupported, 20, ', ');
    throw new CrayonError('adapter-unsupported', `${file.path}: unsupported tensors: ${named}`, {
      hint: 'Only plain LoRA can be blended: lora_A and lora_B of linear layers.',
    });
  }
  if (config.ensureWeightTying && pairs.has('lm_head')) {
    throw new CrayonError('adapter-unsupported', `${configPath}: LoRA on lm_head with ensure_weight_tying`, {
      hint: 'It changes the embeddings as well, which is not computed: train without ensure_weight_tying, or without lm_head.',
    });
  }
  if (pairs.size === 0 && bad.length === 0) bad.push('no lora_A and lora_B tensors at all');

  const names = [...pairs.keys()].sort((a, b) => (a < b ? -1 : 1));
  const isTargeted = targetedModules(config, names, configPath);
  const expected = ranksAndAlphas(config, names, configPath);
  const modules: LoraModule[] = [];
  for (const [i, name] of names.entries()) {
    const { r, loraAlpha } = expected[i]!;
    const problems = checkPair(name, pairs.get(name)!, r);
    if (!isTargeted[i]) problems.push(`module "${name}" is not among target_modules, so PEFT would leave it out`);
    bad.push(...problems);
    if (problems.length > 0) continue;
    const { A, B } = pairs.get(name)! as Required<Halves>;
    modules.push({ name, r, in: A.shape[1]!, out: B.shape[0]!, scale: loraScale(r, loraAlpha, config.useRslora) });
  }
  if (bad.length > 0) throw new CrayonError('adapter-invalid', `${file.path}: ${abridge(bad, 20)}`);
  return { modules, copies };
}

/** Why a tensor of this name makes the adapter more than plain LoRA. */
function refusalOf(name: string): string | undefined {
  if (/\.lora_magnitude_vector(\.|$)/.test(name)) return 'DoRA';
  if (/\.lora_embedding_[AB](\.|$)/.test(name)) return 'LoRA on an embedding';
  if (/\.lora_[AB]\.bias$/.test(name)) return 'lora_bias';
  return undefined;
}

function unexpectedName(name: string): string {
  if (/\.lora_[AB]\.[^.]+\.weight$/.test(name)) return 'has the adapter name in it, which PEFT leaves out of files';
  return `unexpected tensor name, expected ${TENSOR_PREFIX}<module>.lora_A.weight or .lora_B.weight`;
}

function checkPair(name: string, { A, B }: Halves, r: number): string[] {
  if (A === undefined) return [`module "${name}" has lora_B but no lora_A`];
  if (B === undefined) return [`module "${name}" has lora_A but no lora_B`];
  const problems: string[] = [];
  for (const [side, info, axis, shape] of [
    ['A', A, 0, '(r, in)'],
    ['B', B, 1, '(out, r)'],
  ] as const) {
    const tensor = `"${loraTensorName(name, side)}"`;
    if (info.shape.length !== 2 || info.shape.includes(0)) {
      problems.push(`${tensor}: shape [${info.shape}], expected ${shape}`);
    } else if (info.shape[axis] !== r) {
      problems.push(`${tensor}: shape [${info.shape}], expected ${shape} with r = ${r} from ${ADAPTER_CONFIG}`);
    }
    if (!isFloat(info.dtype)) {
      problems.push(`${tensor}: dtype ${info.dtype}, expected a float type`);
    }
  }
  return problems;
}
