/**
 * Several LoRAs of one model as one, for mixtures of which the coefficients change and the members do not: sum_n w_n s_n B_n A_n is
 * B W A with the factors side by side. llama.cpp applies each LoRA by two small products a layer, whose cost hardly depends on their rank:
 * sixteen of rank 8 take several times what one of rank 128 takes. The stack is written once; a mixture is its copy with the rows of A weighed.
 */

import { CrayonError } from '../core/errors.js';
import { patchedCopy } from '../files/patched-copy.js';
import { float16Value, float32ToFloat16 } from '../safetensors/half-floats.js';
import type { GgufValue } from './format.js';
import { GgufFile } from './read.js';
import { type GgufTensorToWrite, writeGguf } from './write.js';

/** Q8_0 has a quarter of the bytes: 8 bits for each number, and a scale for 32 of them, which is all that a weight changes. */
export type StackType = 'F32' | 'Q8_0';

/** Ranks are filled up with zeros to a multiple of it: rows of B are whole blocks of Q8_0, and llama.cpp's quick kernels take them. */
const BLOCK = 32;
/** Bytes of one: its scale as float16, then 32 numbers. */
const BLOCK_BYTES = 34;

/** One adapted weight of the stack. */
interface StackedWeight {
  /** llama.cpp's name of it */
  name: string;
  in: number;
  out: number;
  /** of each member, 0 where it does not adapt this weight */
  ranks: readonly number[];
}

/** What a stack of these files has, by their headers alone. */
export interface StackPlan {
  members: readonly string[];
  architecture: string;
  weights: readonly StackedWeight[];
  /** numbers of all factors */
  values: number;
  /** whether all rows of A are whole blocks of Q8_0 */
  fitsBlocks: boolean;
}

const A = '.lora_a';
const B = '.lora_b';
const ALPHA = 'adapter.lora.alpha';

/**
 * @param members GGUF LoRAs of one model
 * @throws CrayonError `adapter-mismatch` where they are not of one model, `gguf-invalid`, `file-not-found`
 */
export function planLoraStack(members: readonly string[]): StackPlan {
  const weights = new Map<string, StackedWeight & { ranks: number[] }>();
  let architecture = '';
  for (const [n, path] of members.entries()) {
    const file = GgufFile.open(path);
    file.close();
    const differs = (what: string) =>
      new CrayonError('adapter-mismatch', `${path}: ${what} than in ${members[0]}`, {
        hint: 'Adapters of one model can be stacked.',
      });
    if (n > 0 && file.architecture !== architecture) throw differs('another architecture');
    architecture = file.architecture;
    for (const tensor of file.tensors.keys()) {
      if (!tensor.endsWith(A)) continue;
      const name = tensor.slice(0, -A.length);
      const [r, width] = file.info(tensor).shape as [number, number];
      const [height, columns] = file.info(name + B).shape as [number, number];
      const weight = weights.get(name) ?? { name, in: width, out: height, ranks: members.map(() => 0) };
      weights.set(name, weight);
      if (weight.in !== width || weight.out !== height || columns !== r) throw differs(`${name} has another shape`);
      weight.ranks[n] = r;
    }
  }
  const all = [...weights.values()];
  const values = all.reduce((sum, one) => sum + (one.in + one.out) * rankOf(one), 0);
  return { members, architecture, weights: all, values, fitsBlocks: all.every((one) => one.in % BLOCK === 0) };
}

/** What is asked for twice, once each time: a weight's two factors are written one after the other, and not kept. */
function lastOnly<T>(make: () => T): () => T {
  let made: T | null = null;
  return () => {
    const found = made ?? make();
    made = made === null ? found : null;
    return found;
  };
}

const rankOf = ({ ranks }: StackedWeight): number => BLOCK * Math.ceil(ranks.reduce((sum, r) => sum + r, 0) / BLOCK);

/** Of a stack, but for its header. */
export const stackBytes = ({ values }: StackPlan, type: StackType): number =>
  type === 'F32' ? 4 * values : (BLOCK_BYTES / BLOCK) * values;

/**
 * Writes the stack with all weights 1, a LoRA like any other.
 *
 * @throws CrayonError `tensor-not-finite` for a number that is not, or too large for Q8_0; what reading and writing throw
 */
export function writeLoraStack({ members, architecture, weights }: StackPlan, type: StackType, out: string): void {
  const files = members.map((path) => GgufFile.open(path));
  try {
    const tensors = weights.flatMap((weight): GgufTensorToWrite[] => {
      const { name, in: width, out: height } = weight;
      const r = rankOf(weight);
      const shape = { a: [r, width], b: [height, r] };
      const factors = lastOnly(() => stackedFactors(files, weight));
      return [
        { name: name + A, shape: shape.a, type, data: () => factors().a },
        { name: name + B, shape: shape.b, type, data: () => factors().b },
      ];
    });
    const text = (value: string): GgufValue => ({ type: 'string', value });
    const metadata = new Map<string, GgufValue>([
      ['general.architecture', text(architecture)],
      ['general.type', text('adapter')],
      ['adapter.type', text('lora')],
      [ALPHA, { type: 'float32', value: 0 }], // none: the members' scales are in A, and llama.cpp divides by no rank
    ]);
    writeGguf(out, metadata, tensors, { force: true });
  } finally {
    for (const file of files) file.close();
  }
}

/**
 * The factors side by side. Each column of B is divided by its largest number, which its row of A takes up with the member's scale: a block of
 * Q8_0 in B has columns of several members, and the quieter ones would be rounded as coarsely as the loudest.
 */
function stackedFactors(files: readonly GgufFile[], weight: StackedWeight): { a: Float32Array; b: Float32Array } {
  const { name, in: width, out: height, ranks } = weight;
  const r = rankOf(weight);
  const stacked = { a: new Float32Array(r * width), b: new Float32Array(height * r) };
  let first = 0;
  for (const [n, file] of files.entries()) {
    const own = ranks[n]!;
    if (own === 0) continue;
    const alpha = Number(file.metadata.get(ALPHA)?.value ?? 0);
    const scale = alpha === 0 ? 1 : alpha / own; // as llama-adapter.h has it
    const [a, b] = [file.readF32(name + A), file.readF32(name + B)];
    for (let j = 0; j < own; j++) {
      let most = 0;
      for (let i = 0; i < height; i++) most = Math.max(most, Math.abs(b[i * own + j]!));
      if (most === 0) continue; // adds nothing
      for (let i = 0; i < height; i++) stacked.b[i * r + first + j] = b[i * own + j]! / most;
      const row = (first + j) * width;
      for (let k = 0; k < width; k++) stacked.a[row + k] = scale * most * a[j * width + k]!;
    }
    first += own;
  }
  return stacked;
}

/**
 * A mixture of the members: the stack with each one's rows of A times its weight.
 *
 * @param stack as `writeLoraStack` wrote it by the same plan and type
 * @param weights one for each member, at most 1 in size, so that Q8_0's scales keep their digits
 * @throws CrayonError `file-not-found`, `gguf-invalid`, `disk-full`, `write-failed`
 */
export function weighLoraStack(
  plan: StackPlan,
  type: StackType,
  stack: string,
  weights: readonly number[],
  out: string,
): void {
  const file = GgufFile.open(stack);
  file.close();
  const pieces = plan.weights.map((weight) => {
    refuseOther(file, weight, type);
    return file.place(weight.name + A);
  });
  const weigh = type === 'Q8_0' ? blocksWeigher(weights) : singlesWeigher(weights);
  patchedCopy(stack, out, pieces, (data, i) => {
    const { in: width, ranks } = plan.weights[i]!;
    let at = 0;
    for (const [n, r] of ranks.entries()) {
      weigh(data, at, r * width, n);
      at += r * width;
    }
  });
}

function refuseOther(file: GgufFile, weight: StackedWeight, type: StackType): void {
  const found = file.info(weight.name + A);
  const shape = [rankOf(weight), weight.in];
  if (found.type === type && found.shape.join() === shape.join()) return;
  throw new CrayonError(
    'gguf-invalid',
    `${file.path}: no stack of these adapters: ${found.name} is [${found.shape}] in ${found.type}`,
  );
}

/** Multiplies `count` numbers from number `at` on by member n's weight. */
type Weigh = (data: Uint8Array<ArrayBuffer>, at: number, count: number, n: number) => void;

const singlesWeigher =
  (weights: readonly number[]): Weigh =>
  ({ buffer, byteOffset }, at, count, n) => {
    const numbers = new Float32Array(buffer, byteOffset + 4 * at, count);
    const weight = weights[n]!;
    for (let i = 0; i < count; i++) numbers[i]! *= weight;
  };

/** The products of all 65,536 halves with a member's weight are looked up. */
function blocksWeigher(weights: readonly number[]): Weigh {
  const scaled = new Float32Array(2 ** 16);
  const products = weights.map((weight) => {
    for (let i = 0; i < scaled.length; i++) scaled[i] = float16Value(i) * weight;
    const halves = new Uint16Array(scaled.length);
    float32ToFloat16(scaled, halves);
    return halves;
  });
  return ({ buffer, byteOffset }, at, count, n) => {
    const words = BLOCK_BYTES / 2;
    const halves = new Uint16Array(buffer, byteOffset + (at / BLOCK) * BLOCK_BYTES, (count / BLOCK) * words);
    const table = products[n]!;
    for (let i = 0; i < halves.length; i += words) halves[i] = table[halves[i]!]!;
  };
}
