/** What we write is read by the package's own JavaScript, which knows nothing of our use of the C API. */

import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { ELEMENT_TYPES, encodeModel, type Graph, type GraphNode, productGraph } from '../../src/onnx/encode.js';

interface OrtTensor {
  data: ArrayLike<number | bigint>;
  dims: readonly number[];
}
interface OrtSession {
  inputNames: string[];
  outputNames: string[];
  inputMetadata: Array<{ name: string; type: string; shape: Array<number | string> }>;
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
}
const { InferenceSession, Tensor } = createRequire(import.meta.url)('onnxruntime-node') as {
  InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> };
  Tensor: new (type: string, data: ArrayBufferView, dims: readonly number[]) => OrtTensor;
};

const read = (graph: Graph) =>
  InferenceSession.create(encodeModel(graph), { logSeverityLevel: 4, intraOpNumThreads: 1 });

const [A, B] = [Float32Array.from([1, 2, 3, 4, 5, 6]), Float32Array.from([1, -1, 0.5, 2, 7, -3])];

/** A graph of one node over a (2, 3) and b (2, 3). */
const graphOf = (node: GraphNode, shape: number[], constants: Graph['constants'] = []): Graph => ({
  name: 'one node',
  inputs: ['a', 'b'].map((name) => ({ name, type: 'float32', shape: [2, 3] })),
  outputs: [{ name: 'y', type: 'float32', shape }],
  constants,
  nodes: [node],
});

async function resultOf(graph: Graph): Promise<number[]> {
  const session = await read(graph);
  const feeds = { a: new Tensor('float32', A, [2, 3]), b: new Tensor('float32', B, [2, 3]) };
  return Array.from((await session.run(feeds)).y!.data, Number);
}

describe('encodeModel', () => {
  it('writes names, types and shapes', async () => {
    const session = await read({
      name: 'types',
      inputs: [
        { name: 'größe', type: 'float32', shape: [300, 2] },
        { name: 'i', type: 'int32', shape: [] },
      ],
      outputs: [
        { name: 'y', type: 'float32', shape: [300, 2] },
        { name: 'j', type: 'int32', shape: [] },
      ],
      constants: [],
      nodes: [
        { op: 'Neg', inputs: ['größe'], outputs: ['y'] },
        { op: 'Identity', inputs: ['i'], outputs: ['j'] },
      ],
    });
    expect(session.outputNames).toEqual(['y', 'j']);
    expect(session.inputMetadata.map(({ name, type, shape }) => [name, type, shape])).toEqual([
      ['größe', 'float32', [300, 2]],
      ['i', 'int32', []],
    ]);
  });

  it.each<[string, GraphNode, number[], number[], Graph['constants']?]>([
    ['no attribute', { op: 'Mul', inputs: ['a', 'b'], outputs: ['y'] }, [2, 3], [1, -2, 1.5, 8, 35, -18]],
    [
      'whole numbers and a real one that looks whole',
      {
        op: 'Gemm',
        inputs: ['a', 'b'],
        outputs: ['y'],
        attributes: { transA: 0, transB: 1, alpha: { real: 2 }, beta: { real: 0.5 } },
      },
      [2, 2],
      [1, 14, 4, 50],
    ],
    [
      'a list of whole numbers',
      { op: 'Transpose', inputs: ['a'], outputs: ['y'], attributes: { perm: [1, 0] } },
      [3, 2],
      [1, 4, 2, 5, 3, 6],
    ],
    [
      'a negative whole number',
      { op: 'Concat', inputs: ['a', 'b'], outputs: ['y'], attributes: { axis: -1 } },
      [2, 6],
      [1, 2, 3, 1, -1, 0.5, 4, 5, 6, 2, 7, -3],
    ],
    [
      'text, and an input left out',
      { op: 'Pad', inputs: ['a', 'pads', '', 'axes'], outputs: ['y'], attributes: { mode: 'edge' } },
      [2, 4],
      [1, 1, 2, 3, 4, 4, 5, 6],
      [
        { name: 'pads', type: 'int64', shape: [2], data: BigInt64Array.from([1n, 0n]) },
        { name: 'axes', type: 'int64', shape: [1], data: BigInt64Array.from([-1n]) },
      ],
    ],
    [
      'a constant that is a view into a longer buffer',
      { op: 'Add', inputs: ['a', 'c'], outputs: ['y'] },
      [2, 3],
      [11, 22, 33, 14, 25, 36],
      [{ name: 'c', type: 'float32', shape: [3], data: Float32Array.from([0, 10, 20, 30, 0]).subarray(1, 4) }],
    ],
    [
      "an operation of Microsoft's domain",
      { op: 'FusedMatMul', domain: 'com.microsoft', inputs: ['a', 'b'], outputs: ['y'], attributes: { transB: 1 } },
      [2, 2],
      [0.5, 7, 2, 25],
    ],
  ])('writes %s', async (_, node, shape, expected, constants = []) => {
    expect(await resultOf(graphOf(node, shape, constants))).toEqual(expected);
  });

  it('numbers the element types as the runtime does', async () => {
    for (const [name, bytes] of [
      ['uint8', Uint8Array.of(7)],
      ['int8', Int8Array.of(-7)],
      ['int64', BigInt64Array.of(-7n)],
      ['float16', Uint16Array.of(0xc700)], // -7
      ['bfloat16', Uint16Array.of(0xc0e0)], // -7
    ] as const) {
      const graph = graphOf(
        { op: 'Cast', inputs: ['c'], outputs: ['y'], attributes: { to: 1 } },
        [1],
        [{ name: 'c', type: name, shape: [1], data: bytes }],
      );
      expect(await resultOf(graph), name).toEqual([name === 'uint8' ? 7 : -7]);
    }
    expect(ELEMENT_TYPES.float32).toBe(1);
  });

  it('writes the product that measures a back end', async () => {
    const session = await read(productGraph(2));
    const [a, b] = [Float32Array.from([1, 2, 3, 4]), Float32Array.from([5, 6, 7, 8])];
    const feeds = { a: new Tensor('float32', a, [2, 2]), b: new Tensor('float32', b, [2, 2]) };
    expect(Array.from((await session.run(feeds)).y!.data)).toEqual([19, 22, 43, 50]);
  });
});
