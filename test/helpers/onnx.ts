/** Graphs written in the model's operations, run on ONNX Runtime and, for comparison, on TensorFlow.js. */

import * as tf from '@tensorflow/tfjs-core';
import { createRandom } from '../../src/core/random.js';
import { cutTrace } from '../../src/model/onnx/programs.js';
import { Trace } from '../../src/model/onnx/trace.js';
import type { Operations, Tensor } from '../../src/model/operations.js';
import { TFJS_OPERATIONS } from '../../src/model/tfjs-operations.js';
import type { Graph } from '../../src/onnx/encode.js';
import { type NumberArray, OnnxRuntime } from '../../src/onnx/runtime.js';

/** An operand: its shape, and its numbers. */
export interface Operand {
  shape: number[];
  data: Float32Array | Int32Array;
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Makes operands of normal numbers, by a seed. */
export function operands(seed: string) {
  const random = createRandom(5, seed);
  const reals = (shape: number[], of: (x: number) => number = (x) => x): Operand => {
    return { shape, data: Float32Array.from({ length: sizeOf(shape) }, () => of(random.normal())) };
  };
  const indices = (length: number, below: number): Operand => {
    return { shape: [length], data: Int32Array.from({ length }, () => Math.floor(random.uniform() * below)) };
  };
  return { reals, indices };
}

let runtime: OnnxRuntime | undefined;
/** ONNX Runtime with one thread, which gives the same bytes each time. */
export function oneThread(): OnnxRuntime {
  runtime ??= new OnnxRuntime({ threads: 1 });
  return runtime;
}

/** The results of a graph, by name. */
export async function runGraph(graph: Graph, given: Record<string, NumberArray>): Promise<Record<string, NumberArray>> {
  const session = oneThread().session(graph);
  const results = graph.outputs.map(({ shape, type }): NumberArray => {
    return type === 'int32' ? new Int32Array(sizeOf(shape)) : new Float32Array(sizeOf(shape));
  });
  const inputs = graph.inputs.map(({ name }) => given[name]!);
  await session.run(inputs, results);
  session.dispose();
  return Object.fromEntries(graph.outputs.map(({ name }, i) => [name, results[i]!]));
}

type Make = (ops: Operations, ...inputs: never[]) => Tensor | Tensor[];

/** The results of some operations, traced and run. */
export async function traced(make: Make, inputs: readonly Operand[]): Promise<Operand[]> {
  const trace = new Trace();
  const values = inputs.map(({ shape, data }, i) =>
    trace.input(`x${i}`, shape, data instanceof Int32Array ? 'int32' : 'float32'),
  );
  const made = [make(trace, ...(values as never[]))].flat();
  const results = made.map((value, i) => ({ name: `y${i}`, value }));
  const given = Object.fromEntries(inputs.map(({ data }, i) => [`x${i}`, data]));
  const found = await runGraph(cutTrace(trace, 'test', results).forward, given);
  return made.map(({ shape }, i) => ({ shape, data: found[`y${i}`] as Float32Array }));
}

/** The same at once, on the active back end of TensorFlow.js. */
export function computed(make: Make, inputs: readonly Operand[]): Operand[] {
  const tensors = inputs.map(({ shape, data }) =>
    tf.tensor(data, shape, data instanceof Int32Array ? 'int32' : 'float32'),
  );
  const made = [make(TFJS_OPERATIONS, ...(tensors as never[]))].flat() as tf.Tensor[];
  return made.map((tensor) => ({ shape: tensor.shape, data: tensor.dataSync() as Float32Array }));
}
