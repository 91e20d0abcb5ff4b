/**
 * Linear layers that read the same input, each with stacked, gated LoRA factors or none, and the operations that they open.
 *
 *     y_i = x W_i^T + b_i + (gate * (x A_i^T)) B_i^T
 *
 * With N adapters stacked along the rank, deltaW(x) = sum_n alpha_n(x) s B_n A_n takes two products, whatever N. The A of
 * all layers are laid below one another, so that the narrow products (x A^T, and the gradients of A and x) are done
 * once for the group.
 *
 * Letters: M rows, R = N*r stacked rank, L layers that have factors.
 */

import type { BlockForm } from '../hf/families/family.js';
import type { Operations, Saved, T1, T2 } from './operations.js';

/** A frozen linear layer as Hugging Face stores it: y = x W^T + b. */
export interface Linear {
  /** (out, in) */
  weight: T2;
  /** (out) */
  bias: T1 | null;
}

/** LoRA factors of one linear layer, all adapters of a pool stacked along the rank. */
export interface StackedFactors {
  /** (R, in) */
  a: T2;
  /** (out, R) */
  b: T2;
}

export class LoraLinears {
  readonly #ops: Operations;
  readonly #layers: readonly Linear[];
  readonly #gate: T2 | undefined;
  /** Widths of the parts of the only layer's output. */
  readonly #fused: number[] | undefined;
  /** Factors in the order in which gradients are returned: A, B of each layer that has them. */
  readonly factors: T2[];
  readonly #adapted: Array<StackedFactors | undefined>;

  /**
   * @param gate (M, R): every row's coefficients times the LoRA scale, each repeated r times
   * @param parts widths of the outputs; one layer with several parts holds them beside one another (phi3's qkv_proj)
   */
  constructor(
    ops: Operations,
    layers: readonly Linear[],
    factors: ReadonlyArray<StackedFactors | undefined>,
    gate: T2 | undefined,
    parts: readonly number[],
  ) {
    this.#ops = ops;
    this.#layers = layers;
    this.#fused = layers.length < parts.length ? [...parts] : undefined;
    this.#gate = gate;
    this.#adapted = factors.map((f) => (gate === undefined ? undefined : f));
    this.factors = this.#present.flatMap(({ a, b }) => [a, b]);
  }

  /** x (M, in) -> ys (M, out) of each layer or part, and hidden (M, L*R): the gated x A^T, undefined when no layer has factors */
  forward(x: T2): { ys: T2[]; hidden: T2 | undefined } {
    const ops = this.#ops;
    const base = this.#layers.map(({ weight, bias }) =>
      ops.product(x, weight, { transposeB: true, plus: bias ?? undefined }),
    );
    if (this.#present.length === 0) return { ys: this.#apart(base), hidden: undefined };
    const hidden = ops.mul(ops.product(x, this.#stackedA(), { transposeB: true }), this.#wideGate());
    const parts = this.#columns(hidden);
    const ys = base.map((y, i) => {
      const factors = this.#adapted[i];
      return factors === undefined ? y : ops.product(parts.shift()!, factors.b, { transposeB: true, plus: y });
    });
    return { ys: this.#apart(ys), hidden };
  }

  /**
   * Gradients of x and of `factors`.
   *
   * @param dParts (M, out) of each layer or part
   * @param needsInput false where x depends on nothing trainable, which saves its products
   */
  backward(dParts: T2[], x: T2, hidden: T2 | undefined, needsInput: boolean): { dx: T2 | undefined; factors: T2[] } {
    const ops = this.#ops;
    const dys = this.#fused === undefined ? dParts : [ops.concat(dParts, 1)];
    // each term is added to the sum of those before it by the product itself
    let dx: T2 | undefined;
    const addTerm = (dy: T2, weight: T2) => {
      dx = ops.product(dy, weight, { plus: dx });
    };
    if (needsInput) for (const [i, dy] of dys.entries()) addTerm(dy, this.#layers[i]!.weight);
    const factors: T2[] = [];
    if (hidden !== undefined) {
      const parts = this.#columns(hidden);
      const adapted = dys.map((dy, i) => ({ dy, b: this.#adapted[i]?.b })).filter(({ b }) => b !== undefined);
      const ungated = adapted.map(({ dy, b }) => ops.product(dy, b!)); // (M, R) each
      const du = ops.mul(ops.concat(ungated, 1), this.#wideGate()); // (M, L*R)
      if (needsInput) addTerm(du, this.#stackedA());
      const da = ops.product(du, x, { transposeA: true }); // (L*R, in)
      adapted.forEach(({ dy }, i) => {
        factors.push(this.#rows(da, i), ops.product(dy, parts[i]!, { transposeA: true }));
      });
    }
    return { dx, factors };
  }

  /** The outputs of the layers, or the parts of the only one's. */
  #apart(ys: T2[]): T2[] {
    return this.#fused === undefined ? ys : this.#ops.split(ys[0]!, this.#fused, 1);
  }

  get #present(): StackedFactors[] {
    return this.#adapted.filter((f) => f !== undefined);
  }

  /** (L*R, in) */
  #stackedA(): T2 {
    return this.#ops.concat(
      this.#present.map(({ a }) => a),
      0,
    );
  }

  /** (M, L*R) */
  #wideGate(): T2 {
    const L = this.#present.length;
    return L === 1 ? this.#gate! : this.#ops.repeat(this.#gate!, L, 1);
  }

  /** (M, L*R) cut into (M, R) of each layer */
  #columns(x: T2): T2[] {
    const L = this.#present.length;
    const [M, width] = x.shape;
    if (L === 1) return [x];
    return Array.from({ length: L }, (_, i) => this.#ops.slice(x, [0, (i * width) / L], [M, width / L]));
  }

  /** rows of the i-th layer in (L*R, in) */
  #rows(x: T2, i: number): T2 {
    const L = this.#present.length;
    const [height, width] = x.shape;
    return L === 1 ? x : this.#ops.slice(x, [(i * height) / L, 0], [height / L, width]);
  }
}

/** The output of a group of one. x (M, in) -> (M, out) */
export function loraLinear(ops: Operations, x: T2, linears: LoraLinears): T2 {
  return ops.operation([x, ...linears.factors], (x: T2) => {
    const { ys, hidden } = linears.forward(x);
    return {
      value: ys[0]!,
      saved: { x, hidden },
      backward: (dy: T2, { x, hidden }) => {
        const { dx, factors } = linears.backward([dy], x, hidden, true);
        return [dx!, ...factors];
      },
    };
  });
}

/** An activation f, with what its slope needs of the forward pass. */
interface Activation {
  forward(ops: Operations, x: T2): { value: T2 } & Saved;
  /** f'(x) */
  slope(ops: Operations, saved: Record<string, T2>): T2;
}

const ACTIVATIONS: Record<BlockForm['activation'], Activation> = {
  silu: {
    forward(ops, x) {
      const sigmoid = ops.sigmoid(x);
      return { value: ops.mul(x, sigmoid), sigmoid };
    },
    // silu'(x) = s + silu(x) (1 - s)
    slope: (ops, { value, sigmoid }) => ops.add(sigmoid!, ops.mul(value!, ops.complement(sigmoid!))),
  },
  // GELU's approximation x (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks and Gimpel, arXiv 1606.08415)
  'gelu-tanh': {
    forward(ops, x) {
      const inner = ops.mul(ops.mul(x, ops.add(ops.mul(ops.square(x), GELU_CUBE), 1)), GELU_ROOT);
      const share = ops.mul(ops.add(ops.tanh(inner), 1), 0.5); // (1 + tanh u) / 2
      return { value: ops.mul(x, share), x, share };
    },
    // share + x share', where share' = (1 - tanh^2) / 2 u' = 2 share (1 - share) u'
    slope(ops, { value, x, share }) {
      const inner = ops.mul(ops.add(ops.mul(ops.square(x!), 3 * GELU_CUBE), 1), 2 * GELU_ROOT);
      return ops.add(share!, ops.mul(ops.mul(value!, ops.complement(share!)), inner));
    },
  },
};
const GELU_ROOT = Math.sqrt(2 / Math.PI);
const GELU_CUBE = 0.044715;

/** f(gate) * up of the two outputs: SwiGLU or GeGLU. x (M, C) -> (M, I) */
export function gatedProduct(ops: Operations, x: T2, gateAndUp: LoraLinears, activation: BlockForm['activation']): T2 {
  const { forward, slope } = ACTIVATIONS[activation];
  return ops.operation([x, ...gateAndUp.factors], (x: T2) => {
    const { ys, hidden } = gateAndUp.forward(x);
    const [gate, up] = ys as [T2, T2];
    const active = forward(ops, gate);
    const names = Object.keys(active);
    const kept = Object.fromEntries(names.map((name) => [`f.${name}`, active[name]]));
    return {
      value: ops.mul(active.value, up),
      saved: { x, hidden, up, ...kept } as Saved,
      backward: (dy: T2, saved: Saved) => {
        const of = Object.fromEntries(names.map((name) => [name, saved[`f.${name}`] as T2]));
        const dGate = ops.mul(ops.mul(dy, saved.up!), slope(ops, of));
        const dUp = ops.mul(dy, of.value!);
        const { dx, factors } = gateAndUp.backward([dGate, dUp], saved.x as T2, saved.hidden as T2 | undefined, true);
        return [dx!, ...factors];
      },
    };
  });
}
