/**
 * Causal self-attention with grouped key/value heads, from the normalised input to the heads' outputs, as one operation.
 *
 * Long sequences are done a chunk of queries at a time, each against the keys up to its end: the upper triangle is never
 * computed, and no temporary is larger than a chunk's. Where all probabilities together are large they are not
 * kept for the backward pass but computed again, as Dao et al. do (FlashAttention, arXiv 2205.14135).
 *
 * Letters: B batch, T tokens, M = B*T rows, C hidden size, H query heads, K key/value heads, G = H/K, D head size.
 */

import * as tf from '@tensorflow/tfjs-core';
import type { LoraLinears } from './lora-linears.js';
import {
  normalise,
  normaliseBackward,
  operation,
  type Saved,
  sumOf,
  type T1,
  type T2,
  type T3,
  type T4,
} from './ops.js';

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
  x: T2,
  linears: LoraLinears,
  norms: QueryKeyNorms | null,
  positions: Positions,
  shape: AttentionShape,
  needsInputGradient: boolean,
): T2 {
  const { H, K } = shape;
  const core = new CausalAttention(shape, positions.mask);
  const isWide = norms?.over === 'width';
  // Queries or keys: split into heads, normalised where the model does, turned by their positions; and back.
  const toHeads = (y: T2, heads: number, norm: T1 | undefined) => {
    if (norm === undefined) return { turned: rotate(asHeads(y, shape, heads), positions, 1) };
    const raw = isWide ? y : asHeads(y, shape, heads);
    const { value, inverse } = normalise<T2 | T4>(raw, norm, norms!.eps);
    return { turned: rotate(isWide ? asHeads(value as T2, shape, heads) : (value as T4), positions, 1), raw, inverse };
  };
  const fromHeads = (d: T4, heads: number, norm: T1 | undefined, raw?: tf.Tensor, inverse?: tf.Tensor) => {
    const back = rotate(d, positions, -1);
    if (isWide) return normaliseBackward(asRows(back, shape, heads), raw as T2, inverse!, norm!);
    return asRows(norm === undefined ? back : normaliseBackward(back, raw as T4, inverse!, norm), shape, heads);
  };
  const forward = (x: T2) => {
    const { ys, hidden } = linears.forward(x);
    const { turned: q, raw: rawQ, inverse: inverseQ } = toHeads(ys[0]!, H, norms?.query);
    const { turned: k, raw: rawK, inverse: inverseK } = toHeads(ys[1]!, K, norms?.key);
    const v = asHeads(ys[2]!, shape, K);
    const { value, probabilities } = core.forward(q, k, v);
    const y = asRows(value, shape, H);
    const saved: Saved = { x, hidden, q, k, v, y, rawQ, inverseQ, rawK, inverseK, ...probabilities };
    const backward = (dy: T2, saved: Saved) => {
      const { dq, dk, dv } = core.backward(dy, saved as { q: T4; k: T4; v: T4; y: T2 });
      const dys = [
        fromHeads(dq, H, norms?.query, saved.rawQ, saved.inverseQ),
        fromHeads(dk, K, norms?.key, saved.rawK, saved.inverseK),
        asRows(dv, shape, K),
      ];
      const { dx, factors } = linears.backward(dys, saved.x as T2, saved.hidden as T2, needsInputGradient);
      return needsInputGradient ? [dx!, ...factors] : factors;
    };
    return { value: y, saved, backward };
  };
  return needsInputGradient
    ? operation([x, ...linears.factors], forward)
    : operation(linears.factors, () => forward(x));
}

/** (M, heads*D) -> (B, heads, T, D) */
function asHeads(x: T2, { B, T, D }: AttentionShape, heads: number): T4 {
  return tf.transpose(tf.reshape(x, [B, T, heads, D]), [0, 2, 1, 3]) as T4;
}

/** (B, heads, T, D) -> (M, heads*D) */
function asRows(x: T4, { B, T, D }: AttentionShape, heads: number): T2 {
  return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [B * T, heads * D]);
}

/** Rotary position embedding by the positions' angles, or back by them. x (B, heads, T, D) */
function rotate(x: T4, { cos, sin, rotateHalf }: Positions, direction: 1 | -1): T4 {
  const D = x.shape[3];
  const turned = tf.mul(tf.reshape(tf.matMul(tf.reshape(x, [-1, D]), rotateHalf), x.shape), sin);
  const kept = tf.mul(x, cos);
  return direction === 1 ? tf.add(kept, turned) : tf.sub(kept, turned);
}

/**
 * softmax(q k^T + mask) v in chunks of queries. The G query heads that share a key head lie beside one another, so their
 * queries are rows of one product and no key is ever copied.
 */
export class CausalAttention {
  readonly #shape: AttentionShape;
  readonly #mask: T2;
  readonly #chunks: Array<{ from: number; to: number }>;
  readonly #keeps: boolean;

  /**
   * @param chunk queries done at a time
   * @param kept number of probabilities (B*H*T*T) above which they are computed again instead of kept
   */
  constructor(shape: AttentionShape, mask: T2, chunk = CHUNK, kept = KEPT_PROBABILITIES) {
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
  forward(q: T4, k: T4, v: T4): { value: T4; probabilities: Record<string, tf.Tensor> } {
    const probabilities: Record<string, tf.Tensor> = {};
    const outputs = this.#chunks.map(({ from, to }, i) =>
      tf.tidy(() => {
        const p = this.#probabilities(this.#queries(q, from, to), this.#keys(k, to), from, to);
        if (this.#keeps) probabilities[`p${i}`] = p;
        const y = this.#ungroup(tf.matMul(p, this.#keys(v, to)), to - from);
        return this.#keeps ? { y, p } : { y };
      }),
    );
    return { value: joinTokens(outputs.map(({ y }) => y)), probabilities };
  }

  /** @param dy (M, H*D) @param saved the forward pass's inputs, its output in rows, and the probabilities kept */
  backward(dy: T2, saved: { q: T4; k: T4; v: T4; y: T2 } & Record<string, tf.Tensor>): { dq: T4; dk: T4; dv: T4 } {
    const { B, T, H, K, D } = this.#shape;
    const { q, k, v, y } = saved;
    const dyHeads = asHeads(dy, this.#shape, H);
    // sum over a row of p * dp is dy . y, which is D wide and not T: (M, H) -> (B, H, T, 1)
    const along = tf.sum(tf.reshape<tf.Rank.R4>(tf.mul(dy, y), [B, T, H, D]), 3);
    const delta = tf.reshape<tf.Rank.R4>(tf.transpose(along, [0, 2, 1]), [B, H, T, 1]);
    const parts = this.#chunks.map(({ from, to }, i) =>
      tf.tidy(() => {
        const [qc, dyc, deltaC] = [q, dyHeads, delta].map((t) => this.#queries(t, from, to)) as [T3, T3, T3];
        const [kc, vc] = [this.#keys(k, to), this.#keys(v, to)];
        const p = (saved[`p${i}`] as T3 | undefined) ?? this.#probabilities(qc, kc, from, to);
        const ds = tf.mul(p, tf.sub(tf.matMul(dyc, vc, false, true), deltaC)) as T3; // (B*K, G*t, to)
        return {
          dq: this.#ungroup(tf.matMul(ds, kc), to - from),
          dk: this.#padKeys(tf.matMul(ds, qc, true, false)),
          dv: this.#padKeys(tf.matMul(p, dyc, true, false)),
        };
      }),
    );
    const keyShape: [number, number, number, number] = [B, K, T, D];
    return {
      dq: joinTokens(parts.map(({ dq }) => dq)),
      dk: tf.reshape(sumOf(parts.map(({ dk }) => dk)), keyShape),
      dv: tf.reshape(sumOf(parts.map(({ dv }) => dv)), keyShape),
    };
  }

  /** q (B*K, G*t, D), k (B*K, to, D) -> (B*K, G*t, to) */
  #probabilities(q: T3, k: T3, from: number, to: number): T3 {
    return tf.tidy(() => {
      const { B, K, H, T } = this.#shape;
      const t = to - from;
      const mask = t === T ? this.#mask : tf.slice(this.#mask, [from, 0], [t, to]);
      const scores = tf.reshape<tf.Rank.R4>(tf.matMul(q, k, false, true), [B * K, H / K, t, to]);
      return tf.reshape<tf.Rank.R3>(tf.softmax(tf.add(scores, mask)), [B * K, (H / K) * t, to]);
    });
  }

  /** Queries from..to of (B, H, T, width), grouped by key head: (B*K, G*t, width) */
  #queries(x: T4, from: number, to: number): T3 {
    const { B, H, K, T } = this.#shape;
    const width = x.shape[3];
    const some = to - from === T ? x : tf.slice(x, [0, 0, from, 0], [B, H, to - from, width]);
    return tf.reshape(some, [B * K, (H / K) * (to - from), width]);
  }

  /** (B*K, G*t, D) -> (B, H, t, D) */
  #ungroup(x: T3, t: number): T4 {
    const { B, H, D } = this.#shape;
    return tf.reshape(x, [B, H, t, D]);
  }

  /** Keys or values 0..to of (B, K, T, D): (B*K, to, D) */
  #keys(x: T4, to: number): T3 {
    const { B, K, T, D } = this.#shape;
    return tf.reshape(to === T ? x : tf.slice(x, [0, 0, 0, 0], [B, K, to, D]), [B * K, to, D]);
  }

  /** (B*K, to, D) -> (B*K, T, D), zeros after `to` */
  #padKeys(x: T3): T3 {
    const after = this.#shape.T - x.shape[1];
    const none: [number, number] = [0, 0];
    return after === 0 ? x : tf.pad(x, [none, [0, after], none]);
  }
}

function joinTokens(parts: T4[]): T4 {
  return parts.length === 1 ? parts[0]! : tf.concat(parts, 2);
}
