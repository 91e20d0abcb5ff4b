/** PEFT LoRA adapter directories, written: complete or not at all, tensor by tensor, the same bytes for the same input. */

import assert from 'node:assert';
import { join } from 'node:path';
import { writeDirectoryAtomic, writeFileAtomic } from '../files/atomic.js';
import { writeJson } from '../files/json.js';
import { type TensorToWrite, writeSafetensors } from '../safetensors/write.js';
import { ADAPTER_CONFIG, parsePeftConfig, ranksAndAlphas, targetedModules } from './config.js';
import { ADAPTER_WEIGHTS, type LoraModule, loraTensorName } from './read.js';

export interface LoraModuleToWrite extends Omit<LoraModule, 'scale'> {
  /** lora_A (r, in). Called once; modules come in order of their names, A before B. */
  a: () => Float32Array;
  /** lora_B (out, r). The array may be reused by the caller after the next call. */
  b: () => Float32Array;
}

export interface PeftAdapterToWrite {
  /** Name or path of the base model, for `base_model_name_or_path`. */
  baseModel: string;
  modules: readonly LoraModuleToWrite[];
  r: number;
  loraAlpha: number;
  /** Storage type; F32 when not given. */
  dtype?: 'F32' | 'F16' | 'BF16';
  targetModules: readonly string[];
  rankPattern?: Readonly<Record<string, number>>;
  alphaPattern?: Readonly<Record<string, number>>;
  /** Text of the model card. */
  readme?: string;
  /** More text files of the directory, by name: e.g. `crayon.json`. */
  extraFiles?: Readonly<Record<string, string>>;
  /** Replace an existing adapter directory. */
  force?: boolean;
}

/**
 * Writes an adapter directory that PEFT, vLLM and llama.cpp's converter read alike.
 *
 * @returns size of the weights file
 * @throws CrayonError `output-exists`, `disk-full`, `write-failed`, or what a module's function throws; nothing is left
 */
export function writePeftAdapter(dir: string, spec: PeftAdapterToWrite): { bytes: number } {
  const { modules, dtype = 'F32', readme, extraFiles = {}, force = false } = spec;
  const config = configJson(spec);
  assertConsistent(config, modules);
  const tensors = modules.flatMap(({ name, r, in: inputs, out: outputs, a, b }): TensorToWrite[] => [
    { name: loraTensorName(name, 'A'), dtype, shape: [r, inputs], data: a },
    { name: loraTensorName(name, 'B'), dtype, shape: [outputs, r], data: b },
  ]);
  let bytes = 0;
  writeDirectoryAtomic(dir, { force, marker: ADAPTER_CONFIG }, (temporary) => {
    ({ bytes } = writeSafetensors(join(temporary, ADAPTER_WEIGHTS), tensors, { format: 'pt' }));
    writeJson(join(temporary, ADAPTER_CONFIG), config);
    if (readme !== undefined) writeFileAtomic(join(temporary, 'README.md'), readme);
    for (const [name, text] of Object.entries(extraFiles)) writeFileAtomic(join(temporary, name), text);
  });
  return { bytes };
}

/** The keys that PEFT itself writes, in its order, without those of methods that plain LoRA does not use. */
function configJson(spec: PeftAdapterToWrite) {
  return {
    alpha_pattern: spec.alphaPattern ?? {},
    auto_mapping: null,
    base_model_name_or_path: spec.baseModel,
    bias: 'none',
    exclude_modules: null,
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: spec.loraAlpha,
    lora_bias: false,
    lora_dropout: 0,
    modules_to_save: null,
    peft_type: 'LORA',
    r: spec.r,
    rank_pattern: spec.rankPattern ?? {},
    revision: null,
    target_modules: [...spec.targetModules].sort(),
    task_type: 'CAUSAL_LM',
    use_dora: false,
    use_rslora: false,
  };
}

/** What is written must read back with the same ranks: anything else is a defect of the caller. */
function assertConsistent(json: ReturnType<typeof configJson>, modules: readonly LoraModuleToWrite[]): void {
  const config = parsePeftConfig(json, ADAPTER_CONFIG);
  const names = modules.map(({ name }) => name);
  const isTargeted = targetedModules(config, names, ADAPTER_CONFIG);
  const expected = ranksAndAlphas(config, names, ADAPTER_CONFIG);
  for (const [i, { name, r }] of modules.entries()) {
    assert(isTargeted[i], `module ${name} is not among target_modules ${config.targetModules}`);
    assert.equal(r, expected[i]!.r, `rank of ${name}, as r and rank_pattern say`);
  }
}
