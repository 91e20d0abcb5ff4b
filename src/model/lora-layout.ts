/**
 * Where the factors of N stacked LoRA adapters lie in one flat vector of parameters.
 *
 * All trainable numbers of a pool form one vector, so that AdamW, clipping and checkpoints are a handful of operations
 * on it, whatever the number of layers; a module's factors are slices. Within a module: A (R, in), then B (out, R), R = N r.
 */

import assert from 'node:assert/strict';
import { createRandom } from '../core/random.js';
import type { BaseModel } from '../hf/base-model.js';
import { chosenProjections } from '../hf/families.js';

export interface LayoutModule {
  /** HF module path, `model.layers.0.self_attn.q_proj` */
  name: string;
  in: number;
  out: number;
  /** offset of A in the vector, in numbers */
  aOffset: number;
  bOffset: number;
}

export interface LoraLayout {
  /** number of adapters N */
  adapters: number;
  /** rank r of each */
  r: number;
  /** how many of the adapters, the last ones, stay as they are while the others are trained; none when absent */
  frozen?: number;
  /** which of a pool's adapters the first one is, where the layout has not all of them: it begins as it would there; 0 when absent */
  first?: number;
  modules: LayoutModule[];
  /** length of the vector */
  size: number;
}

export function createLoraLayout(
  modules: ReadonlyArray<{ name: string; in: number; out: number }>,
  adapters: number,
  r: number,
  frozen = 0,
): LoraLayout {
  let offset = 0;
  const laid = modules.map(({ name, in: inSize, out }) => {
    const aOffset = offset;
    const bOffset = aOffset + adapters * r * inSize;
    offset = bOffset + out * adapters * r;
    return { name, in: inSize, out, aOffset, bOffset };
  });
  return { adapters, r, ...(frozen > 0 && { frozen }), modules: laid, size: offset };
}

/** The factors of N adapters on the targeted projections of every block. @throws CrayonError see chosenProjections */
export function poolLayout(
  source: BaseModel,
  { targets, r }: { targets: readonly string[] | 'all'; r: number },
  N: number,
  frozen = 0,
): LoraLayout {
  const modules = [];
  const projections = chosenProjections(source.config.modelType, targets);
  for (let layer = 0; layer < source.config.numLayers; layer++) {
    for (const projection of projections) {
      const name = `model.layers.${layer}.${projection}`;
      const [out, inSize] = source.info(`${name}.weight`).shape as [number, number];
      modules.push({ name, in: inSize, out });
    }
  }
  return createLoraLayout(modules, N, r, frozen);
}

/**
 * PEFT's default initialisation: A uniform in +-1/sqrt(in) (Kaiming with a = sqrt 5), B zero, so that training starts at
 * the base model. Adapter n of a pool gets the same values whatever N is, and by itself too.
 */
export function initialParameters(layout: LoraLayout, seed: number): Float32Array {
  const { adapters, r, first = 0 } = layout;
  const flat = new Float32Array(layout.size);
  for (let n = 0; n < adapters; n++) {
    const random = createRandom(seed, `lora-init/${first + n}`);
    for (const { aOffset, in: inSize } of layout.modules) {
      const bound = 1 / Math.sqrt(inSize);
      const from = aOffset + n * r * inSize;
      for (let i = 0; i < r * inSize; i++) flat[from + i] = (2 * random.uniform() - 1) * bound;
    }
  }
  return flat;
}

/** Adapter n's factors of one module as PEFT stores them: A (r, in), B (out, r). */
export function adapterFactors(
  layout: LoraLayout,
  flat: Float32Array,
  module: LayoutModule,
  n: number,
): { a: Float32Array; b: Float32Array } {
  assert(n >= 0 && n < layout.adapters, `adapter ${n} of ${layout.adapters}`);
  const { r, adapters } = layout;
  const R = adapters * r;
  const a = flat.slice(module.aOffset + n * r * module.in, module.aOffset + (n + 1) * r * module.in);
  const b = new Float32Array(module.out * r);
  for (let o = 0; o < module.out; o++) {
    const from = module.bOffset + o * R + n * r;
    b.set(flat.subarray(from, from + r), o * r);
  }
  return { a, b };
}

/** Where the frozen numbers lie in the vector: from, to. */
export function* frozenRanges({ adapters, r, frozen = 0, modules }: LoraLayout): Generator<[number, number]> {
  if (frozen === 0) return;
  const [R, before] = [adapters * r, (adapters - frozen) * r];
  for (const { aOffset, bOffset, in: inSize, out } of modules) {
    yield [aOffset + before * inSize, aOffset + R * inSize];
    for (let o = 1; o <= out; o++) yield [bOffset + (o - 1) * R + before, bOffset + o * R];
  }
}

/** Puts one adapter's factors into the vector: the inverse of `adapterFactors`. */
export function setAdapterFactors(
  layout: LoraLayout,
  flat: Float32Array,
  module: LayoutModule,
  n: number,
  { a, b }: { a: Float32Array; b: Float32Array },
): void {
  const { r, adapters } = layout;
  assert(a.length === r * module.in && b.length === module.out * r, `${module.name}: factors of another rank or shape`);
  flat.set(a, module.aOffset + n * r * module.in);
  for (let o = 0; o < module.out; o++) {
    flat.set(b.subarray(o * r, (o + 1) * r), module.bOffset + o * adapters * r + n * r);
  }
}
