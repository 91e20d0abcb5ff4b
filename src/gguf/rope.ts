/** Llama 3's rescaled rotary frequencies in llama.cpp's form: a divisor for each frequency. */

import type { ModelConfig, RopeScaling } from '../hf/config.js';

/**
 * The tensor `rope_freqs.weight`, (D/2): llama.cpp divides the frequency theta^(-2j/D) by element j
 * (`generate_extra_tensors` in conversion/llama.py).
 */
export function ropeFrequencyFactors(
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
