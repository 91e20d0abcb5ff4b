/**
 * adapter_config.json of PEFT's LoRA (https://github.com/huggingface/peft, `src/peft/tuners/lora/config.py`).
 *
 * Everything that would change what the two matrices mean is refused by name; everything about training or
 * initialisation is ignored. Module names may be Python regular expressions.
 */

import vm from 'node:vm';
import * as z from 'zod';
import { CrayonError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import type { JsonObject } from '../files/json.js';
import { checked, whole } from '../files/schema.js';

export const ADAPTER_CONFIG = 'adapter_config.json';

/** A value that may be absent or null, as PEFT writes what it takes its default for. */
const or = <T extends z.ZodType, F>(schema: T, fallback: F) => schema.nullish().transform((value) => value ?? fallback);

const layer = whole(0);
const names = z.union(
  [z.string('text'), z.array(z.string('text'))],
  'a list of module names or one regular expression',
);

/** What is read of the file; other keys are about training and initialisation. */
const FILE = z.object({
  base_model_name_or_path: or(z.string('text'), null),
  task_type: or(z.string('text'), null),
  r: or(whole(1), 8),
  lora_alpha: or(z.number('a number'), 8),
  use_rslora: or(z.boolean(), false),
  rank_pattern: or(z.record(z.string(), whole(1)), {}),
  alpha_pattern: or(z.record(z.string(), z.number('a number')), {}),
  target_modules: or(names, null),
  exclude_modules: or(names, null),
  layers_to_transform: or(z.union([layer, z.array(layer)], 'a layer number or a list of them'), null),
  layers_pattern: or(z.union([z.string('text'), z.array(z.string('text'))], 'a name or a list of names'), []),
  fan_in_fan_out: or(z.boolean(), false),
  ensure_weight_tying: or(z.boolean(), false),
});

/** Options that make an adapter more, or other, than base + scale * B A; each with the values that are harmless. */
const REFUSED: Record<string, string> = {
  use_dora: 'DoRA (weight-decomposed LoRA)',
  lora_bias: 'a bias on lora_B',
  trainable_token_indices: 'trained token embeddings (trainable_token_indices)',
  target_parameters: 'LoRA on bare parameters (target_parameters)',
  use_qalora: 'QALoRA',
  use_bdlora: 'block-diagonal LoRA (use_bdlora)',
  alora_invocation_tokens: 'activated LoRA (alora_invocation_tokens)',
  layer_replication: 'replicated layers (layer_replication)',
  arrow_config: 'Arrow routing (arrow_config)',
  kasa_config: 'KaSA (kasa_config)',
  monteclora_config: 'MonteCLoRA (monteclora_config)',
};

/** Initialisations that leave the base weights alone; the others (PiSSA, OLoRA, CorDA, LoftQ ...) replace them. */
const PLAIN_INITS = [undefined, null, true, false, 'gaussian', 'eva', 'orthogonal'];

/**
 * Checks what an adapter_config.json holds.
 *
 * @throws CrayonError `adapter-unsupported` naming every unsupported option, `adapter-invalid` naming every bad value
 */
export function parsePeftConfig(json: JsonObject, path: string) {
  refuseUnsupported(json, path);
  const file = checked(FILE, json, { where: path, code: 'adapter-invalid' });
  return {
    /** Name or path of the base model, as its trainer wrote it. */
    baseModel: file.base_model_name_or_path,
    taskType: file.task_type,
    r: file.r,
    loraAlpha: file.lora_alpha,
    /** Scale is loraAlpha / sqrt(r) instead of loraAlpha / r. */
    useRslora: file.use_rslora,
    /** Ranks of modules whose name matches the key; the first match counts. */
    rankPattern: file.rank_pattern,
    /** The same for loraAlpha. */
    alphaPattern: file.alpha_pattern,
    /** Names (or ends of names) of the adapted modules, or one regular expression, or null when not said. */
    targetModules: file.target_modules,
    excludeModules: file.exclude_modules,
    layersToTransform:
      typeof file.layers_to_transform === 'number' ? [file.layers_to_transform] : file.layers_to_transform,
    layersPattern: typeof file.layers_pattern === 'string' ? [file.layers_pattern] : file.layers_pattern,
    /**
     * The base model stores these weights as (in, out), like GPT-2's Conv1D. lora_A is (r, in) and lora_B (out, r) all
     * the same; only the delta must be transposed before it is added to such a weight.
     */
    fanInFanOut: file.fan_in_fan_out,
    /** LoRA on the output matrix is on the embeddings too, where the model ties them. */
    ensureWeightTying: file.ensure_weight_tying,
  };
}
export type PeftConfig = ReturnType<typeof parsePeftConfig>;

function refuseUnsupported(json: JsonObject, path: string): void {
  const found: string[] = [];
  if (json.peft_type !== 'LORA')
    found.push(`peft_type ${JSON.stringify(json.peft_type) ?? 'missing'}, expected "LORA"`);
  for (const [key, meaning] of Object.entries(REFUSED)) {
    if (!isOff(json[key])) found.push(meaning);
  }
  const { bias, init_lora_weights: init } = json;
  if (bias !== undefined && bias !== null && bias !== 'none')
    found.push(`bias ${JSON.stringify(bias)}, expected "none"`);
  if (!PLAIN_INITS.includes(init as string | boolean | null | undefined)) {
    found.push(`init_lora_weights ${JSON.stringify(init)}, which also changes the base weights`);
  }
  if (found.length === 0) return;
  throw new CrayonError('adapter-unsupported', `${path}: unsupported: ${found.join('; ')}`, {
    hint: 'Only plain LoRA can be blended: base + scale * B A on linear layers.',
  });
}

/** Which of the modules PEFT would adapt (`check_target_module_exists` in `src/peft/tuners/tuners_utils.py`). */
export function targetedModules(config: PeftConfig, names: readonly string[], path: string): boolean[] {
  const { targetModules, excludeModules } = config;
  const isExcluded = excludeModules === null ? names.map(() => false) : namedBy(excludeModules, names, path);
  if (targetModules === null || targetModules === 'all-linear') return isExcluded.map((x) => !x);
  const isTarget = namedBy(targetModules, names, path);
  const layers = Array.isArray(targetModules) ? layerIndices(config, names, path) : null;
  return names.map((_, i) => isTarget[i]! && !isExcluded[i] && (layers === null || layers[i]!));
}

function namedBy(modules: string[] | string, names: readonly string[], path: string): boolean[] {
  if (typeof modules === 'string') return fullMatches(modules, names, path);
  return names.map((name) => modules.some((module) => name === module || name.endsWith(`.${module}`)));
}

/** Whether each module lies in one of `layers_to_transform`, or null when all layers do. */
function layerIndices({ layersToTransform, layersPattern }: PeftConfig, names: readonly string[], path: string) {
  if (layersToTransform === null || layersToTransform.length === 0) return null;
  const patterns = layersPattern.length === 0 ? ['[^.]*'] : layersPattern;
  return names.map((name) => {
    // The layer is the first number in the name that follows the pattern; earlier parts are tried first.
    const parts = name.split('.');
    for (let i = 1; i + 1 < parts.length; i++) {
      if (!/^\d+$/.test(parts[i]!)) continue;
      const list = parts.slice(0, i).join('.');
      if (patterns.some((pattern) => suffixMatches(pattern, [list], path)[0])) {
        return layersToTransform.includes(Number(parts[i]));
      }
    }
    return false;
  });
}

/** Rank and alpha of each module, after the patterns. */
export function ranksAndAlphas(config: PeftConfig, names: readonly string[], path: string) {
  const ranks = resolvePattern(config.rankPattern, config.r, names, path);
  const alphas = resolvePattern(config.alphaPattern, config.loraAlpha, names, path);
  return names.map((_, i) => ({ r: ranks[i]!, loraAlpha: alphas[i]! }));
}

function resolvePattern(pattern: Record<string, number>, fallback: number, names: readonly string[], path: string) {
  const values = names.map((): number | undefined => undefined);
  for (const [key, value] of Object.entries(pattern)) {
    for (const [i, matches] of suffixMatches(key, names, path).entries()) {
      if (matches) values[i] ??= value;
    }
  }
  return values.map((value) => value ?? fallback);
}

/** The factor before B A. */
export function loraScale(r: number, loraAlpha: number, useRslora: boolean): number {
  return loraAlpha / (useRslora ? Math.sqrt(r) : r);
}

/** Absent, null, false, [] and {} all say that an option is not used. */
function isOff(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/**
 * Rewrites a Python regular expression for JavaScript's engine, where they differ; anything else unknown to JavaScript fails to
 * compile under the u flag.
 */
function toJavaScript(pattern: string): string {
  return pattern.replaceAll('(?P<', '(?<').replace(/\\(.)/gsu, (whole, c: string) => {
    // Python allows a backslash before any punctuation, JavaScript only before its own syntax characters.
    const isOtherPunctuation = !/[\w^$\\.*+?()[\]{}|/]/u.test(c);
    return isOtherPunctuation ? `\\u{${c.codePointAt(0)!.toString(16)}}` : whole;
  });
}

/**
 * Which of `names` match `before + pattern + after` from start to end. Patterns come from files of strangers: one that backtracks
 * without end is stopped instead of hanging the program.
 *
 * @throws CrayonError `adapter-unsupported` when the pattern is not understood or does not end
 */
function matchAll(pattern: string, before: string, after: string, names: readonly string[], path: string): boolean[] {
  const source = before + toJavaScript(pattern) + after;
  try {
    const script = 'names.map((name) => regex.test(name))';
    // The timeout interrupts the regular expression engine too, which nothing else in the language does.
    return [...vm.runInNewContext(script, { names, regex: new RegExp(source, 'u') }, { timeout: LIMITS.patternMs })];
  } catch (error) {
    const hasTimedOut = error instanceof Error && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
    const reason = hasTimedOut ? 'takes too long to match' : 'is not understood';
    throw new CrayonError('adapter-unsupported', `${path}: regular expression ${JSON.stringify(pattern)} ${reason}`, {
      hint: 'Write the module names out in adapter_config.json.',
      cause: error,
    });
  }
}

/** Python's `re.fullmatch(pattern, name)` for each name. */
export function fullMatches(pattern: string, names: readonly string[], path: string): boolean[] {
  return matchAll(pattern, '^(?:', ')$', names, path);
}

/** PEFT's rule for rank_pattern and alpha_pattern keys, `re.match(rf"(.*\.)?({key})$", name)`, for each name. */
export function suffixMatches(key: string, names: readonly string[], path: string): boolean[] {
  return matchAll(key, '^(.*\\.)?(', ')$', names, path);
}
