/**
 * The stacked factors of `cat`, module by module, at about the speed of a file copy.
 *
 * A's stack is a plain concatenation, so each adapter's A is read straight into its place; B's columns are interleaved
 * while the coefficient and the scale are folded in. A few buffers of the largest module's size serve all modules.
 */
import { CrayonError } from '../core/errors.js';
import { placeColumns } from '../lora/combine.js';
import type { BlendPlan, PlannedModule } from './plan.js';

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

/** Rows of B interleaved at a time: 64 rows of rank 128 are 32 KiB, which stay in the L1 cache while all adapters fill them. */
const ROW_BLOCK = 64;

/**
 * @param buffer gives the array to fill with one tensor, valid until the next call; one array of the module's size serves all
 *   when it is not given
 */
export function catSource(plan: BlendPlan, buffer?: (length: number) => Float32Array): BlendSource {
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
        adapter.readAInto(module, stack.subarray(row * module.in, (row + module.r) * module.in));
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
        adapter.readBInto(module, b);
        column += r;
        return { b, r, column: column - r, weight: coefficient * module.scale };
      });
      const stack = next(out * rank);
      if (ranks[index]! < rank) stack.fill(0);
      for (let start = 0; start < out; start += ROW_BLOCK) {
        const end = Math.min(out, start + ROW_BLOCK);
        for (const { b, r, column, weight } of placed) {
          if (!placeColumns(stack, rank, column, b, r, weight, start, end)) throw overflow(planned.name, 'B');
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

/** The inputs were finite, so a value that is not has left float32's range on the way. */
export function overflow(module: string, side: 'A' | 'B'): CrayonError {
  return new CrayonError('tensor-not-finite', `lora_${side} of ${module} leaves the range of float32 in the blend`, {
    hint: 'The coefficients or the adapters’ scales are far too large.',
  });
}
