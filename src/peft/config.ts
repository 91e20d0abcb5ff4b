/**
 * adapter_config.json of PEFT's LoRA (https://github.com/huggingface/peft, `src/peft/tuners/lora/config.py`).
 *
 * Everything that would change what the two matrices mean is refused by name; everything about training or
 * initialisation is ignored. Module names may be Python regular expressions.
 */

import * as z from 'zod';
import { OutOfTime, withinTime } from '../bounded/time.js';
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
  const listed = new Set(modules);
  return names.map((name) => endsOf(name).some((end) => listed.has(end)));
}

/** The name, and what follows each of its dots. */
function endsOf(name: string): string[] {
  const parts = name.split('.');
  return parts.map((_, i) => parts.slice(i).join('.'));
}

/** Whether each module lies in one of `layers_to_transform`, or null when all layers do. */
function layerIndices({ layersToTransform, layersPattern }: PeftConfig, names: readonly string[], path: string) {
  if (layersToTransform === null || layersToTransform.length === 0) return null;
  const layers = new Set(layersToTransform);
  // The layer is the first number in the name that follows the pattern; earlier parts are tried first.
  const candidates = names.map((name) => {
    const parts = name.split('.');
    const places = [...parts.keys()].slice(1, -1).filter((i) => /^\d+$/.test(parts[i]!));
    return places.map((i) => ({ list: parts.slice(0, i).join('.'), layer: Number(parts[i]) }));
  });
  const lists = [...new Set(candidates.flatMap((places) => places.map(({ list }) => list)))];
  const patterns = layersPattern.length === 0 ? ['[^.]*'] : layersPattern;
  const found = firstMatches(patterns, lists, path);
  const isList = new Set(lists.filter((_, i) => found[i] !== undefined));
  return candidates.map((places) => {
    const place = places.find(({ list }) => isList.has(list));
    return place !== undefined && layers.has(place.layer);
  });
}

/** Rank and alpha of each module, after the patterns. */
export function ranksAndAlphas(config: PeftConfig, names: readonly string[], path: string) {
  const ranks = resolvePattern(config.rankPattern, config.r, names, path);
  const alphas = resolvePattern(config.alphaPattern, config.loraAlpha, names, path);
  return names.map((_, i) => ({ r: ranks[i]!, loraAlpha: alphas[i]! }));
}

function resolvePattern(pattern: Record<string, number>, fallback: number, names: readonly string[], path: string) {
  const keys = Object.keys(pattern);
  return firstMatches(keys, names, path).map((at) => (at === undefined ? fallback : pattern[keys[at]!]!));
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

/** Python's `re.fullmatch(pattern, name)` for each name. */
export function fullMatches(pattern: string, names: readonly string[], path: string): boolean[] {
  return matches([pattern], names, path, (source) => compiled(`^(?:${toJavaScript(source)})$`)).map((at) => at === 0);
}

/**
 * PEFT's rule for the keys of rank_pattern and alpha_pattern, `re.match(rf"(.*\.)?({key})$", name)`: of each name, the index of
 * the first key that matches it.
 */
export function firstMatches(keys: readonly string[], names: readonly string[], path: string) {
  return matches(keys, names, path, (key) =>
    /^[\w.]+$/.test(key) ? (name) => endsLike(name, key) : compiled(`^(.*\\.)?(${toJavaScript(key)})$`),
  );
}

type Matcher = (name: string) => boolean;

const compiled = (source: string): Matcher => {
  const regex = new RegExp(source, 'u');
  return (name) => regex.test(name);
};

/** What most keys are, names and parts of names: the same match without an expression. A dot is any character. */
function endsLike(name: string, key: string): boolean {
  const from = name.length - key.length;
  if (from < 0 || (from > 0 && name[from - 1] !== '.')) return false;
  for (let i = key.length - 1; i >= 0; i--) if (key[i] !== '.' && key[i] !== name[from + i]) return false;
  return true;
}

/**
 * The index of the first pattern that matches each name. Patterns come from files of strangers: all of them together have one time,
 * so that neither one that backtracks without end nor thousands of them hang the program.
 *
 * @throws CrayonError `adapter-unsupported` naming the pattern that is not understood, or that the time ran out with
 */
function matches(
  patterns: readonly string[],
  names: readonly string[],
  path: string,
  compile: (pattern: string) => Matcher,
): Array<number | undefined> {
  const first = names.map((): number | undefined => undefined);
  if (patterns.length === 0) return first; // the clock counts a process that waits for its turn too
  let current = '';
  try {
    withinTime(LIMITS.patternMs, () => {
      for (const [at, pattern] of patterns.entries()) {
        current = pattern;
        const matcher = compile(pattern);
        for (const [i, name] of names.entries()) if (first[i] === undefined && matcher(name)) first[i] = at;
      }
    });
  } catch (error) {
    const shown = `regular expression ${JSON.stringify(current.length > 200 ? `${current.slice(0, 200)}…` : current)}`;
    const problem = !(error instanceof OutOfTime)
      ? `${shown} is not understood`
      : patterns.length === 1
        ? `${shown} takes too long: ${error.message}`
        : `${patterns.length} expressions take too long: ${error.message}, at ${shown}`;
    throw new CrayonError('adapter-unsupported', `${path}: ${problem}`, {
      hint: 'Write the module names out in adapter_config.json.',
      cause: error,
    });
  }
  return first;
}
