/**
 * Weights of the base model in an adapter's file. PEFT saves the output matrix and the embeddings whole where they are targeted or
 * were resized (`save_embedding_layers`), and modules_to_save always. A copy of what the base has anyway changes nothing; anything
 * else is more than LoRA. Which it is shows beside the base alone.
 */

import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import type { SafetensorsFile } from '../safetensors/read.js';

/** The base model, as far as it is compared with. */
export interface ComparedBase {
  readonly path: string;
  tensorNames(): string[];
  info(name: string): { readonly shape: readonly number[]; readonly dtype: string };
  readF32(name: string): Float32Array;
}

export interface BaseCopy {
  /** in the adapter's file */
  tensor: string;
  /** of the base model's weight: `lm_head.weight` */
  name: string;
}

/** A base weight by its name in an adapter's file: without `base_layer`, which LoRA puts in, and `modules_to_save`. */
export function copyOf(tensor: string): BaseCopy | undefined {
  const [, name] = /^base_model\.model\.(.+\.(?:weight|bias))$/su.exec(tensor) ?? [];
  if (name === undefined || /\.lora_/.test(name)) return undefined;
  return { tensor, name: name.replace(/\.(base_layer|modules_to_save)(?=\.)/, '') };
}

/** The way out where PEFT wrote the copies by itself. */
const LEAVE_OUT = 'save the adapter without them: model.save_pretrained(dir, save_embedding_layers=False)';

/** Where there is no base to compare with. */
export function refuseCopies(path: string, copies: readonly BaseCopy[]): void {
  if (copies.length === 0) return;
  const shown = copies.map(({ tensor }) => `"${tensor}"`);
  throw new CrayonError(
    'adapter-unsupported',
    `${path}: whole weights of the base model beside the LoRA: ${abridge(shown, 10, ', ')}`,
    {
      hint: `Whether they are unchanged copies shows beside the base model alone, which is not at hand here: ${LEAVE_OUT}.`,
    },
  );
}

/** @throws CrayonError `adapter-unsupported` naming every weight that is another one than the base model's */
export function compareCopies(file: SafetensorsFile, copies: readonly BaseCopy[], base: ComparedBase): void {
  const names = new Set(base.tensorNames());
  const bad: string[] = [];
  let isRounded = false;
  for (const { tensor, name } of copies) {
    // tied embeddings have one matrix
    const stored = names.has(name) || name !== 'lm_head.weight' ? name : 'model.embed_tokens.weight';
    if (!names.has(stored)) {
      bad.push(`"${tensor}": the base model has no "${name}"`);
      continue;
    }
    const { shape, dtype } = base.info(stored);
    const copy = file.info(tensor);
    if (String(copy.shape) !== String(shape)) {
      const isGrown = copy.shape[0]! > (shape[0] ?? 0);
      bad.push(
        `"${tensor}" is [${copy.shape}], the base model's [${shape}]${isGrown ? ': tokens were added to it' : ''}`,
      );
    } else if (!isSame(file.readF32(tensor), base.readF32(stored), ROUNDING[copy.dtype])) {
      const isQuantised = !/^(F64|F32|F16|BF16)$/.test(dtype);
      isRounded ||= isQuantised;
      const why = isQuantised ? `cannot be compared with the base model's, which is stored as ${dtype}` : 'is trained';
      bad.push(`"${tensor}" ${why}`);
    }
  }
  if (bad.length === 0) return;
  throw new CrayonError(
    'adapter-unsupported',
    `${file.path}: weights beside the LoRA that ${base.path} does not have so: ${abridge(bad, 10)}`,
    {
      hint: isRounded
        ? `If they are copies, ${LEAVE_OUT}; or give the base model's unquantised directory.`
        : 'Merge the adapter into its base model (merge_and_unload, save_pretrained) and use the result as the base, or train without modules_to_save and added tokens.',
    },
  );
}

/** What a copy may have been rounded by when it was saved: relative, and half a step of F16 among its smallest numbers. */
interface Rounding {
  relative: number;
  absolute: number;
}
const ROUNDING: Readonly<Record<string, Rounding>> = {
  BF16: { relative: 2 ** -8, absolute: 0 },
  F16: { relative: 2 ** -11, absolute: 2 ** -25 },
};
const EXACT: Rounding = { relative: 0, absolute: 0 };

function isSame(x: Float32Array, y: Float32Array, { relative, absolute }: Rounding = EXACT): boolean {
  return x.every((value, i) => value === y[i] || Math.abs(value - y[i]!) <= absolute + relative * Math.abs(y[i]!));
}
