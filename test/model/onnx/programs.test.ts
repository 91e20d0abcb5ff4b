/** A trace in one piece against the same trace cut into a forward and a backward program. */

import { describe, expect, it } from 'vitest';
import { gatedProduct, LoraLinears } from '../../../src/model/lora-linears.js';
import { cutTrace, type Results } from '../../../src/model/onnx/programs.js';
import { Trace } from '../../../src/model/onnx/trace.js';
import type { T1, T2, Tensor } from '../../../src/model/operations.js';
import { rmsNorm } from '../../../src/model/ops.js';
import type { NumberArray } from '../../../src/onnx/runtime.js';
import { relativeDifference } from '../../helpers/fixtures.js';
import { operands, runGraph, sizeOf } from '../../helpers/onnx.js';

const SHAPES = { x: [6, 8], norm: [8], gate: [12, 8], up: [12, 8], a: [4, 8], b: [12, 4], gates: [6, 4], dy: [6, 12] };
const { reals } = operands('programs');
const GIVEN: Record<string, NumberArray> = Object.fromEntries(
  Object.entries(SHAPES).map(([name, shape]) => [name, reals(shape).data]),
);

/** A norm and a gated product with a LoRA on one of its layers. */
function written(activation: 'silu' | 'gelu-tanh') {
  const trace = new Trace();
  const input = <T extends Tensor>(name: keyof typeof SHAPES) => trace.input(name, SHAPES[name]) as unknown as T;
  const x: T2 = input('x');
  const [a, b]: T2[] = [input('a'), input('b')];
  const layers = (['gate', 'up'] as const).map((name) => ({ weight: input<T2>(name), bias: null }));
  const linears = new LoraLinears(trace, layers, [{ a: a!, b: b! }, undefined], input('gates'), [12, 12]);
  const y = gatedProduct(trace, rmsNorm(trace, x, input<T1>('norm'), 1e-5), linears, activation);
  const from = trace.nodes.length;
  const gradients = trace.gradients(y, input('dy'), [x, a!, b!]);
  const forward: Results = [{ name: 'y', value: y }];
  const backward: Results = ['dx', 'da', 'db'].map((name, i) => ({ name, value: gradients[i] }));
  return { trace, from, forward, backward };
}

describe('cutTrace', () => {
  it.each(['silu', 'gelu-tanh'] as const)('gives in two programs what one gives: %s', async (activation) => {
    const { trace, from, forward, backward } = written(activation);
    const whole = await runGraph(cutTrace(trace, 'whole', [...forward, ...backward]).forward, GIVEN);

    const cut = cutTrace(trace, 'cut', forward, { from, results: backward });
    const left = await runGraph(cut.forward, GIVEN);
    const found = await runGraph(cut.backward!, { ...GIVEN, ...left });
    expect(left.y).toEqual(whole.y);
    // a value that is computed again is the one that was kept
    for (const name of ['dx', 'da', 'db'])
      expect(relativeDifference(found[name]!, whole[name]!), name).toBeLessThan(1e-6);
    expect(cut.crossing.map(({ name }) => left[name]!.length)).toEqual(cut.crossing.map(({ length }) => length));
  });

  it('keeps products and what is small, and computes the rest again', () => {
    const { trace, from, forward, backward } = written('silu');
    const { crossing, forward: first, backward: second } = cutTrace(trace, 'cut', forward, { from, results: backward });
    const maker = new Map(trace.nodes.map(({ op, outputs }) => [outputs[0]!, op]));
    // gate, up and x A^T, and the mean square of each row
    expect(crossing.map(({ name }) => maker.get(name)).sort()).toEqual(['Gemm', 'Gemm', 'Gemm', 'ReduceMean']);
    expect(crossing.reduce((sum, { length }) => sum + length, 0)).toBe(2 * 6 * 12 + 6 * 4 + 6);
    const ops = (graph: typeof first) => graph.nodes.map(({ op }) => op);
    expect(ops(second!)).toContain('Sigmoid');
    expect(ops(first)).not.toContain('ReduceSum');
    // the only products of the backward pass are its own: dx of two layers, and du, its part of dx, dA and dB
    expect(ops(second!).filter((op) => op === 'Gemm')).toHaveLength(6);
  });

  it('gives each program no input that it does not read', () => {
    const { trace, from, forward, backward } = written('silu');
    const cut = cutTrace(trace, 'cut', forward, { from, results: backward });
    for (const graph of [cut.forward, cut.backward!]) {
      const read = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
      expect([...graph.inputs, ...graph.constants].filter(({ name }) => !read.has(name))).toEqual([]);
    }
    expect(cut.forward.inputs.map(({ name }) => name)).not.toContain('dy');
  });

  it('writes no backward program where nothing is trained', () => {
    const { trace, forward } = written('silu');
    const { backward, crossing, forward: first } = cutTrace(trace, 'forward', forward);
    expect(backward).toBeUndefined();
    expect(crossing).toEqual([]);
    expect(first.outputs.map(({ name }) => name)).toEqual(['y']);
    expect(sizeOf(first.outputs[0]!.shape)).toBe(6 * 12);
  });
});
