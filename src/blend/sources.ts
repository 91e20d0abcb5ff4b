/**
 * The blend's factors, module by module, as a writer asks for them: of a PEFT directory (blend.ts), or of any other file.
 */

import { availableParallelism } from 'node:os';
import { CrayonError } from '../core/errors.js';
import { firstNonFinite } from '../core/vector.js';
import { type CombinedFactors, type CombineKind, placeColumns } from '../lora/combine.js';
import type { LoraModule, PeftAdapter } from '../peft/read.js';
import type { PoolFactors } from '../pool/factors.js';
import { type CombineJob, CombineThreads } from './combine-threads.js';
import { type BlendPlan, type PlannedModule, planBlend } from './plan.js';

/** Factors of the output's modules, asked for in file order: A, then B of each. */
export interface BlendSource {
  /** (rank, in); valid until the next call. */
  a(index: number): Float32Array;
  /** (out, rank); valid until the next call. */
  b(index: number): Float32Array;
  /** Known once the module's A has been asked for. */
  result(index: number): { effectiveRank: number; relativeError: number };
  close(): void;
}

export interface SourceOptions {
  /** That compute `svd` and `linear`, this one included. */
  threads: number;
  /**
   * For `cat`: gives the array to fill with one tensor, valid until the next call; whoever gives it sees to it that what comes back is
   * finite. When it is not given one array of the largest module's size serves all.
   */
  buffer?: ((length: number) => Float32Array) | undefined;
  /** For `svd` and `linear`: what the pool of all the plan's adapters keeps of them. */
  factors?: PoolFactors | null | undefined;
}

export function openSource(plan: BlendPlan, { threads, buffer, factors }: SourceOptions): BlendSource {
  return plan.combine === 'cat' ? catSource(plan, buffer) : threadedSource(plan, plan.combine, threads, factors);
}

/**
 * A blend in the shape of an opened adapter, with the tensors that `blendAdapters` would write. They are computed when they are
 * asked for, which is to be in order, A before B, and are valid until the next call.
 *
 * @param adapters stay open, and must until the blend is closed
 * @param dir what stands for a directory's name
 * @throws CrayonError as blendAdapters
 */
export function openBlend(
  adapters: readonly PeftAdapter[],
  coefficients: ArrayLike<number>,
  combine: CombineKind,
  dir: string,
  factors?: PoolFactors | null,
) {
  const plan = planBlend(adapters, coefficients, combine, undefined);
  const source = openSource(plan, { threads: availableParallelism(), factors });
  const modules = plan.modules.map(({ name, in: inputs, out }) => ({ name, r: plan.rank, in: inputs, out, scale: 1 }));
  return {
    dir,
    modules,
    readA: (module: LoraModule) => source.a(modules.indexOf(module)),
    readB: (module: LoraModule) => source.b(modules.indexOf(module)),
    close: () => source.close(),
  };
}

/** Rows of B interleaved at a time: 64 rows of rank 128 are 32 KiB, which stay in the L1 cache while all adapters fill them. */
const ROW_BLOCK = 64;

/**
 * The stacked factors of `cat`, module by module, at about the speed of a file copy.
 *
 * A's stack is a plain concatenation, so each adapter's A is read straight into its place; B's columns are interleaved
 * while the coefficient and the scale are folded in. A few buffers of the largest module's size serve all modules.
 */
function catSource(plan: BlendPlan, buffer?: (length: number) => Float32Array): BlendSource {
  const { modules, rank } = plan;
  const largest = (size: (module: PlannedModule) => number): number => Math.max(0, ...modules.map(size));
  const ranks = modules.map(({ parts }) => parts.reduce((sum, { module }) => sum + module.r, 0));
  const next = buffer ?? reused(rank * largest((module) => Math.max(module.in, module.out)));
  const parts = new Float32Array(rank * largest((module) => module.out)); // all adapters' B, one after another

  return {
    a: (index) => {
      const planned = modules[index]!;
      const stack = next(rank * planned.in);
      let row = 0;
      for (const { adapter, module } of planned.parts) {
        adapter.readAInto(module, stack.subarray(row * module.in, (row + module.r) * module.in), buffer === undefined);
        row += module.r;
      }
      return stack.fill(0, row * planned.in);
    },
    b: (index) => {
      const planned = modules[index]!;
      const { out } = planned;
      let column = 0;
      const placed = planned.parts.map(({ adapter, module, coefficient }) => {
        const { r } = module;
        const b = parts.subarray(out * column, out * (column + r));
        adapter.readBInto(module, b, false); // its products are checked
        column += r;
        return { b, r, column: column - r, weight: coefficient * module.scale };
      });
      const stack = next(out * rank);
      if (ranks[index]! < rank) stack.fill(0);
      for (let start = 0; start < out; start += ROW_BLOCK) {
        const end = Math.min(out, start + ROW_BLOCK);
        for (const { b, r, column, weight } of placed) {
          if (!placeColumns(stack, rank, column, b, r, weight, start, end)) throw notFinite(planned, 'B');
        }
      }
      return stack;
    },
    result: (index) => ({ effectiveRank: ranks[index]!, relativeError: 0 }),
    close: () => {},
  };
}

function reused(largest: number): (length: number) => Float32Array {
  const buffer = new Float32Array(largest);
  return (length) => buffer.subarray(0, length);
}

/** Reads one module's factors from all adapters that have it, into one fresh buffer. */
function readFactors({
  in: inputs,
  out,
  parts,
}: PlannedModule): Pick<CombineJob, 'factors' | 'coefficients' | 'shape'> {
  const size = parts.reduce((sum, { module }) => sum + module.r * (inputs + out), 0);
  const buffer = new Float32Array(size);
  let at = 0;
  const take = (length: number): Float32Array => {
    at += length;
    return buffer.subarray(at - length, at);
  };
  const factors = parts.map(({ adapter, module }) => {
    const { r, scale } = module;
    const a = take(r * inputs);
    const b = take(out * r);
    adapter.readAInto(module, a);
    adapter.readBInto(module, b);
    return { r, a, b, scale };
  });
  return { factors, coefficients: parts.map(({ coefficient }) => coefficient), shape: { in: inputs, out } };
}

/** Below so many products a thread takes longer to start than to help. */
const THREAD_PRODUCTS = 1e8;

/** Each module is computed as a whole when its A is asked for, and kept for its B. */
function threadedSource(
  plan: BlendPlan,
  combine: CombineJob['combine'],
  threads: number,
  kept: PoolFactors | null | undefined,
): BlendSource {
  const { modules, rank } = plan;
  const load = (index: number): CombineJob => {
    const planned = modules[index]!;
    const { components: k, parts } = planned;
    const known = parts.length === 0 ? undefined : kept?.triangles(planned.name);
    const triangles = known && { ...known, k, first: parts.map(({ first }) => first) };
    return { index, combine, rank, ...readFactors(planned), triangles };
  };
  const products = modules.reduce((sum, { in: inputs, out, components }) => sum + (inputs + out) * components ** 2, 0);
  const pool = new CombineThreads(modules.length, load, products < THREAD_PRODUCTS ? 1 : threads);
  const results = new Map<number, { effectiveRank: number; relativeError: number }>();
  let current: CombinedFactors | undefined;
  return {
    a: (index) => {
      current = pool.take(index);
      const { name } = modules[index]!;
      if (firstNonFinite(current.a) !== -1) throw overflow(name, 'A');
      if (firstNonFinite(current.b) !== -1) throw overflow(name, 'B');
      results.set(index, { effectiveRank: current.effectiveRank, relativeError: current.relativeError });
      return current.a;
    },
    b: () => current!.b,
    result: (index) => results.get(index)!,
    close: () => pool.close(),
  };
}

/** Why a value of `cat` is not finite. @throws CrayonError `tensor-not-finite` naming the adapters' tensors where it is they */
export function notFinite({ name, parts }: PlannedModule, side: 'A' | 'B'): CrayonError {
  for (const { adapter } of parts) adapter.validate();
  return overflow(name, side);
}

/** The inputs were finite, so a value that is not has left float32's range on the way. */
function overflow(module: string, side: 'A' | 'B'): CrayonError {
  return new CrayonError('tensor-not-finite', `lora_${side} of ${module} leaves the range of float32 in the blend`, {
    hint: 'The coefficients or the adapters’ scales are far too large.',
  });
}
