/** What attention needs to know of the positions 0..T-1, as plain arrays: rotary tables and masks, by what layers differ in. */

import type { ModelConfig } from '../hf/config.js';
import { type Rope, rotaryFrequencies } from '../hf/rope.js';
import type { PackedRow } from './network.js';

/** How a layer sees positions. */
export interface LayerKind {
  /** null: the layer has no rotary embedding */
  rope: Rope | null;
  /** tokens that it sees back, itself included; null for all */
  window: number | null;
  /** Layers of one name have the same tables. */
  name: string;
}

export function layerKind(config: ModelConfig, layer: number): LayerKind {
  const isSliding = config.slidingLayers?.[layer] ?? true;
  const isTurned = config.rotaryLayers?.[layer] ?? true;
  const rope = isTurned ? ((isSliding ? config.slidingRope : null) ?? config) : null;
  const window = isSliding ? config.slidingWindow : null;
  const turned = rope === null ? 'none' : rope === config ? 'all' : 'sliding';
  return { rope, window, name: `${turned}/${window}` };
}

/** (T, T): 0 where position i may look at j (j <= i, and i - j < window), -1e9 elsewhere. */
export function causalMask(T: number, window: number | null): Float32Array {
  const mask = new Float32Array(T * T).fill(-1e9);
  for (let i = 0; i < T; i++) {
    const first = window === null ? 0 : Math.max(0, i - window + 1);
    mask.fill(0, i * T + first, i * T + i + 1);
  }
  return mask;
}

/** (D, D) matrix R with [x1, x2, x3] R = [-x2, x1, 0], where x1 and x2 are the halves of the part that is turned. */
export function rotateHalfMatrix({ headDim: D, rotaryDim }: Pick<ModelConfig, 'headDim' | 'rotaryDim'>): Float32Array {
  const half = rotaryDim / 2;
  const values = new Float32Array(D * D);
  for (let i = 0; i < half; i++) {
    values[(i + half) * D + i] = -1;
    values[i * D + i + half] = 1;
  }
  return values;
}

/**
 * (T, D) cosines and sines, see Positions: both halves of a head's turned part hold the same angles; what is not turned has
 * cosine 1.
 *
 * @param rope null for layers without a rotary embedding
 */
export function rotaryTables(
  rope: Rope | null,
  { headDim: D, rotaryDim, attentionScale }: ModelConfig,
  T: number,
): { cos: Float32Array; sin: Float32Array } {
  const half = rotaryDim / 2;
  const root = attentionScale === null ? D ** -0.25 : Math.sqrt(attentionScale); // see Positions.cos
  const none = { frequencies: new Float64Array(half), attentionFactor: 1 };
  const { frequencies, attentionFactor } = rope === null ? none : rotaryFrequencies(rope, rotaryDim, T);
  const table = (of: (angle: number) => number) => {
    const values = new Float32Array(T * D).fill(of(0));
    for (let t = 0; t < T; t++) {
      for (let i = 0; i < half; i++) values[t * D + i] = values[t * D + half + i] = of(t * frequencies[i]!);
    }
    // YaRN's and LongRoPE's factor is of what is turned alone
    return values.map((x, i) => x * (i % D < rotaryDim ? root * attentionFactor : root));
  };
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/** What attention of one kind of layer reads of positions, as plain arrays. */
export interface PositionTables {
  /** (T, D) */
  cos: Float32Array;
  sin: Float32Array;
  /** (T, T) */
  mask: Float32Array;
}

/** Of rows that are one sequence each. */
export function plainTables({ rope, window }: LayerKind, config: ModelConfig, T: number): PositionTables {
  return { ...rotaryTables(rope, config, T), mask: causalMask(T, window) };
}

/** Of a packed row: every token turned by its position in its own sequence. */
export function packedTables(kind: LayerKind, config: ModelConfig, packed: PackedRow): PositionTables {
  const { position, segments } = packed;
  const [T, D] = [position.length, config.headDim];
  const ofSequence = rotaryTables(kind.rope, config, position.reduce((a, b) => Math.max(a, b), 0) + 1);
  const picked = (table: Float32Array) => {
    const values = new Float32Array(T * D);
    position.forEach((at, t) => {
      values.set(table.subarray(at * D, (at + 1) * D), t * D);
    });
    return values;
  };
  const mask = new Float32Array(T * T).fill(-1e9);
  const see = (i: number, from: number, to: number) => {
    for (let j = from; j < to; j++) {
      if (kind.window === null || position[i]! - position[j]! < kind.window) mask[i * T + j] = 0;
    }
  };
  for (const { start, end, parent } of segments) {
    for (let i = start; i < end; i++) {
      see(i, start, i + 1);
      for (let at = parent; at !== null; at = segments[at]!.parent) see(i, segments[at]!.start, segments[at]!.end);
    }
  }
  // padding sees itself: a row of nothing but -1e9 would be a softmax over rounding
  for (let i = segments.at(-1)?.end ?? 0; i < T; i++) mask[i * T + i] = 0;
  return { cos: picked(ofSequence.cos), sin: picked(ofSequence.sin), mask };
}
