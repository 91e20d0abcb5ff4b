/** Every operation as a graph on ONNX Runtime, against TensorFlow.js's own. */

import { beforeAll, describe, expect, it } from 'vitest';
import { chooseBackend } from '../../../src/model/backend.js';
import { cutTrace } from '../../../src/model/onnx/programs.js';
import { Trace } from '../../../src/model/onnx/trace.js';
import type { Operations, T1, T2, T3, T4, Tensor } from '../../../src/model/operations.js';
import { TFJS_OPERATIONS } from '../../../src/model/tfjs-operations.js';
import { relativeDifference } from '../../helpers/fixtures.js';
import { computed, type Operand, operands, runGraph, traced } from '../../helpers/onnx.js';

beforeAll(async () => {
  await chooseBackend('cpu');
});

const { reals, indices } = operands('trace');
const positive = (shape: number[]) => reals(shape, (x) => Math.abs(x) + 0.1);

type Case = [
  operation: keyof Operations,
  what: string,
  make: (ops: Operations, ...x: never[]) => Tensor | Tensor[],
  Operand[],
];

const unary = (name: 'square' | 'exp' | 'tanh' | 'sigmoid' | 'complement' | 'softmax', shapes: number[][]): Case[] =>
  shapes.map((shape) => [name, `of ${shape}`, (ops, x: T2) => ops[name](x), [reals(shape)]]);

const CASES: Case[] = [
  ['product', '2 by 2', (ops, a: T2, b: T2) => ops.product(a, b), [reals([7, 5]), reals([5, 3])]],
  [
    'product',
    'a turned',
    (ops, a: T2, b: T2) => ops.product(a, b, { transposeA: true }),
    [reals([5, 7]), reals([5, 3])],
  ],
  [
    'product',
    'b turned',
    (ops, a: T2, b: T2) => ops.product(a, b, { transposeB: true }),
    [reals([7, 5]), reals([3, 5])],
  ],
  [
    'product',
    'both turned, plus a matrix',
    (ops, a: T2, b: T2, plus: T2) => ops.product(a, b, { transposeA: true, transposeB: true, plus }),
    [reals([5, 7]), reals([3, 5]), reals([7, 3])],
  ],
  [
    'product',
    'plus a row',
    (ops, a: T2, b: T2, plus: T1) => ops.product(a, b, { transposeB: true, plus }),
    [reals([7, 5]), reals([3, 5]), reals([3])],
  ],
  ['product', 'of pairs', (ops, a: T3, b: T3) => ops.product<T3>(a, b), [reals([4, 7, 5]), reals([4, 5, 3])]],
  [
    'product',
    'of pairs, a turned',
    (ops, a: T3, b: T3) => ops.product<T3>(a, b, { transposeA: true }),
    [reals([4, 5, 7]), reals([4, 5, 3])],
  ],
  [
    'product',
    'of pairs, b turned, plus',
    (ops, a: T3, b: T3, plus: T3) => ops.product<T3>(a, b, { transposeB: true, plus }),
    [reals([4, 7, 5]), reals([4, 3, 5]), reals([4, 7, 3])],
  ],
  ...(['add', 'sub', 'mul'] as const).flatMap((name): Case[] => [
    [name, 'alike', (ops, a: T2, b: T2) => ops[name](a, b), [reals([4, 6]), reals([4, 6])]],
    [name, 'a row', (ops, a: T2, b: T1) => ops[name](a, b), [reals([4, 6]), reals([6])]],
    [name, 'a column', (ops, a: T3, b: T3) => ops[name](a, b), [reals([2, 4, 6]), reals([2, 4, 1])]],
    [name, 'a matrix in four dimensions', (ops, a: T4, b: T2) => ops[name](a, b), [reals([2, 3, 4, 6]), reals([4, 6])]],
    [name, 'a number', (ops, a: T2) => ops[name](a, 0.3), [reals([4, 6])]],
    [name, 'a scalar', (ops, a: T2, b: Tensor) => ops[name](a, b), [reals([4, 6]), reals([])]],
  ]),
  ...([1, 2, 3, 5] as const).map((count): Case => {
    const terms = Array.from({ length: count }, () => reals([3, 5]));
    return ['sum', `of ${count}`, (ops, ...x: never[]) => ops.sum(x as unknown as T2[]), terms];
  }),
  ...unary('complement', [[3, 5]]),
  ...unary('square', [
    [3, 5],
    [2, 3, 4, 5],
  ]),
  ...unary('exp', [[3, 5]]),
  ...unary('tanh', [[3, 5]]),
  ...unary('sigmoid', [[3, 5]]),
  ...unary('softmax', [
    [3, 5],
    [2, 3, 4, 9],
    [1, 1],
  ]),
  ['rsqrt', 'of (3, 5)', (ops, x: T2) => ops.rsqrt(x), [positive([3, 5])]],
  ['log', 'of (3, 5)', (ops, x: T2) => ops.log(x), [positive([3, 5])]],
  ['mean', 'of (3, 5)', (ops, x: T2) => ops.mean(x), [positive([3, 5])]],
  ['mean', 'of (2, 3, 4, 5)', (ops, x: T4) => ops.mean(x), [positive([2, 3, 4, 5])]],
  ['total', 'of (3, 5)', (ops, x: T2) => ops.total(x), [positive([3, 5])]],
  ['total', 'of (2, 3, 4, 5)', (ops, x: T4) => ops.total(x), [positive([2, 3, 4, 5])]],
  ['largest', 'of (3, 5)', (ops, x: T2) => ops.largest(x), [reals([3, 5])]],
  ['totalOfAll', 'of (3, 5)', (ops, x: T2) => ops.totalOfAll(x), [positive([3, 5])]],
  ['argMax', 'of (9, 5)', (ops, x: T2) => ops.argMax(x), [reals([9, 5])]],
  ['reshape', 'to other dimensions', (ops, x: T3) => ops.reshape(x, [4, 6]), [reals([2, 3, 4])]],
  ['reshape', 'to the same', (ops, x: T3) => ops.reshape(x, [2, 3, 4]), [reals([2, 3, 4])]],
  ['transpose', '(0, 2, 1, 3)', (ops, x: T4) => ops.transpose(x, [0, 2, 1, 3]), [reals([2, 3, 4, 5])]],
  ['transpose', '(2, 0, 1)', (ops, x: T3) => ops.transpose(x, [2, 0, 1]), [reals([2, 3, 4])]],
  ['concat', 'one', (ops, x: T2) => ops.concat([x], 0), [reals([2, 3])]],
  ['concat', 'rows', (ops, x: T2, y: T2) => ops.concat([x, y], 0), [reals([2, 3]), reals([4, 3])]],
  ['concat', 'columns', (ops, x: T2, y: T2, z: T2) => ops.concat([x, y, z], 1), [2, 5, 1].map((n) => reals([3, n]))],
  ['split', 'into one', (ops, x: T2) => ops.split(x, [3], 1), [reals([2, 3])]],
  ['split', 'into columns', (ops, x: T2) => ops.split(x, [2, 5, 1], 1), [reals([3, 8])]],
  ['slice', 'in the midst', (ops, x: T3) => ops.slice(x, [1, 0, 2], [2, 3, 2]), [reals([4, 3, 5])]],
  ['slice', 'to the end', (ops, x: T3) => ops.slice(x, [1, 2, 0], [-1, 1, -1]), [reals([4, 3, 5])]],
  ['repeat', 'columns', (ops, x: T2) => ops.repeat(x, 3, 1), [reals([2, 3])]],
  ['repeat', 'rows', (ops, x: T2) => ops.repeat(x, 2, 0), [reals([2, 3])]],
  ['padTo', 'more rows', (ops, x: T3) => ops.padTo(x, 7, 1), [reals([2, 3, 4])]],
  ['padTo', 'no more', (ops, x: T3) => ops.padTo(x, 3, 1), [reals([2, 3, 4])]],
  ['rows', 'some twice', (ops, x: T2, at: T1) => ops.rows(x, at), [reals([5, 3]), indices(9, 5)]],
  ['pick', 'one of each row', (ops, x: T2, at: T1) => ops.pick(x, at), [reals([9, 5]), indices(9, 5)]],
  [
    'tidy',
    'a record',
    (ops, x: T2) => Object.values(ops.tidy(() => ({ a: ops.add(x, 1), b: ops.mul(x, 2) }))),
    [reals([2])],
  ],
  ['residual', 'outside of an operation', (ops, x: T2, y: T2) => ops.residual(x, y), [reals([2, 3]), reals([2, 3])]],
];

describe('an operation on ONNX Runtime is that of TensorFlow.js', () => {
  it.each(CASES)('%s: %s', async (_, __, make, inputs) => {
    const expected = computed(make, inputs);
    const found = await traced(make, inputs);
    expect(found.map(({ shape }) => shape)).toEqual(expected.map(({ shape }) => shape));
    for (const [i, { data }] of expected.entries()) {
      expect(relativeDifference(found[i]!.data, data)).toBeLessThan(1e-6);
    }
  });

  it('for all of them', () => {
    const tested = new Set<string>(CASES.map(([name]) => name));
    const untested = Object.keys(TFJS_OPERATIONS).filter((name) => !tested.has(name));
    expect(untested).toEqual(['operation']); // below
  });
});

describe('Trace', () => {
  it('refuses shapes that do not go together', () => {
    const trace = new Trace();
    const [a, b] = [trace.input<[number, number]>('a', [2, 3]), trace.input<[number, number]>('b', [2, 4])];
    expect(() => trace.product(a, b)).toThrow('2,3 by 2,4');
    expect(() => trace.add(a, b)).toThrow('2,3 beside 2,4');
  });

  it('writes the gradients of operations, summed where a value is used twice', async () => {
    const trace = new Trace();
    const [x, y, dy] = ['x', 'y', 'dy'].map((name) => trace.input(name, [4])) as [T1, T1, T1];
    const product = (a: T1, b: T1) =>
      trace.operation([a, b], (a: T1, b: T1) => ({
        // an operation within one gets no gradient of its own
        value: trace.operation([a], (a: T1) => ({ value: trace.mul(a, b), saved: {}, backward: () => [] })),
        saved: { a, b },
        backward: (d: T1, { a, b }) => [trace.mul(d, b), trace.mul(d, a)],
      }));
    const loss = trace.residual(product(product(x, y), x), x); // x^2 y + x
    const [dx, dY] = trace.gradients(loss, dy, [x, y]);
    const results = [
      { name: 'loss', value: loss },
      { name: 'dx', value: dx },
      { name: 'dY', value: dY },
    ];
    const [X, Y, D] = [
      [1, 2, -3, 0.5],
      [4, -1, 2, 3],
      [1, 1, 2, -1],
    ] as const;
    const given = { x: Float32Array.from(X), y: Float32Array.from(Y), dy: Float32Array.from(D) };
    const found = await runGraph(cutTrace(trace, 'test', results).forward, given);
    expect(Array.from(found.loss!)).toEqual(X.map((x, i) => x * x * Y[i]! + x));
    expect(Array.from(found.dx!)).toEqual(X.map((x, i) => D[i]! * (2 * x * Y[i]! + 1)));
    expect(Array.from(found.dY!)).toEqual(X.map((x, i) => D[i]! * x * x));
  });
});
