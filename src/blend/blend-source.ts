/**
 * The blend's factors, module by module, as a writer asks for them: of a PEFT directory (blend.ts), or of any other file.
 * `cat` has a file of its own.
 */
import { availableParallelism } from 'node:os';
import { firstNonFinite } from '../core/vector.js';
import { type CombinedFactors, type CombineKind, combineLinear, type LoraFactors } from '../lora/combine.js';
import type { LoraModule, PeftAdapter } from '../peft/read.js';
import { type BlendSource, catSource, overflow } from './cat-source.js';
import { type BlendPlan, type PlannedModule, planBlend } from './plan.js';
import { type SvdJob, SvdThreads } from './svd-threads.js';

/** Reads one module's factors from all adapters that have it, into one fresh buffer. */
function readFactors({ in: inputs, out, parts }: PlannedModule): { factors: LoraFactors[]; coefficients: number[] } {
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
  return { factors, coefficients: parts.map(({ coefficient }) => coefficient) };
}

/** A source that computes a whole module when its A is asked for, and keeps it for its B. */
function sourceOf(plan: BlendPlan, compute: (index: number) => CombinedFactors, close: () => void): BlendSource {
  const results = new Map<number, { effectiveRank: number; relativeError: number }>();
  let current: CombinedFactors | undefined;
  return {
    a: (index) => {
      current = compute(index);
      const { name } = plan.modules[index]!;
      if (firstNonFinite(current.a) !== -1) throw overflow(name, 'A');
      if (firstNonFinite(current.b) !== -1) throw overflow(name, 'B');
      results.set(index, { effectiveRank: current.effectiveRank, relativeError: current.relativeError });
      return current.a;
    },
    b: () => current!.b,
    result: (index) => results.get(index)!,
    close,
  };
}

function svdSource(plan: BlendPlan, threads: number): BlendSource {
  const { modules, rank } = plan;
  const load = (index: number): SvdJob => {
    const planned = modules[index]!;
    return { index, ...readFactors(planned), shape: { in: planned.in, out: planned.out }, rank };
  };
  const pool = new SvdThreads(modules.length, load, threads);
  return sourceOf(
    plan,
    (index) => pool.take(index),
    () => pool.close(),
  );
}

function linearSource(plan: BlendPlan): BlendSource {
  const compute = (index: number): CombinedFactors => {
    const planned = plan.modules[index]!;
    const shape = { in: planned.in, out: planned.out };
    const { factors, coefficients } = readFactors(planned);
    const combined = combineLinear(factors, coefficients, shape);
    if (combined.r === plan.rank) return combined;
    // none of the adapters has this module
    const [a, b] = [new Float32Array(plan.rank * shape.in), new Float32Array(shape.out * plan.rank)];
    return { ...combined, r: plan.rank, a, b };
  };
  return sourceOf(plan, compute, () => {});
}

/** @param buffer as catSource has it */
export function openSource(plan: BlendPlan, threads: number, buffer?: (length: number) => Float32Array): BlendSource {
  switch (plan.combine) {
    case 'cat':
      return catSource(plan, buffer);
    case 'svd':
      return svdSource(plan, threads);
    case 'linear':
      return linearSource(plan);
    default:
      throw plan.combine satisfies never;
  }
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
) {
  const plan = planBlend(adapters, coefficients, combine, undefined);
  const source = openSource(plan, availableParallelism());
  const modules = plan.modules.map(({ name, in: inputs, out }) => ({ name, r: plan.rank, in: inputs, out, scale: 1 }));
  return {
    dir,
    modules,
    readA: (module: LoraModule) => source.a(modules.indexOf(module)),
    readB: (module: LoraModule) => source.b(modules.indexOf(module)),
    close: () => source.close(),
  };
}
