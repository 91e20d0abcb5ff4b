/**
 * The operations of a model written down as nodes of an ONNX graph, and their gradients: what TensorFlow.js computes at once is
 * here a program for ONNX Runtime. All shapes are fixed.
 */

import assert from 'node:assert/strict';
import type { Attribute, ElementType, GraphConstant, GraphNode, GraphValue } from '../../onnx/encode.js';
import type { Evaluated, Operations, ProductOptions, Saved, T0, T1, T2, T3, Tensor } from '../operations.js';

/** A value of the graph. */
class Value<S extends number[] = number[]> implements Tensor<S> {
  constructor(
    readonly name: string,
    readonly shape: S,
    readonly type: ElementType,
  ) {}
}

/** A node with what the planning of programs needs to know of it. */
export interface TracedNode extends GraphNode {
  results: Value[];
  /** operands that are no constants */
  operands: Value[];
  /** worth computing again rather than keeping */
  isCheap: boolean;
}

/** A differentiable step of the forward pass. */
interface Step {
  inputs: Tensor[];
  value: Tensor;
  backward: (dy: Tensor) => Tensor[];
}

export type TracedValue = Value;

/** Products and sums over an axis are kept; what is done number by number, or only moves numbers, is done again. */
const COSTLY = new Set(['Gemm', 'FusedMatMul', 'Softmax', 'ReduceMean', 'ReduceSum', 'ReduceMax', 'ArgMax']);

export class Trace implements Operations {
  readonly inputs: Value[] = [];
  readonly nodes: TracedNode[] = [];
  readonly constants = new Map<string, GraphConstant>();
  /** what the operations save for their gradients */
  readonly saved = new Set<Value>();
  readonly #steps: Step[] = [];
  /** operations that are being evaluated, one within another */
  #depth = 0;

  input<S extends number[]>(name: string, shape: S, type: ElementType = 'float32'): Tensor<S> {
    const value = new Value(name, shape, type);
    this.inputs.push(value as Value);
    return value;
  }

  /**
   * The gradients of a value of the forward pass, written behind it.
   *
   * @param dy gradient of a loss with respect to `y`
   * @returns those of `wanted`, in their order
   */
  gradients(y: Tensor, dy: Tensor, wanted: readonly Tensor[]): Tensor[] {
    const terms = new Map<Tensor, Tensor[]>([[y, [dy]]]);
    const add = (x: Tensor, dx: Tensor) => terms.set(x, [...(terms.get(x) ?? []), dx]);
    this.#depth++;
    for (const { inputs, value, backward } of [...this.#steps].reverse()) {
      const found = terms.get(value);
      if (found === undefined) continue;
      const gradient = this.sum(found);
      for (const [i, dx] of backward(gradient).entries()) add(inputs[i]!, dx);
    }
    this.#depth--;
    return wanted.map((x) => this.sum(terms.get(x)!));
  }

  operation<Y extends Tensor, S extends Saved>(inputs: Tensor[], forward: (...inputs: never[]) => Evaluated<Y, S>): Y {
    this.#depth++;
    const { value, saved, backward } = (forward as (...inputs: Tensor[]) => Evaluated<Y, S>)(...inputs);
    this.#depth--;
    if (this.#depth === 0) {
      this.#steps.push({ inputs, value, backward: (dy) => backward(dy as Y, saved) });
      for (const tensor of Object.values(saved)) if (tensor !== undefined) this.saved.add(tensor as Value);
    }
    return value;
  }

  residual<T extends Tensor>(x: T, y: T): T {
    const value = this.add(x, y);
    this.#steps.push({ inputs: [x, y], value, backward: (dy) => [dy, dy] });
    return value;
  }

  tidy<T extends Tensor | Record<string, Tensor>>(make: () => T): T {
    return make();
  }

  product<T extends T2 | T3 = T2>(a: T, b: T, options: ProductOptions = {}): T {
    const { transposeA = false, transposeB = false, plus } = options;
    const [rows, inner] = transposeA ? swapped(a.shape) : lastTwo(a.shape);
    const [alsoInner, columns] = transposeB ? swapped(b.shape) : lastTwo(b.shape);
    assert(inner === alsoInner, `${a.shape} by ${b.shape}`);
    const attributes = { transA: Number(transposeA), transB: Number(transposeB) };
    const shape = [...a.shape.slice(0, -2), rows, columns];
    if (a.shape.length === 2) return this.#node('Gemm', plus ? [a, b, plus] : [a, b], shape, { attributes });
    const y = this.#node<T>('FusedMatMul', [a, b], shape, {
      domain: 'com.microsoft',
      attributes: { ...attributes, alpha: { real: 1 } },
    });
    return plus === undefined ? y : this.add(y, plus);
  }

  add<T extends Tensor>(a: T, b: Tensor | number): T {
    return this.#pair('Add', a, b);
  }
  sub<T extends Tensor>(a: T, b: Tensor | number): T {
    return this.#pair('Sub', a, b);
  }
  mul<T extends Tensor>(a: T, b: Tensor | number): T {
    return this.#pair('Mul', a, b);
  }
  complement<T extends Tensor>(x: T): T {
    return this.#node('Sub', [this.#number(1), x], x.shape);
  }
  sum<T extends Tensor>(terms: T[]): T {
    if (terms.length === 1) return terms[0]!;
    return this.#node(terms.length === 2 ? 'Add' : 'Sum', terms, terms[0]!.shape);
  }
  square<T extends Tensor>(x: T): T {
    return this.#pair('Mul', x, x);
  }
  /** a / b */
  div<T extends Tensor>(a: T, b: Tensor): T {
    return this.#pair('Div', a, b);
  }
  sqrt<T extends Tensor>(x: T): T {
    return this.#same('Sqrt', x);
  }
  rsqrt<T extends Tensor>(x: T): T {
    return this.#same('Reciprocal', this.sqrt(x));
  }
  exp<T extends Tensor>(x: T): T {
    return this.#same('Exp', x);
  }
  log<T extends Tensor>(x: T): T {
    return this.#same('Log', x);
  }
  tanh<T extends Tensor>(x: T): T {
    return this.#same('Tanh', x);
  }
  sigmoid<T extends Tensor>(x: T): T {
    return this.#same('Sigmoid', x);
  }
  softmax<T extends Tensor>(x: T): T {
    return this.#node('Softmax', [x], x.shape, { attributes: { axis: -1 } });
  }
  mean(x: Tensor): Tensor {
    return this.#reduce('ReduceMean', x, [...x.shape.slice(0, -1), 1]);
  }
  total<T extends Tensor>(x: Tensor): T {
    return this.#reduce('ReduceSum', x, x.shape.slice(0, -1));
  }
  largest<T extends Tensor>(x: Tensor): T {
    return this.#reduce('ReduceMax', x, x.shape.slice(0, -1));
  }
  totalOfAll(x: Tensor): T0 {
    return this.#node('ReduceSum', [x], [], { attributes: { keepdims: 0 } });
  }
  argMax(x: T2): T1 {
    const wide = this.#node<T1>('ArgMax', [x], [x.shape[0]], { attributes: { axis: 1, keepdims: 0 }, type: 'int64' });
    return this.#node('Cast', [wide], wide.shape, { attributes: { to: 6 }, type: 'int32' });
  }

  reshape<T extends Tensor>(x: Tensor, shape: T['shape']): T {
    if (String(shape) === String(x.shape)) return x as T;
    return this.#node('Reshape', [x, this.#whole(shape)], shape);
  }
  transpose<T extends Tensor>(x: T, permutation: number[]): T {
    const shape = permutation.map((axis) => x.shape[axis]!);
    return this.#node('Transpose', [x], shape, { attributes: { perm: permutation } });
  }
  concat<T extends Tensor>(parts: T[], axis: number): T {
    if (parts.length === 1) return parts[0]!;
    const shape = [...parts[0]!.shape];
    shape[axis] = parts.reduce((sum, part) => sum + part.shape[axis]!, 0);
    return this.#node('Concat', parts, shape, { attributes: { axis } });
  }
  split<T extends Tensor>(x: T, sizes: number[], axis: number): T[] {
    let from = 0;
    return sizes.map((size) => {
      const begin = x.shape.map((_, i) => (i === axis ? from : 0));
      from += size;
      return this.slice(
        x,
        begin,
        x.shape.map((whole, i) => (i === axis ? size : whole)),
      );
    });
  }
  slice<T extends Tensor>(x: T, begin: number[], size: number[]): T {
    const shape = size.map((n, i) => (n === -1 ? x.shape[i]! - begin[i]! : n));
    const ends = shape.map((n, i) => begin[i]! + n);
    return this.#node('Slice', [x, this.#whole(begin), this.#whole(ends)], shape);
  }
  repeat<T extends Tensor>(x: T, times: number, axis: number): T {
    const repeats = x.shape.map((_, i) => (i === axis ? times : 1));
    return this.#node(
      'Tile',
      [x, this.#whole(repeats)],
      x.shape.map((n, i) => n * repeats[i]!),
    );
  }
  padTo<T extends Tensor>(x: T, size: number, axis: number): T {
    const none = x.shape.map(() => 0);
    const after = x.shape.map((have, i) => (i === axis ? size - have : 0));
    return this.#node(
      'Pad',
      [x, this.#whole([...none, ...after])],
      x.shape.map((have, i) => have + after[i]!),
    );
  }
  rows(x: T2, indices: T1): T2 {
    return this.#node('Gather', [x, indices], [indices.shape[0], x.shape[1]], { attributes: { axis: 0 } });
  }
  pick(x: T2, indices: T1): T1 {
    const [P] = indices.shape;
    const column = this.reshape<T2>(indices, [P, 1]);
    const picked = this.#node<T2>('GatherElements', [x, column], [P, 1], { attributes: { axis: 1 } });
    return this.reshape(picked, [P]);
  }

  #same<T extends Tensor>(op: string, x: T): T {
    return this.#node(op, [x], x.shape);
  }

  #pair<T extends Tensor>(op: string, a: T, b: Tensor | number): T {
    const right = typeof b === 'number' ? this.#number(b) : b;
    return this.#node(op, [a, right], broadcast(a.shape, right.shape));
  }

  #reduce<T extends Tensor>(op: string, x: Tensor, shape: number[]): T {
    const keepdims = Number(shape.length === x.shape.length);
    return this.#node(op, [x, this.#whole([-1])], shape, { attributes: { keepdims } });
  }

  #number(value: number): Value {
    return this.#constant(`n:${value}`, [], 'float32', Float32Array.of(value));
  }

  #whole(values: readonly number[]): Value {
    return this.#constant(`i:${values}`, [values.length], 'int64', BigInt64Array.from(values, BigInt));
  }

  #constant(name: string, shape: number[], type: ElementType, data: ArrayBufferView): Value {
    this.constants.set(name, { name, shape, type, data });
    return new Value(name, shape, type);
  }

  #node<T extends Tensor>(
    op: string,
    inputs: readonly Tensor[],
    shape: number[],
    { domain, attributes, type }: { domain?: string; attributes?: Record<string, Attribute>; type?: ElementType } = {},
  ): T {
    const values = inputs as readonly Value[];
    const result = new Value(`v${this.nodes.length}`, shape, type ?? values[0]!.type);
    this.nodes.push({
      op,
      ...(domain === undefined ? {} : { domain }),
      ...(attributes === undefined ? {} : { attributes }),
      inputs: values.map(({ name }) => name),
      outputs: [result.name],
      results: [result],
      operands: values.filter(({ name }) => !this.constants.has(name)),
      isCheap: !COSTLY.has(op),
    });
    return result as unknown as T;
  }
}

const lastTwo = (shape: readonly number[]): [number, number] => [shape.at(-2)!, shape.at(-1)!];
const swapped = (shape: readonly number[]): [number, number] => [shape.at(-1)!, shape.at(-2)!];

/** The shape of an operation on two arrays, by numpy's rule. */
function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const [x, y] = [a[a.length - rank + i] ?? 1, b[b.length - rank + i] ?? 1];
    assert(x === y || x === 1 || y === 1, `${a} beside ${b}`);
    return Math.max(x, y);
  });
}

/** What a program is given or gives. */
export const graphValue = ({ name, shape, type }: Value): GraphValue => ({ name, shape, type });

/** Bytes of a value; all types but the small integers take four bytes a number. */
export const bytesOf = ({ shape }: Value): number => 4 * shape.reduce((a, b) => a * b, 1);
