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
  /** Each frequency is divided by its factor, (dim/2): as a GGUF file stores what was llama3 once. */
  | { type: 'factors'; factors: readonly number[] }
  /** The base grows with the sequence, once it is longer than the original. */
  | { type: 'dynamic'; factor: number; originalMaxPositionEmbeddings: number }
  | {
      type: 'yarn';
      factor: number;
      originalMaxPositionEmbeddings: number;
      /** cosines and sines are multiplied by it */
      attentionFactor: number;
      betaFast: number;
      betaSlow: number;
      truncate: boolean;
    }
  /** Each frequency is divided by its factor, (dim/2): by the long ones in sequences longer than the original. */
  | {
      type: 'longrope';
      shortFactors: readonly number[];
      longFactors: readonly number[];
      originalMaxPositionEmbeddings: number;
      /** cosines and sines are multiplied by it, in short sequences too */
      attentionFactor: number;
    };

export interface Rope {
  ropeTheta: number;
  ropeScaling: RopeScaling | null;
}

/** What a rope type needs of the rest of a config.json. */
interface Around {
  path: string;
  /** where the parameters have no rope_theta */
  defaultTheta: number;
  /** numbers of a head that are turned */
  dim: number;
  maxPositionEmbeddings: number;
  /** what counts before the parameters' own original_max_position_embeddings */
  original?: unknown;
}

/** By `rope_type` of transformers: what is read of the parameters. */
const ROPE_TYPES: Record<string, (rope: ConfigReader, around: Around) => RopeScaling | null> = {
  default: () => null,
  linear: (rope) => ({ type: 'linear', factor: rope.positive('factor') }),
  llama3(rope, around) {
    const [lowFreqFactor, highFreqFactor] = [rope.positive('low_freq_factor'), rope.positive('high_freq_factor')];
    if (highFreqFactor <= lowFreqFactor) rope.bad.push('high_freq_factor is not above low_freq_factor');
    const factor = rope.positive('factor');
    return { type: 'llama3', factor, lowFreqFactor, highFreqFactor, ...originalLength(rope, around) };
  },
  dynamic: (rope, { maxPositionEmbeddings }) => ({
    type: 'dynamic',
    factor: rope.positive('factor'),
    originalMaxPositionEmbeddings: maxPositionEmbeddings,
  }),
  yarn(rope, around) {
    const original = originalLength(rope, around);
    // null, but not missing: what the lengths say
    const implied = around.maxPositionEmbeddings / original.originalMaxPositionEmbeddings;
    const factor = rope.positive('factor', rope.json.factor === null ? implied : undefined);
    const { mscale, mscale_all_dim: ofAll } = rope.json;
    const isScaled = Boolean(mscale) && Boolean(ofAll);
    const inferred = isScaled
      ? yarnFactor(factor, rope.positive('mscale')) / yarnFactor(factor, rope.positive('mscale_all_dim'))
      : yarnFactor(factor);
    return {
      type: 'yarn',
      factor,
      ...original,
      attentionFactor: rope.positive('attention_factor', inferred),
      betaFast: rope.positive('beta_fast', 32),
      betaSlow: rope.positive('beta_slow', 1),
      truncate: rope.flag('truncate', true),
    };
  },
  longrope(rope, around) {
    const original = originalLength(rope, around);
    const { originalMaxPositionEmbeddings: length } = original;
    const factor = rope.positive('factor', around.maxPositionEmbeddings / length);
    const inferred = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(length));
    return {
      type: 'longrope',
      shortFactors: rope.positives('short_factor', around.dim / 2),
      longFactors: rope.positives('long_factor', around.dim / 2),
      ...original,
      attentionFactor: rope.positive('attention_factor', inferred),
    };
  },
};

function originalLength(rope: ConfigReader, { original, maxPositionEmbeddings }: Around) {
  const key = 'original_max_position_embeddings';
  const given = original === undefined || original === null ? rope : new ConfigReader({ [key]: original });
  const originalMaxPositionEmbeddings = given.size(key, maxPositionEmbeddings);
  if (given !== rope) rope.bad.push(...given.bad);
  return { originalMaxPositionEmbeddings };
}

/** YaRN's attention factor (Peng et al., arXiv 2309.00071) where a configuration has none. */
export function yarnFactor(factor: number, scale = 1): number {
  return factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
}

/**
 * The parameters of a config.json: `rope_scaling` (transformers 4) where it holds anything, else `rope_parameters`
 * (transformers 5); `rope_theta` beside them counts where they have none.
 */
export function ropeParameters({
  rope_parameters: parameters,
  rope_scaling: scaling,
  rope_theta,
}: JsonObject): JsonObject {
  const isGiven = isJsonObject(scaling) && Object.keys(scaling).length > 0;
  return { rope_theta, ...(isGiven ? scaling : isJsonObject(parameters) ? parameters : {}) };
}

/** One set of rope parameters; what is wrong with it is noted in `read`. @throws CrayonError `model-unsupported` */
export function readRope(read: ConfigReader, values: JsonObject, around: Around): Rope {
  const rope = new ConfigReader(values);
  const type = (values.rope_type ?? values.type ?? 'default') as string;
  if (!Object.hasOwn(ROPE_TYPES, type)) {
    const problem = `${around.path}: rope type ${JSON.stringify(type)}, expected ${Object.keys(ROPE_TYPES).join(', ')}`;
    throw new CrayonError('model-unsupported', problem, {
      hint: 'Use a model with one of these; taking this one for another would give other answers.',
    });
  }
  const ropeScaling = ROPE_TYPES[type]!(rope, around);
  const ropeTheta = rope.positive('rope_theta', around.defaultTheta);
  read.bad.push(...rope.bad);
  return { ropeTheta, ropeScaling };
}

/**
 * (dim/2) inverse frequencies of the rotary embedding in radians per position, and what cosines and sines are multiplied by.
 *
 * @param dim leading numbers of a head that are turned
 * @param length tokens of the sequence: `dynamic` and `longrope` go by it, for all of its positions
 */
export function rotaryFrequencies({ ropeTheta, ropeScaling: scaling }: Rope, dim: number, length: number) {
  const powers = (theta: number) => Float64Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim));
  const plain = powers(ropeTheta);
  const only = (frequencies: Float64Array) => ({ frequencies, attentionFactor: 1 });
  if (scaling === null) return only(plain);
  switch (scaling.type) {
    case 'linear':
      return only(plain.map((f) => f / scaling.factor));
    case 'factors':
      return only(plain.map((f, i) => f / scaling.factors[i]!));
    case 'llama3':
      return only(plain.map((f) => llama3Frequency(f, scaling)));
    case 'dynamic': {
      const { factor, originalMaxPositionEmbeddings: original } = scaling;
      if (length <= original || dim <= 2) return only(plain);
      return only(powers(ropeTheta * ((factor * length) / original - (factor - 1)) ** (dim / (dim - 2))));
    }
    case 'yarn': {
      const [low, high] = yarnRange(scaling, ropeTheta, dim);
      const frequencies = plain.map((f, i) => {
        const interpolated = Math.min(1, Math.max(0, (i - low) / (high - low)));
        return (f / scaling.factor) * interpolated + f * (1 - interpolated);
      });
      return { frequencies, attentionFactor: scaling.attentionFactor };
    }
    case 'longrope': {
      const factors = length > scaling.originalMaxPositionEmbeddings ? scaling.longFactors : scaling.shortFactors;
      return { frequencies: plain.map((f, i) => f / factors[i]!), attentionFactor: scaling.attentionFactor };
    }
  }
}

type Scaling<Type extends RopeScaling['type']> = Extract<RopeScaling, { type: Type }>;

function llama3Frequency(f: number, { factor, lowFreqFactor, highFreqFactor, ...scaling }: Scaling<'llama3'>): number {
  const oldLength = scaling.originalMaxPositionEmbeddings;
  const wavelength = (2 * Math.PI) / f;
  if (wavelength < oldLength / highFreqFactor) return f;
  if (wavelength > oldLength / lowFreqFactor) return f / factor;
  const smooth = (oldLength / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return ((1 - smooth) * f) / factor + smooth * f;
}

/** Between which frequencies YaRN goes from none to full interpolation: those that turn betaFast and betaSlow times. */
function yarnRange({ betaFast, betaSlow, truncate, ...scaling }: Scaling<'yarn'>, theta: number, dim: number) {
  const indexOf = (turns: number) => {
    const ratio = scaling.originalMaxPositionEmbeddings / (turns * 2 * Math.PI);
    return (dim * Math.log(ratio)) / (2 * Math.log(theta));
  };
  const [first, last] = [indexOf(betaFast), indexOf(betaSlow)];
  const low = Math.max(truncate ? Math.floor(first) : first, 0);
  const high = Math.min(truncate ? Math.ceil(last) : last, dim - 1);
  return [low, low === high ? high + 0.001 : high] as const;
}
