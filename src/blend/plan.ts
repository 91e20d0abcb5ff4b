/**
 * What a blend will do, decided before anything is written: which adapters take part, which modules it has, at what rank.
 */

import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import type { CombineKind } from '../lora/combine.js';
import { type LoraModule, loraTensorName, type PeftAdapter } from '../peft/read.js';

/** vLLM's `--max-lora-rank` goes to 64 in its usual builds; a blend above it loads in PEFT and llama.cpp, not there. */
const USUAL_MAX_RANK = 64;

/** Names listed in one notice before "and n more". */
const NAMES_SHOWN = 4;

/** One adapter's share in a module. */
export interface PlannedPart {
  adapter: PeftAdapter;
  module: LoraModule;
  coefficient: number;
  /** its first component among those of all adapters that have the module */
  first: number;
}

export interface PlannedModule {
  name: string;
  in: number;
  out: number;
  /** Adapters that have the module, in pool order; those of coefficient zero are left out. */
  parts: PlannedPart[];
  /** Components of all adapters that have the module, those of coefficient zero too. */
  components: number;
}

export interface BlendPlan {
  combine: CombineKind;
  /** Rank of every module of the output; modules of a lower rank are filled with zeros. */
  rank: number;
  /** In the order of their tensors in the file. */
  modules: PlannedModule[];
  targetModules: string[];
  /** Plain sentences that the user should read. */
  notices: string[];
}

/**
 * Checks that there is one coefficient within reason for each adapter.
 *
 * @throws CrayonError `coefficients-invalid`
 */
export function checkCoefficients(coefficients: ArrayLike<number>, adapters: number): void {
  if (coefficients.length !== adapters) {
    throw new CrayonError(
      'coefficients-invalid',
      `${coefficients.length} coefficients for ${adapters} adapters, expected one for each`,
    );
  }
  const most = LIMITS.adapterScale;
  const found = Array.from(coefficients, (value, n) => ({ value, n }))
    .filter(({ value }) => !(Math.abs(value) <= most)) // NaN too
    .map(({ value, n }) => `${value} for adapter ${n}`);
  if (found.length === 0) return;
  const problem = `coefficients from -${most} to ${most} expected, found ${abridge(found, NAMES_SHOWN, ', ')}`;
  throw new CrayonError('coefficients-invalid', problem, {
    hint: 'A coefficient multiplies what its adapter changes: shares of a blend add up to about 1.',
  });
}

/**
 * @throws CrayonError `coefficients-invalid`; `adapter-mismatch` naming every module whose shapes differ; `bad-option` when
 *   the rank asked for is too small for the way of combining
 */
export function planBlend(
  adapters: readonly PeftAdapter[],
  coefficients: ArrayLike<number>,
  combine: CombineKind,
  rank: number | undefined,
): BlendPlan {
  if (adapters.length === 0) throw new CrayonError('coefficients-invalid', 'no adapters to blend');
  checkCoefficients(coefficients, adapters.length);
  if (rank !== undefined && !(Number.isSafeInteger(rank) && rank >= 1)) {
    throw new CrayonError('bad-option', `rank ${rank}, expected a whole number from 1`);
  }
  const modules = collectModules(adapters, coefficients);
  const chosen = chooseRank(modules, combine, rank);
  const used = adapters.filter((_, n) => Math.fround(coefficients[n]!) !== 0); // as weights hold it
  const notices = [...missingModules(used, modules), ...unusual(used, combine)];
  // A wide `cat` that was not asked for.
  if (combine === 'cat' && rank === undefined && chosen > USUAL_MAX_RANK) {
    notices.push(
      `The blend has rank ${chosen}. vLLM usually takes at most ${USUAL_MAX_RANK}: for it, combine with svd and a rank.`,
    );
  }
  return { combine, rank: chosen, modules, targetModules: targetModules(adapters, modules), notices };
}

/** The union of the adapters' modules, also of those with coefficient zero, so that the output's modules do not depend on it. */
function collectModules(adapters: readonly PeftAdapter[], coefficients: ArrayLike<number>): PlannedModule[] {
  const byName = new Map<string, PlannedModule>();
  const mismatches: string[] = [];
  for (const [n, adapter] of adapters.entries()) {
    for (const module of adapter.modules) {
      let planned = byName.get(module.name);
      if (planned === undefined) {
        planned = { name: module.name, in: module.in, out: module.out, parts: [], components: 0 };
        byName.set(module.name, planned);
      }
      if (planned.in !== module.in || planned.out !== module.out) {
        mismatches.push(
          `${module.name} is ${module.in} -> ${module.out} in ${adapter.dir}, ${planned.in} -> ${planned.out} before`,
        );
      } else {
        const first = planned.components;
        planned.components += module.r;
        if (coefficients[n] !== 0) planned.parts.push({ adapter, module, coefficient: coefficients[n]!, first });
      }
    }
  }
  if (mismatches.length > 0) {
    const problem = `the adapters do not fit one base model: ${abridge(mismatches, NAMES_SHOWN)}`;
    const hint = 'Blend only adapters that were trained on the same base model.';
    throw new CrayonError('adapter-mismatch', problem, { hint });
  }
  // the file is ordered by the bytes of whole tensor names
  const key = ({ name }: PlannedModule): Buffer => Buffer.from(loraTensorName(name, 'A'), 'utf8');
  return [...byName.values()].sort((x, y) => Buffer.compare(key(x), key(y)));
}

function chooseRank(modules: readonly PlannedModule[], combine: CombineKind, wanted: number | undefined): number {
  const ranks = modules.flatMap(({ parts }) => parts.map(({ module }) => module.r));
  const largest = Math.max(1, ...ranks);
  if (combine === 'svd') return wanted ?? largest;

  if (combine === 'linear') {
    const mixed = modules.filter(({ parts }) => parts.some(({ module }) => module.r !== parts[0]!.module.r));
    if (mixed.length > 0) {
      const found = mixed.map(({ name, parts }) => `${name} has ${parts.map(({ module }) => module.r).join(', ')}`);
      throw new CrayonError('adapter-mismatch', `linear needs equal ranks: ${abridge(found, NAMES_SHOWN)}`, {
        hint: 'Combine with cat or svd.',
      });
    }
    refuseAbove(largest, wanted, 'linear keeps the adapters’ own rank');
    return largest;
  }

  const sum = Math.max(1, ...modules.map(({ parts }) => parts.reduce((total, { module }) => total + module.r, 0)));
  refuseAbove(sum, wanted, 'cat adds up the ranks of all adapters');
  return sum;
}

function refuseAbove(needed: number, wanted: number | undefined, why: string): void {
  if (wanted === undefined || needed <= wanted) return;
  throw new CrayonError('bad-option', `rank ${wanted} is too small: ${why}, here ${needed}`, {
    hint: `Combine with svd, which finds the best approximation of rank ${wanted}, or raise the rank to ${needed}.`,
  });
}

function missingModules(used: readonly PeftAdapter[], modules: readonly PlannedModule[]): string[] {
  return used.flatMap((adapter) => {
    const present = new Set(adapter.modules.map(({ name }) => name));
    const missing = modules.map(({ name }) => name).filter((name) => !present.has(name));
    if (missing.length === 0) return [];
    const names = abridge(missing, NAMES_SHOWN, ', ');
    const share = `${missing.length} of ${modules.length} modules`;
    return [`${adapter.dir} has no LoRA on ${names}: it counts as zero there (${share}).`];
  });
}

function unusual(used: readonly PeftAdapter[], combine: CombineKind): string[] {
  const notices: string[] = [];
  if (used.length === 0) notices.push('All coefficients are zero: the blend leaves the base model as it is.');
  if (combine === 'linear') {
    notices.push(
      'linear adds up factors, not deltas: the result has cross terms and is not the blend that cat and svd make.',
    );
  }
  if (used.some(({ config }) => config.fanInFanOut)) {
    notices.push(
      'The base model stores weights as (in, out) (fan_in_fan_out): PEFT sets that by itself when it loads the blend.',
    );
  }
  return notices;
}

/**
 * `target_modules` of the output. The union of the adapters' own lists where all are plain lists, as PEFT does it; otherwise
 * the full names of the modules, which mean exactly those.
 */
function targetModules(adapters: readonly PeftAdapter[], modules: readonly PlannedModule[]): string[] {
  const names = modules.map(({ name }) => name);
  const plain = adapters.every(
    ({ config }) =>
      Array.isArray(config.targetModules) && config.layersToTransform === null && config.excludeModules === null,
  );
  if (!plain) return names;
  return [...new Set(adapters.flatMap(({ config }) => config.targetModules as string[]))].sort();
}
