/**
 * AdamW as a program over a piece of the flat vector that fits a processor's cache: one pass through memory does all of it.
 * The equations and their order are those of adamw.ts.
 */

import type { NumberArray, OnnxRuntime, OnnxSession } from '../../onnx/runtime.js';
import type { AdamWOptions } from '../adamw-settings.js';
import type { T0, T1 } from '../operations.js';
import { cutTrace } from './programs.js';
import { Trace } from './trace.js';

/** Numbers of a piece: with moments, gradient and what lies between, under two megabytes. */
const PIECE = 2 ** 16;

export interface MomentArrays {
  parameters: Float32Array;
  m: Float32Array;
  v: Float32Array;
}

export class AdamWProgram {
  readonly #options: AdamWOptions;
  readonly #runtime: OnnxRuntime;
  /** by the length of the piece: one for all but the last */
  readonly #updates = new Map<number, OnnxSession>();
  readonly #squares = new Map<number, OnnxSession>();

  constructor(options: AdamWOptions, runtime: OnnxRuntime) {
    this.#options = options;
    this.#runtime = runtime;
  }

  /**
   * One update, in place.
   *
   * @param step updates done, this one included
   * @returns the gradient's norm before clipping
   */
  async update({ parameters, m, v }: MomentArrays, gradient: Float32Array, learningRate: number, step: number) {
    const { beta1, beta2, epsilon, weightDecay, clipNorm } = this.#options;
    let square = 0;
    const sum = new Float32Array(1);
    for (const [from, to] of pieces(gradient.length)) {
      const session = this.#session(this.#squares, to - from, squareProgram);
      await session.run([gradient.subarray(from, to)], [sum]);
      square += sum[0]!;
    }
    const norm = Math.sqrt(square);
    const clip = Math.min(1, clipNorm / (norm + 1e-6));
    const scalars: NumberArray[] = [
      (1 - beta1) * clip,
      (1 - beta2) * clip * clip,
      1 - learningRate * weightDecay,
      learningRate / (1 - beta1 ** step),
      1 / Math.sqrt(1 - beta2 ** step),
    ].map((x) => Float32Array.of(x));
    for (const [from, to] of pieces(gradient.length)) {
      const session = this.#session(this.#updates, to - from, (n) => updateProgram(n, beta1, beta2, epsilon));
      const [p, first, second] = [parameters, m, v].map((x) => x.subarray(from, to));
      // each result overwrites what it was made from: nothing else reads that
      const places = [p!, first!, second!];
      await session.run([...places, gradient.subarray(from, to), ...scalars], places);
    }
    return norm;
  }

  dispose(): void {
    for (const session of [...this.#updates.values(), ...this.#squares.values()]) session.dispose();
  }

  #session(known: Map<number, OnnxSession>, length: number, make: (n: number) => ReturnType<typeof squareProgram>) {
    if (!known.has(length)) known.set(length, this.#runtime.session(make(length)));
    return known.get(length)!;
  }
}

function* pieces(length: number): Generator<[number, number]> {
  for (let from = 0; from < length; from += PIECE) yield [from, Math.min(length, from + PIECE)];
}

/** gradient (n) -> sum of its squares */
function squareProgram(n: number) {
  const trace = new Trace();
  const g: T1 = trace.input('gradient', [n]);
  return cutTrace(trace, 'sum of squares', [{ name: 'sum', value: trace.totalOfAll(trace.square(g)) }]).forward;
}

/** p, m, v, gradient (n) and the scalars of `update` -> p, m, v */
function updateProgram(n: number, beta1: number, beta2: number, epsilon: number) {
  const trace = new Trace();
  const vector = (name: string): T1 => trace.input(name, [n]);
  const scalar = (name: string): T0 => trace.input(name, []);
  const [p, m, v, g] = [vector('p'), vector('m'), vector('v'), vector('gradient')] as const;
  const [ofFirst, ofSecond, decay] = [scalar('ofFirst'), scalar('ofSecond'), scalar('decay')] as const;
  const [stepSize, rootScale] = [scalar('stepSize'), scalar('rootScale')] as const;
  const first = trace.add(trace.mul(m, beta1), trace.mul(g, ofFirst));
  const second = trace.add(trace.mul(v, beta2), trace.mul(trace.square(g), ofSecond));
  const denominator = trace.add(trace.mul(trace.sqrt(second), rootScale), epsilon);
  const next = trace.sub(trace.mul(p, decay), trace.div(trace.mul(first, stepSize), denominator));
  return cutTrace(trace, 'AdamW', [
    { name: 'next p', value: next },
    { name: 'next m', value: first },
    { name: 'next v', value: second },
  ]).forward;
}
