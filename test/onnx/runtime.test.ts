import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { CrayonError } from '../../src/core/errors.js';
import { type Graph, productGraph } from '../../src/onnx/encode.js';
import { OnnxRuntime } from '../../src/onnx/runtime.js';

const runtime = new OnnxRuntime({ threads: 1 });
const SIZE = 64;
const [A, B] = [1, 2].map((seed) => Float32Array.from({ length: SIZE ** 2 }, (_, i) => Math.sin(seed * i)));

const oneNode = (op: string, inputs: string[]): Graph => ({
  name: 'one node',
  inputs: [{ name: 'x', type: 'float32', shape: [2, 3] }],
  outputs: [{ name: 'y', type: 'float32', shape: [2, 3] }],
  constants: [],
  nodes: [{ op, inputs, outputs: ['y'] }],
});

describe('OnnxRuntime', () => {
  it('is of the version that the package has', () => {
    const path = new URL('../../node_modules/onnxruntime-node/package.json', import.meta.url);
    expect(runtime.version).toBe(JSON.parse(readFileSync(path, 'utf8')).version);
    expect(runtime.threads).toBe(2);
  });

  it('writes results where they are wanted, and the same bytes each time', async () => {
    const session = runtime.session(productGraph(SIZE));
    const whole = new Float32Array(2 * SIZE ** 2 + 3).fill(7);
    const places = [1, 2].map((i) => whole.subarray(i + (i - 1) * SIZE ** 2, i + i * SIZE ** 2));
    for (const place of places) await session.run([A!, B!], [place]);
    let expected = 0;
    for (let k = 0; k < SIZE; k++) expected += A![3 * SIZE + k]! * B![k * SIZE + 5]!;
    expect(places[0]![3 * SIZE + 5]).toBeCloseTo(expected, 4);
    expect(places[1]).toEqual(places[0]);
    expect([0, SIZE ** 2 + 1, 2 * SIZE ** 2 + 2].map((i) => whole[i])).toEqual([7, 7, 7]); // nothing beside them
    session.dispose();
  });

  it('runs several sessions at once', async () => {
    const session = runtime.session(productGraph(SIZE));
    const twice = runtime.session(oneNode('Neg', ['x']));
    const products = Array.from({ length: 4 }, () => new Float32Array(SIZE ** 2));
    const negative = new Float32Array(6);
    await Promise.all([
      ...products.map((y) => session.run([A!, B!], [y])),
      twice.run([Float32Array.from([1, 2, 3, 4, 5, 6])], [negative]),
    ]);
    for (const y of products) expect(y).toEqual(products[0]);
    expect(products[0]!.some((x) => x !== 0)).toBe(true);
    expect(Array.from(negative)).toEqual([-1, -2, -3, -4, -5, -6]);
    session.dispose();
    twice.dispose();
  });

  it('outlives collections of garbage, during runs and between them', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const session = runtime.session(productGraph(SIZE));
    const y = new Float32Array(SIZE ** 2);
    for (let i = 0; i < 3; i++) {
      const [running] = [session.run([Float32Array.from(A!), Float32Array.from(B!)], [y])];
      collect();
      await running;
      await new Promise(setImmediate); // finalizers
    }
    const expected = new Float32Array(SIZE ** 2);
    await session.run([A!, B!], [expected]);
    expect(y).toEqual(expected);
    session.dispose();
  });

  it('leaves the event loop free while it runs', async () => {
    const size = 1500; // some tenths of a second on one core: many turns, whoever else has the machine
    const session = runtime.session(productGraph(size));
    const [a, b, y] = Array.from({ length: 3 }, () => new Float32Array(size ** 2).fill(1));
    let turns = 0;
    let isDone = false;
    const turn = () => {
      turns++;
      if (!isDone) setImmediate(turn);
    };
    setImmediate(turn);
    await session.run([a!, b!], [y!]);
    isDone = true;
    expect(y![0]).toBe(size);
    expect(turns).toBeGreaterThan(1);
    session.dispose();
  });

  it('says what array has a wrong length', async () => {
    const session = runtime.session(productGraph(2));
    const [short, right] = [new Float32Array(3), new Float32Array(4)];
    await expect(session.run([right, short], [right])).rejects.toThrow('product: b has 3 numbers, not 4');
    await expect(session.run([right, right], [short])).rejects.toThrow('product: y has 3 numbers, not 4');
    session.dispose();
  });

  it.each([
    ['an operation that does not exist', oneNode('Negate', ['x']), 'Negate'],
    ['a value that nothing makes', oneNode('Neg', ['z']), 'z'],
    ['too many inputs', oneNode('Neg', ['x', 'x']), 'Neg'],
  ])('refuses a graph with %s', (_, graph, named) => {
    const error = (() => {
      try {
        runtime.session(graph);
      } catch (error) {
        return error;
      }
    })();
    expect(error).toBeInstanceOf(CrayonError);
    expect((error as CrayonError).code).toBe('tensor-runtime-failed');
    expect((error as CrayonError).message).toContain('ONNX Runtime: ');
    expect((error as CrayonError).message).toContain(named);
    expect((error as CrayonError).hint).toContain('--backend wasm');
  });

  it('fails a run whose indices lie outside', async () => {
    const session = runtime.session({
      name: 'rows',
      inputs: [
        { name: 'x', type: 'float32', shape: [2, 3] },
        { name: 'i', type: 'int32', shape: [1] },
      ],
      outputs: [{ name: 'y', type: 'float32', shape: [1, 3] }],
      constants: [],
      nodes: [{ op: 'Gather', inputs: ['x', 'i'], outputs: ['y'] }],
    });
    const x = Float32Array.from([1, 2, 3, 4, 5, 6]);
    const y = new Float32Array(3);
    await expect(session.run([x, Int32Array.of(2)], [y])).rejects.toMatchObject({ code: 'tensor-runtime-failed' });
    await session.run([x, Int32Array.of(1)], [y]); // the session goes on
    expect(Array.from(y)).toEqual([4, 5, 6]);
    session.dispose();
  });
});
