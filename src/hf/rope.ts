/**
 * Rotary position embedding: what a config.json says of it, in the styles of transformers 4 and 5, and the angles that
 * follow (transformers, `modeling_rope_utils.py`).
 */

import { CrayonError } from '../core/errors.js';
import { isJsonObject, type JsonObject } from '../files/json.js';
import { ConfigReader } from './config-reader.js';

export type RopeScaling =
  | { type: 'linear'; factor: number }
  | {
      type: 'llama3';
      factor: number;
      lowFreqFactor: number;
      highFreqFactor: number;
      originalMaxPositionEmbeddings: number;
    }
  /** Each frequency is divided by its factor, (D/2): as a GGUF file stores what was llama3 once. */
  | { type: 'factors'; factors: readonly number[] };

export interface Rope {
  ropeTheta: number;
  ropeScaling: RopeScaling | null;
}

/** `rope_theta` + `rope_scaling` (transformers 4) or `rope_parameters` (transformers 5). */
export function readRope(read: ConfigReader, path: string, defaultTheta = 10_000): Rope {
  const { rope_parameters: parameters, rope_scaling: scaling, rope_theta } = read.json;
  const values = isJsonObject(parameters) ? parameters : isJsonObject(scaling) ? scaling : {};
  return ropeOf(read, { rope_theta, ...values }, path, defaultTheta);
}

/** One set of rope parameters; what is wrong with it is noted in `read`. @throws CrayonError `model-unsupported` */
export function ropeOf(read: ConfigReader, values: JsonObject, path: string, defaultTheta: number): Rope {
  const rope = new ConfigReader(values);
  const type = values.rope_type ?? values.type ?? 'default';
  let ropeScaling: RopeScaling | null = null;
  if (type === 'linear') ropeScaling = { type, factor: rope.positive('factor') };
  else if (type === 'llama3') {
    ropeScaling = {
      type,
      factor: rope.positive('factor'),
      lowFreqFactor: rope.positive('low_freq_factor'),
      highFreqFactor: rope.positive('high_freq_factor'),
      originalMaxPositionEmbeddings: rope.size('original_max_position_embeddings'),
    };
    if (ropeScaling.highFreqFactor <= ropeScaling.lowFreqFactor) {
      rope.bad.push('high_freq_factor is not above low_freq_factor');
    }
  } else if (type !== 'default') {
    throw new CrayonError(
      'model-unsupported',
      `${path}: rope type ${JSON.stringify(type)}, expected default, linear or llama3`,
    );
  }
  const ropeTheta = rope.positive('rope_theta', defaultTheta);
  read.bad.push(...rope.bad);
  return { ropeTheta, ropeScaling };
}

/**
 * (dim/2) inverse frequencies of the rotary embedding in radians per position.
 *
 * Source: transformers `modeling_rope_utils.py` (`_compute_linear_scaling_rope_parameters`, `_compute_llama3_parameters`).
 *
 * @param dim leading numbers of a head that are turned
 */
export function inverseFrequencies({ ropeTheta, ropeScaling }: Rope, dim: number): Float64Array {
  const plain = Float64Array.from({ length: dim / 2 }, (_, i) => ropeTheta ** ((-2 * i) / dim));
  if (ropeScaling === null) return plain;
  if (ropeScaling.type === 'linear') return plain.map((f) => f / ropeScaling.factor);
  if (ropeScaling.type === 'factors') return plain.map((f, i) => f / ropeScaling.factors[i]!);

  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: oldLength } = ropeScaling;
  return plain.map((f) => {
    const wavelength = (2 * Math.PI) / f;
    if (wavelength < oldLength / highFreqFactor) return f;
    if (wavelength > oldLength / lowFreqFactor) return f / factor;
    const smooth = (oldLength / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
}
