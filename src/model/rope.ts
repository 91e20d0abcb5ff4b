/**
 * Inverse frequencies of the rotary embedding, with the scalings that the Llama family uses.
 *
 * Source: transformers `modeling_rope_utils.py` (`_compute_linear_scaling_rope_parameters`, `_compute_llama3_parameters`).
 */

import type { ModelConfig } from '../hf/model.js';

/** (headDim/2) inverse frequencies in radians per position. */
function inverseFrequencies(config: Pick<ModelConfig, 'headDim' | 'ropeTheta' | 'ropeScaling'>): Float64Array {
  const { headDim, ropeTheta, ropeScaling } = config;
  const plain = Float64Array.from({ length: headDim / 2 }, (_, i) => ropeTheta ** ((-2 * i) / headDim));
  if (ropeScaling === null) return plain;
  if (ropeScaling.type === 'linear') return plain.map((f) => f / ropeScaling.factor);

  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: oldLength } = ropeScaling;
  return plain.map((f) => {
    const wavelength = (2 * Math.PI) / f;
    if (wavelength < oldLength / highFreqFactor) return f;
    if (wavelength > oldLength / lowFreqFactor) return f / factor;
    const smooth = (oldLength / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
}

/** cos and sin of position x frequency, each (length, headDim): both halves of a head hold the same angles. */
export function rotaryAngles(
  config: Pick<ModelConfig, 'headDim' | 'ropeTheta' | 'ropeScaling'>,
  length: number,
): { cos: Float32Array; sin: Float32Array } {
  const frequencies = inverseFrequencies(config);
  const half = frequencies.length;
  const cos = new Float32Array(length * half * 2);
  const sin = new Float32Array(length * half * 2);
  for (let t = 0; t < length; t++) {
    for (let i = 0; i < half; i++) {
      const angle = t * frequencies[i]!;
      const at = t * half * 2 + i;
      cos[at] = cos[at + half] = Math.cos(angle);
      sin[at] = sin[at + half] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
