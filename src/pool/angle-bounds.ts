/**
 * Which points may have another nearest centroid than before: bounds on the angles between points and centroids, after Elkan, "Using
 * the triangle inequality to accelerate k-means" (2003), on the sphere as in Schubert, Lang and Feher, "Accelerating Spherical
 * k-Means" (2021, arXiv 2107.04074). Angles are a metric: a centroid that has moved by an angle is by no more than that nearer or farther.
 *
 * For every point there is an upper bound on the angle to its own centroid, and a lower bound on that to every other. Only where they
 * meet are products computed: first with the own centroid, then with those centroids that may still be nearer. Bounds keep a distance
 * for the rounding of float32 products, so that the assignment is the one that all products would give, ties included (the first of equals).
 *
 * Bounds are kept as they were when computed, with the sum of the centroid's moves until then; what it has moved since is taken at the time of use.
 */

import type { Points } from './points.js';

/** Error of `angle`, with room. */
const ANGLE_ERROR = 3e-8;
/** Rows and centroids have length 1 up to the rounding of their elements. */
const LENGTH_ERROR = 2 ** -21;
/** Of a number that is kept as float32, as a share of it. */
const FLOAT32_ERROR = 2 ** -24;
/** Own angles from here on are not bounded: the distance for rounding holds below a right angle. */
const WIDEST = 1.57;
/** Where more than this share of the centroids may be nearest, all products of the point are computed. */
const MANY = 0.25;

/** Points that have moved, ascending; `from` is null where they were in no cluster. */
export interface Moves {
  moved: Int32Array;
  from: Int32Array | null;
  to: Int32Array;
}

export class AngleBounds {
  /** (n) cluster of each point */
  readonly assignment: Int32Array;
  readonly #points: Points;
  readonly #k: number;
  readonly #rounding: number;
  /** (n) upper bound on the angle to the own centroid, less what that had moved by then */
  readonly #own: Float64Array;
  /** (n, k) lower bound on the angle to each centroid, with what that had moved by then; infinite for the own one */
  readonly #others: Float32Array;
  /** (n) lower bound on the angle to the nearest of the others, with the most that any had moved by then: spares most points the k bounds */
  readonly #nearestOther: Float64Array;
  /** (k) angle that each centroid has moved since the start */
  readonly #moves: Float64Array;
  /** the largest move of every step, added up */
  #farthest = 0;

  constructor(points: Points, k: number) {
    this.#points = points;
    this.#k = k;
    this.#rounding = points.rounding + LENGTH_ERROR;
    this.assignment = new Int32Array(points.n).fill(-1); // in no cluster yet
    this.#own = new Float64Array(points.n);
    this.#others = new Float32Array(points.n * k);
    this.#nearestOther = new Float64Array(points.n).fill(Number.NEGATIVE_INFINITY);
    this.#moves = new Float64Array(k);
  }

  /** Assigns every point to its most similar centroid. centroids (k, d) */
  assign(centroids: Float32Array): Moves {
    const { assignment } = this;
    const before = Int32Array.from(assignment);
    const isFirst = before[0] === -1;
    if (isFirst) this.#compareAll(null, centroids);
    else this.#compareSome(centroids);
    const moved = new Int32Array(before.length);
    let count = 0;
    for (let i = 0; i < before.length; i++) if (assignment[i] !== before[i]) moved[count++] = i;
    const list = moved.subarray(0, count);
    return { moved: list, from: isFirst ? null : list.map((i) => before[i]!), to: list.map((i) => assignment[i]!) };
  }

  /** Puts a point into a cluster, whatever its angle. */
  put(i: number, c: number): void {
    this.#others[i * this.#k + this.assignment[i]!] = Number.NEGATIVE_INFINITY;
    this.#others[i * this.#k + c] = Number.POSITIVE_INFINITY;
    this.#own[i] = Number.POSITIVE_INFINITY;
    this.#nearestOther[i] = Number.NEGATIVE_INFINITY;
    this.assignment[i] = c;
  }

  /** The centroids have moved. both (k, d) */
  drift(before: Float32Array, after: Float32Array): void {
    const { d } = this.#points;
    let farthest = 0;
    for (let c = 0; c < this.#k; c++) {
      let square = 0;
      let length = 0;
      let lengthBefore = 0;
      for (let at = c * d; at < (c + 1) * d; at++) {
        const difference = after[at]! - before[at]!;
        square += difference * difference;
        length += after[at]! * after[at]!;
        lengthBefore += before[at]! * before[at]!;
      }
      if (square === 0) continue;
      const isAngle = length > 0.5 && lengthBefore > 0.5; // a cluster whose points cancel out has no direction
      const chord = Math.sqrt(square) / 2 + LENGTH_ERROR;
      const move = isAngle && chord < 1 ? 2 * Math.asin(chord) : Math.PI;
      this.#moves[c]! += move;
      farthest = Math.max(farthest, move);
    }
    this.#farthest += farthest;
  }

  /** Points whose bounds meet, and the first centroid with which each one's do. */
  #near(): { points: Int32Array; first: Int32Array } {
    const { assignment } = this;
    const { n } = this.#points;
    const k = this.#k;
    const ownBounds = this.#own;
    const others = this.#others;
    const nearest = this.#nearestOther;
    const moves = this.#moves;
    const farthest = this.#farthest;
    const points = new Int32Array(n);
    const first = new Int32Array(n);
    let count = 0;
    for (let i = 0; i < n; i++) {
      const own = ownBounds[i]! + moves[assignment[i]!]!;
      const bound = own < WIDEST ? own : Number.POSITIVE_INFINITY;
      if (bound < nearest[i]! - farthest) continue;
      let c = 0;
      let least = Number.POSITIVE_INFINITY;
      for (let place = i * k; c < k; c++, place++) {
        const other = others[place]! - moves[c]!;
        if (!(bound < other) && other < Number.POSITIVE_INFINITY) break;
        if (other < least) least = other;
      }
      if (c === k) {
        nearest[i] = least + farthest;
        continue;
      }
      points[count] = i;
      first[count++] = c;
    }
    return { points: points.subarray(0, count), first };
  }

  #compareSome(centroids: Float32Array): void {
    const { assignment } = this;
    const k = this.#k;
    const others = this.#others;
    const moves = this.#moves;
    // 1) the product with the own centroid, where bounds meet
    const { points: near, first } = this.#near();
    const homes = near.map((i) => assignment[i]!);
    const similarities = this.#points.pairs(near, homes, centroids);
    // 2) those with the others that may be nearer
    const mostPairs = Math.max(1, Math.floor(k * MANY));
    const all = new Int32Array(near.length);
    const some = new Int32Array(near.length * mostPairs + k); // and what is taken back, of one point
    const columns = new Int32Array(some.length);
    let allCount = 0;
    let count = 0;
    for (let at = 0; at < near.length; at++) {
      const i = near[at]!;
      const own = this.#setOwn(i, homes[at]!, similarities[at]!);
      const bound = own < WIDEST ? own : Number.POSITIVE_INFINITY;
      const before = count;
      for (let c = first[at]!, place = i * k + c; c < k; c++, place++) {
        const other = others[place]! - moves[c]!;
        if (bound < other || other === Number.POSITIVE_INFINITY) continue;
        some[count] = i;
        columns[count++] = c;
      }
      if (count - before <= mostPairs) continue;
      count = before;
      all[allCount++] = i;
    }
    this.#compareAll(all.subarray(0, allCount), centroids);
    const found = this.#points.pairs(some.subarray(0, count), columns.subarray(0, count), centroids);
    // 3) the nearest of these
    for (let at = 0, pair = 0; pair < count; at++) {
      const i = near[at]!;
      if (some[pair] !== i) continue;
      const home = homes[at]!;
      let best = home;
      let similarity = similarities[at]!;
      for (; pair < count && some[pair] === i; pair++) {
        const c = columns[pair]!;
        this.#setOther(i, c, found[pair]!);
        if (found[pair]! < similarity || (found[pair] === similarity && c > best)) continue;
        best = c;
        similarity = found[pair]!;
      }
      if (best === home) continue;
      this.#setOther(i, home, similarities[at]!);
      this.#setHome(i, best, similarity);
    }
  }

  /** Computes all products of some points, or of all; sets all their bounds. */
  #compareAll(some: Int32Array | null, centroids: Float32Array): void {
    const k = this.#k;
    const similarities = this.#points.similarities(centroids, k, some ?? undefined);
    const bounds = { others: this.#others, moves: this.#moves, rounding: this.#rounding };
    for (let at = 0; at < similarities.length / k; at++) {
      const i = some?.[at] ?? at;
      const best = boundAll(similarities, at * k, k, bounds, i * k);
      this.#setHome(i, best, similarities[at * k + best]!);
    }
  }

  #setHome(i: number, c: number, similarity: number): void {
    this.#setOwn(i, c, similarity);
    this.#others[i * this.#k + c] = Number.POSITIVE_INFINITY;
    this.#nearestOther[i] = Number.NEGATIVE_INFINITY;
    this.assignment[i] = c;
  }

  /**
   * Bounds the angle to the own centroid: by so much more than it may be that no smaller rounded product comes from a smaller angle.
   * Two angles from u < v have cosines at least (v - u) sin u apart, as long as u + v is below two right angles or u below one.
   */
  #setOwn(i: number, c: number, similarity: number): number {
    const least = Math.min(1, similarity - this.#rounding);
    const bound = angle(least) + ANGLE_ERROR + (2 * this.#rounding) / Math.sqrt(1 - least * least);
    this.#own[i] = bound - this.#moves[c]!;
    return bound;
  }

  #setOther(i: number, c: number, similarity: number): void {
    this.#others[i * this.#k + c] = lowerBound(similarity, this.#rounding, this.#moves[c]!);
  }
}

/** On the angle to another centroid, with what that has moved. */
function lowerBound(similarity: number, rounding: number, moved: number): number {
  const bound = angle(Math.min(1, similarity + rounding)) - ANGLE_ERROR + moved;
  return bound - Math.abs(bound) * FLOAT32_ERROR;
}

/** Sets the bounds of one point to all k centroids, and finds its nearest: a function of its own, so that all it calls is compiled into it. */
function boundAll(
  similarities: Float32Array,
  from: number,
  k: number,
  { others, moves, rounding }: { others: Float32Array; moves: Float64Array; rounding: number },
  place: number,
): number {
  let best = 0;
  for (let c = 0; c < k; c++) {
    const similarity = similarities[from + c]!;
    if (similarity > similarities[from + best]!) best = c;
    others[place + c] = lowerBound(similarity, rounding, moves[c]!);
  }
  return best;
}

/** arccos x: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 4.4.46, to 2e-8. A fifth of Math.acos's time. */
function angle(cosine: number): number {
  const x = Math.min(1, Math.abs(cosine));
  let sum = -0.0012624911;
  sum = sum * x + 0.0066700901;
  sum = sum * x - 0.0170881256;
  sum = sum * x + 0.030891881;
  sum = sum * x - 0.0501743046;
  sum = sum * x + 0.0889789874;
  sum = sum * x - 0.2145988016;
  sum = sum * x + 1.570796305;
  const acute = sum * Math.sqrt(1 - x);
  return cosine < 0 ? Math.PI - acute : acute;
}
