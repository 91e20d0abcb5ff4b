/**
 * The rotary embedding in a GGUF file, both ways, as llama.cpp computes it (llama-model.cpp, `load_hparams`;
 * llama-context.cpp; ggml's `rope_yarn`) and its converter writes it (conversion/base.py, llama.py, phi.py).
 */

import { firstNonFinite } from '../core/vector.js';
import type { JsonObject } from '../files/json.js';
import type { ModelConfig } from '../hf/config.js';
import type { GgufArchitecture, GgufKeys } from '../hf/families/family.js';
import { type RopeScaling, yarnFactor } from '../hf/rope.js';
import { type GgufValue, ggufInvalid, ggufUnsupported } from './format.js';
import type { GgufFile } from './read.js';
import type { GgufTensorToWrite } from './write.js';

/** What each rotary frequency is divided by, (D/2): rope type llama3, and longrope's in long and in short contexts. */
export const ROPE_FACTORS = 'rope_freqs.weight';
const LONG_FACTORS = 'rope_factors_long.weight';
const SHORT_FACTORS = 'rope_factors_short.weight';
export const ROPE_TENSORS: readonly string[] = [ROPE_FACTORS, LONG_FACTORS, SHORT_FACTORS];

/** Hyperparameters by their key after the architecture's name. */
export function ropeMetadata({ ropeTheta, rotaryDim, ropeScaling: scaling }: ModelConfig): Array<[string, GgufValue]> {
  const real = (value: number): GgufValue => ({ type: 'float32', value });
  const entries: Array<[string, GgufValue]> = [
    ['rope.dimension_count', { type: 'uint32', value: rotaryDim }],
    ['rope.freq_base', real(ropeTheta)],
  ];
  if (scaling?.type !== 'linear' && scaling?.type !== 'yarn' && scaling?.type !== 'longrope') return entries;
  entries.push(['rope.scaling.type', { type: 'string', value: scaling.type }]);
  if (scaling.type !== 'longrope') entries.push(['rope.scaling.factor', real(scaling.factor)]);
  if (scaling.type === 'linear') return entries;
  const original = scaling.originalMaxPositionEmbeddings;
  entries.push(['rope.scaling.original_context_length', { type: 'uint32', value: original }]);
  // What llama.cpp multiplies cosines and sines by beyond the factor that it infers for yarn.
  const beyond = scaling.attentionFactor / (scaling.type === 'yarn' ? yarnFactor(scaling.factor) : 1);
  if (scaling.type === 'longrope' || beyond !== 1) entries.push(['rope.scaling.attn_factor', real(beyond)]);
  return entries;
}

/** The tensors that a rope type is stored in. */
export function ropeTensors({ headDim, ropeTheta, ropeScaling: scaling }: ModelConfig): GgufTensorToWrite[] {
  const tensor = (name: string, factors: Float32Array): GgufTensorToWrite => {
    return { name, shape: [factors.length], type: 'F32', data: () => factors };
  };
  if (scaling?.type === 'llama3') return [tensor(ROPE_FACTORS, llama3Factors({ headDim, ropeTheta }, scaling))];
  if (scaling?.type !== 'longrope') return [];
  return [
    tensor(LONG_FACTORS, Float32Array.from(scaling.longFactors)),
    tensor(SHORT_FACTORS, Float32Array.from(scaling.shortFactors)),
  ];
}

/** What llama.cpp would compute otherwise, in words. */
export function ropeDifferences({ ropeScaling: scaling }: ModelConfig, architecture: GgufArchitecture): string[] {
  switch (scaling?.type) {
    case 'llama3':
      return architecture.hasRopeFactors ? [] : ['rope type llama3'];
    case 'longrope':
      return architecture.hasLongRope ? [] : ['rope type longrope'];
    case 'dynamic':
      return ['rope type dynamic'];
    case 'yarn': {
      const isPlain = scaling.betaFast === 32 && scaling.betaSlow === 1;
      return [
        ...(isPlain ? [] : ['beta_fast and beta_slow of rope type yarn other than 32 and 1']),
        ...(scaling.truncate ? [] : ['truncate false of rope type yarn']),
      ];
    }
    default:
      return [];
  }
}

/**
 * The context that a file promises: where a rope type divides frequencies by the context's length, that in which the short
 * ones are right whatever a sequence's length. llama.cpp goes by the context's length, transformers by the sequence's.
 */
export function ropeContextLength({ maxPositionEmbeddings, ropeScaling: scaling }: ModelConfig): number {
  if (scaling?.type !== 'longrope') return maxPositionEmbeddings;
  return Math.min(maxPositionEmbeddings, scaling.originalMaxPositionEmbeddings);
}

/** Llama 3's rescaled frequencies as divisors of theta^(-2j/D) (`generate_extra_tensors` in conversion/llama.py). */
function llama3Factors(
  { headDim, ropeTheta }: Pick<ModelConfig, 'headDim' | 'ropeTheta'>,
  scaling: Extract<RopeScaling, { type: 'llama3' }>,
): Float32Array {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: context } = scaling;
  return Float32Array.from({ length: headDim / 2 }, (_, j) => {
    const wavelength = 2 * Math.PI * ropeTheta ** ((2 * j) / headDim);
    if (wavelength < context / highFreqFactor) return 1;
    if (wavelength > context / lowFreqFactor) return factor;
    const smooth = (context / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

/** config.json's `rope_parameters`: without a type, a factor is linear. @throws CrayonError `gguf-unsupported` */
export function ropeParametersOf(file: GgufFile, keys: GgufKeys): JsonObject {
  const theta = { rope_theta: keys.number('rope.freq_base') ?? 10_000 };
  const type = keys.text('rope.scaling.type') ?? 'linear';
  const factor = keys.number('rope.scaling.factor') ?? keys.number('rope.scale_linear') ?? 0;
  // Phi 3's converter writes the factors and not the type.
  const isLong = type === 'longrope' || keys.hasTensor(LONG_FACTORS);
  if (!isLong && (type === 'none' || (type === 'linear' && (factor === 0 || factor === 1)))) return theta;
  if (!isLong && type === 'linear') return { ...theta, rope_type: type, factor };
  const original = { original_max_position_embeddings: keys.number('rope.scaling.original_context_length') };
  const beyond = keys.number('rope.scaling.attn_factor') ?? 1;
  if (isLong) {
    const [short, long] = [keys.tensor(SHORT_FACTORS), keys.tensor(LONG_FACTORS)];
    if (short === undefined || long === undefined) {
      throw ggufInvalid(file.path, `has rope type longrope without ${LONG_FACTORS} and ${SHORT_FACTORS}`);
    }
    const factors = { short_factor: Array.from(short), long_factor: Array.from(long) };
    return { ...theta, rope_type: 'longrope', ...original, attention_factor: beyond, ...factors };
  }
  if (type !== 'yarn') throw ggufUnsupported(file.path, `rope.scaling.type ${JSON.stringify(type)}`);
  const inferred = yarnFactor(factor || 1);
  refuseUnread(file, keys, inferred);
  return { ...theta, rope_type: type, factor: factor || 1, ...original, attention_factor: inferred * beyond };
}

/** Keys of yarn that converters write and llama.cpp does not read: others than it computes with would be silently wrong. */
function refuseUnread(file: GgufFile, keys: GgufKeys, attentionFactor: number): void {
  const expected = { beta_fast: 32, beta_slow: 1, ext_factor: 1, attn_factor: attentionFactor };
  const found = Object.entries(expected).flatMap(([key, value]) => {
    const name = `rope.scaling.yarn_${key}`;
    const stored = keys.number(name) ?? value;
    return Math.abs(stored / value - 1) < 1e-5 ? [] : [`${name} ${stored}, where llama.cpp takes ${value}`];
  });
  if (found.length > 0) throw ggufUnsupported(file.path, found.join('; '));
}

/**
 * The scaling of a file with rope_freqs.weight: (D/2) divisors of the frequencies, a linear scaling included.
 *
 * @throws CrayonError `gguf-invalid`, `gguf-unsupported`
 */
export function ropeFactorsOf(file: GgufFile, { rotaryDim, ropeScaling }: ModelConfig): RopeScaling {
  const { shape } = file.info(ROPE_FACTORS);
  const factors = file.readF32(ROPE_FACTORS);
  if (shape.length !== 1 || shape[0] !== rotaryDim / 2) {
    throw ggufInvalid(file.path, `"${ROPE_FACTORS}" has shape [${shape}], expected [${rotaryDim / 2}]`);
  }
  if (firstNonFinite(factors) !== -1 || factors.some((x) => x <= 0)) {
    throw ggufInvalid(file.path, `"${ROPE_FACTORS}" has values that are not above 0`);
  }
  if (ropeScaling !== null && ropeScaling.type !== 'linear') {
    throw ggufUnsupported(file.path, `"${ROPE_FACTORS}" together with rope type ${ropeScaling.type}`);
  }
  const linear = ropeScaling?.factor ?? 1;
  return { type: 'factors', factors: Array.from(factors, (x) => x * linear) };
}
