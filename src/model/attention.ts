/**
 * Causal self-attention with grouped key/value heads, from the normalised input to the heads' outputs, as one operation.
 *
 * Long sequences are done a chunk of queries at a time, each against the keys up to its end: the upper triangle is never
 * computed, and no temporary is larger than a chunk's. Where all probabilities together are large they are not
 * kept for the backward pass but computed again, as Dao et al. do (FlashAttention, arXiv 2205.14135).
 *
 * Letters: B batch, T tokens, M = B*T rows, C hidden size, H query heads, K key/value heads, G = H/K, D head size.
 */

import type { LoraLinears } from './lora-linears.js';
import type { Operations, Saved, T1, T2, T3, T4, Tensor } from './operations.js';
import { normalise, normaliseBackward } from './ops.js';

export interface AttentionShape {
  B: number;
  T: number;
  H: number;
  K: number;
  D: number;
}

/** What attention needs to know of the positions 0..T-1. */
export interface Positions {
  /** (T, D) cosines times D^(-1/4): queries and keys are both turned by them, so their product is scaled by D^(-1/2) */
  cos: T2;
  /** (T, D) sines, scaled alike */
  sin: T2;
  /** (D, D): x R = [-x2, x1] for x = [x1, x2], Hugging Face's half-split layout */
  rotateHalf: T2;
  /** (T, T): 0 where a query may look, a large negative number elsewhere */
  mask: T2;
}

/** Norms of queries and keys: of each head, weights (D), or of all heads together, weights (H*D) and (K*D). */
export interface QueryKeyNorms {
  query: T1;
  key: T1;
  over: 'head' | 'width';
  eps: number;
}

/** Defaults of CausalAttention. */
const CHUNK = 128;
const KEPT_PROBABILITIES = 2 ** 22;

/**
 * @param x (M, C) @param linears the query, key and value projections
 * @param needsInputGradient false where x depends on nothing trainable (the first block)
 * @returns (M, H*D)
 */
export function selfAttention(
  ops: Operations,
  x: T2,
  linears: LoraLinears,
  norms: QueryKeyNorms | null,
  positions: Positions,
  shape: AttentionShape,
  needsInputGradient: boolean,
): T2 {
  const { H, K } = shape;
  const core = new CausalAttention(ops, shape, positions.mask);
  const isWide = norms?.over === 'width';
  // Queries or keys: split into heads, normalised where the model does, turned by their positions; and back.
  const toHeads = (y: T2, heads: number, norm: T1 | undefined) => {
    if (norm === undefined) return { turned: rotate(ops, asHeads(ops, y, shape, heads), positions, 1) };
    const raw = isWide ? y : asHeads(ops, y, shape, heads);
    const { value, inverse } = normalise<T2 | T4>(ops, raw, norm, norms!.eps);
    return {
      turned: rotate(ops, isWide ? asHeads(ops, value as T2, shape, heads) : (value as T4), positions, 1),
      raw,
      inverse,
    };
  };
  const fromHeads = (d: T4, heads: number, norm: T1 | undefined, raw?: Tensor, inverse?: Tensor) => {
    const back = rotate(ops, d, positions, -1);
    if (isWide) return normaliseBackward(ops, asRows(ops, back, shape, heads), raw as T2, inverse!, norm!);
    return asRows(
      ops,
      norm === undefined ? back : normaliseBackward(ops, back, raw as T4, inverse!, norm),
      shape,
      heads,
    );
  };
  const forward = (x: T2) => {
    const { ys, hidden } = linears.forward(x);
    const { turned: q, raw: rawQ, inverse: inverseQ } = toHeads(ys[0]!, H, norms?.query);
    const { turned: k, raw: rawK, inverse: inverseK } = toHeads(ys[1]!, K, norms?.key);
    const v = asHeads(ops, ys[2]!, shape, K);
    const { value, probabilities } = core.forward(q, k, v);
    const y = asRows(ops, value, shape, H);
    const saved: Saved = { x, hidden, q, k, v, y, rawQ, inverseQ, rawK, inverseK, ...probabilities };
    const backward = (dy: T2, saved: Saved) => {
      const { dq, dk, dv } = core.backward(dy, saved as { q: T4; k: T4; v: T4; y: T2 });
      const dys = [
        fromHeads(dq, H, norms?.query, saved.rawQ, saved.inverseQ),
        fromHeads(dk, K, norms?.key, saved.rawK, saved.inverseK),
        asRows(ops, dv, shape, K),
      ];
      const { dx, factors } = linears.backward(dys, saved.x as T2, saved.hidden as T2, needsInputGradient);
      return needsInputGradient ? [dx!, ...factors] : factors;
    };
    return { value: y, saved, backward };
  };
  return needsInputGradient
    ? ops.operation([x, ...linears.factors], forward)
    : ops.operation(linears.factors, () => forward(x));
}

/** (M, heads*D) -> (B, heads, T, D) */
function asHeads(ops: Operations, x: T2, { B, T, D }: AttentionShape, heads: number): T4 {
  return ops.transpose(ops.reshape<T4>(x, [B, T, heads, D]), [0, 2, 1, 3]);
}

/** (B, heads, T, D) -> (M, heads*D) */
function asRows(ops: Operations, x: T4, { B, T, D }: AttentionShape, heads: number): T2 {
  return ops.reshape<T2>(ops.transpose(x, [0, 2, 1, 3]), [B * T, heads * D]);
}

/** Rotary position embedding by the positions' angles, or back by them. x (B, heads, T, D) */
function rotate(ops: Operations, x: T4, { cos, sin, rotateHalf }: Positions, direction: 1 | -1): T4 {
  const [B, heads, T, D] = x.shape;
  const swapped = ops.product(ops.reshape<T2>(x, [B * heads * T, D]), rotateHalf);
  const turned = ops.mul(ops.reshape<T4>(swapped, x.shape), sin);
  const kept = ops.mul(x, cos);
  return direction === 1 ? ops.add(kept, turned) : ops.sub(kept, turned);
}

/**
 * softmax(q k^T + mask) v in chunks of queries. The G query heads that share a key head lie beside one another, so their
 * queries are rows of one product and no key is ever copied.
 */
export class CausalAttention {
  readonly #ops: Operations;
  readonly #shape: AttentionShape;
  readonly #mask: T2;
  readonly #chunks: Array<{ from: number; to: number }>;
  readonly #keeps: boolean;

  /**
   * @param chunk queries done at a time
   * @param kept number of probabilities (B*H*T*T) above which they are computed again instead of kept
   */
  constructor(ops: Operations, shape: AttentionShape, mask: T2, chunk = CHUNK, kept = KEPT_PROBABILITIES) {
    this.#ops = ops;
    this.#shape = shape;
    this.#mask = mask;
    const { B, T, H } = shape;
    this.#keeps = B * H * T * T <= kept;
    this.#chunks = Array.from({ length: Math.ceil(T / chunk) }, (_, i) => ({
      from: i * chunk,
      to: Math.min(T, (i + 1) * chunk),
    }));
  }

  /** q (B, H, T, D), k and v (B, K, T, D) -> (B, H, T, D), and the probabilities that are kept, by name */
  forward(q: T4, k: T4, v: T4): { value: T4; probabilities: Record<string, Tensor> } {
    const ops = this.#ops;
    const probabilities: Record<string, Tensor> = {};
    const outputs = this.#chunks.map(({ from, to }, i) =>
      ops.tidy((): { y: T4; p?: T3 } => {
        const p = this.#probabilities(this.#queries(q, from, to), this.#keys(k, to), from, to);
        if (this.#keeps) probabilities[`p${i}`] = p;
        const y = this.#ungroup(ops.product(p, this.#keys(v, to)), to - from);
        return this.#keeps ? { y, p } : { y };
      }),
    );
    return {
      value: ops.concat(
        outputs.map(({ y }) => y),
        2,
      ),
      probabilities,
    };
  }

  /** @param dy (M, H*D) @param saved the forward pass's inputs, its output in rows, and the probabilities kept */
  backward(dy: T2, saved: { q: T4; k: T4; v: T4; y: T2 } & Record<string, Tensor>): { dq: T4; dk: T4; dv: T4 } {
    const { B, T, H, K, D } = this.#shape;
    const ops = this.#ops;
    const { q, k, v, y } = saved;
    const dyHeads = asHeads(ops, dy, this.#shape, H);
    // sum over a row of p * dp is dy . y, which is D wide and not T: (M, H) -> (B, H, T, 1)
    const along = ops.total<T3>(ops.reshape<T4>(ops.mul(dy, y), [B, T, H, D]));
    const delta = ops.reshape<T4>(ops.transpose(along, [0, 2, 1]), [B, H, T, 1]);
    const parts = this.#chunks.map(({ from, to }, i) =>
      ops.tidy(() => {
        const [qc, dyc, deltaC] = [q, dyHeads, delta].map((t) => this.#queries(t, from, to)) as [T3, T3, T3];
        const [kc, vc] = [this.#keys(k, to), this.#keys(v, to)];
        const p = (saved[`p${i}`] as T3 | undefined) ?? this.#probabilities(qc, kc, from, to);
        const ds = ops.mul(p, ops.sub(ops.product(dyc, vc, { transposeB: true }), deltaC)); // (B*K, G*t, to)
        return {
          dq: this.#ungroup(ops.product(ds, kc), to - from),
          dk: this.#padKeys(ops.product(ds, qc, { transposeA: true })),
          dv: this.#padKeys(ops.product(p, dyc, { transposeA: true })),
        };
      }),
    );
    const all = (name: 'dk' | 'dv') => ops.reshape<T4>(ops.sum(parts.map((part) => part[name])), [B, K, T, D]);
    return {
      dq: ops.concat(
        parts.map(({ dq }) => dq),
        2,
      ),
      dk: all('dk'),
      dv: all('dv'),
    };
  }

  /** q (B*K, G*t, D), k (B*K, to, D) -> (B*K, G*t, to) */
  #probabilities(q: T3, k: T3, from: number, to: number): T3 {
    const ops = this.#ops;
    return ops.tidy(() => {
      const { B, K, H, T } = this.#shape;
      const t = to - from;
      const mask = t === T ? this.#mask : ops.slice(this.#mask, [from, 0], [t, to]);
      const scores = ops.reshape<T4>(ops.product(q, k, { transposeB: true }), [B * K, H / K, t, to]);
      return ops.reshape<T3>(ops.softmax(ops.add(scores, mask)), [B * K, (H / K) * t, to]);
    });
  }

  /** Queries from..to of (B, H, T, width), grouped by key head: (B*K, G*t, width) */
  #queries(x: T4, from: number, to: number): T3 {
    const { B, H, K, T } = this.#shape;
    const width = x.shape[3];
    const some = to - from === T ? x : this.#ops.slice(x, [0, 0, from, 0], [B, H, to - from, width]);
    return this.#ops.reshape(some, [B * K, (H / K) * (to - from), width]);
  }

  /** (B*K, G*t, D) -> (B, H, t, D) */
  #ungroup(x: T3, t: number): T4 {
    const { B, H, D } = this.#shape;
    return this.#ops.reshape(x, [B, H, t, D]);
  }

  /** Keys or values 0..to of (B, K, T, D): (B*K, to, D) */
  #keys(x: T4, to: number): T3 {
    const { B, K, T, D } = this.#shape;
    return this.#ops.reshape(to === T ? x : this.#ops.slice(x, [0, 0, 0, 0], [B, K, to, D]), [B * K, to, D]);
  }

  /** (B*K, to, D) -> (B*K, T, D), zeros after `to` */
  #padKeys(x: T3): T3 {
    const { T } = this.#shape;
    return x.shape[1] === T ? x : this.#ops.padTo(x, T, 1);
  }
}
