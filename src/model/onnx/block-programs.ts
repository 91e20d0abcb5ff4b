/**
 * One block as programs for ONNX Runtime. All layers of one kind run the same programs on weights of their own, which are inputs:
 * no weight is copied into a graph, and a model of thirty layers is compiled as fast as one of two.
 */

import type { ModelConfig } from '../../hf/config.js';
import { block } from '../block.js';
import type { StackedFactors } from '../lora-linears.js';
import type { T2, Tensor } from '../operations.js';
import type { BlockWeights } from '../weights.js';
import { cutTrace, type Programs } from './programs.js';
import { bytesOf, Trace } from './trace.js';

/** What a block's programs depend on. */
export interface BlockForm {
  config: ModelConfig;
  /** of any layer: their shapes are alike */
  weights: BlockWeights;
  B: number;
  T: number;
  /** projections that have factors, by their names within the block */
  adapted: ReadonlyMap<string, { in: number; out: number }>;
  /** N r */
  R: number;
  /** whether a backward pass follows */
  trains: boolean;
  /** false in the first block that has factors, whose input depends on nothing trainable */
  needsInputGradient: boolean;
}

/** Names of a block's inputs and results, beside its weights' own. */
export const NAMES = {
  x: 'x',
  y: 'y',
  dy: 'dy',
  dx: 'dx',
  gate: 'gate',
  cos: 'cos',
  sin: 'sin',
  rotateHalf: 'rotateHalf',
  mask: 'mask',
  a: (module: string) => `${module}.a`,
  b: (module: string) => `${module}.b`,
  da: (module: string) => `${module}.da`,
  db: (module: string) => `${module}.db`,
} as const;

/** @returns the programs, and the bytes that a back end keeps which runs the operations as they stand */
export function blockPrograms(form: BlockForm): Programs & { saved: number } {
  const { config, B, T, R, adapted, trains, needsInputGradient } = form;
  const { headDim: D, hiddenSize: C } = config;
  const M = B * T;
  const trace = new Trace();
  const x: T2 = trace.input(NAMES.x, [M, C]);
  const weights = new Map<string, Tensor>();
  for (const [name, { shape }] of form.weights) weights.set(name, trace.input(name, shape));
  const factors = new Map<string, StackedFactors>();
  for (const [module, { in: inSize, out }] of adapted) {
    factors.set(module, {
      a: trace.input(NAMES.a(module), [R, inSize]),
      b: trace.input(NAMES.b(module), [out, R]),
    });
  }
  const y = block(trace, x, {
    config,
    weights,
    positions: {
      cos: trace.input(NAMES.cos, [T, D]),
      sin: trace.input(NAMES.sin, [T, D]),
      rotateHalf: trace.input(NAMES.rotateHalf, [D, D]),
      mask: trace.input(NAMES.mask, [T, T]),
    },
    B,
    T,
    factors,
    gate: adapted.size > 0 ? trace.input<[number, number]>(NAMES.gate, [M, R]) : undefined,
    needsInputGradient,
  });
  const forward = [{ name: NAMES.y, value: y }];
  const title = `block ${B}x${T}`;
  const saved = [...trace.saved].reduce((sum, value) => sum + bytesOf(value), 0);
  if (!trains) return { ...cutTrace(trace, title, forward), saved };
  const from = trace.nodes.length;
  const dy: T2 = trace.input(NAMES.dy, [M, C]);
  const wanted = [...factors].flatMap(([module, { a, b }]) => [
    { name: NAMES.da(module), of: a as Tensor },
    { name: NAMES.db(module), of: b as Tensor },
  ]);
  if (needsInputGradient) wanted.push({ name: NAMES.dx, of: x });
  const gradients = trace.gradients(
    y,
    dy,
    wanted.map(({ of }) => of),
  );
  const results = wanted.map(({ name }, i) => ({ name, value: gradients[i] }));
  return { ...cutTrace(trace, title, forward, { from, results }), saved };
}
