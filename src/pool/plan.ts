/** What a build would do and how much memory it takes, without doing it. */

import type { ModelConfig } from '../hf/model.js';
import { poolLayout } from '../train/lora-layout.js';
import { AUTO_CANDIDATES, refuseFewExamples } from './cluster/cluster.js';
import { parseEmbeddingKind } from './embed/kinds.js';
import { readInputs } from './inputs.js';
import type { BuildPoolOptions } from './options.js';
import { refuseExistingPool } from './write.js';

export interface BuildPlan {
  examples: number;
  tokens: number;
  /** tokens of the longest example */
  longest: number;
  skipped: number;
  truncated: number;
  /** N, or the largest N that `auto` would try */
  maxClusters: number;
  /** trainable LoRA parameters */
  parameters: number;
  steps: number;
  poolBytes: number;
  /** estimated peak: weights, optimizer, and the activations of the longest batch */
  memoryBytes: number;
}

/** @throws CrayonError for every fault of the inputs that a build would refuse */
export function planBuild(options: BuildPoolOptions): BuildPlan {
  refuseExistingPool(options);
  const { model, examples, skipped, truncated } = readInputs(options, () => {});
  try {
    const { kind } = parseEmbeddingKind(options.embedding, model.config.numLayers);
    const n = examples.length;
    refuseFewExamples(n, options.clusters);
    const fitting = AUTO_CANDIDATES.filter((k) => k * 8 <= n);
    const N = options.clusters === 'auto' ? Math.max(...fitting) : options.clusters;
    const layout = poolLayout(model, options, N);
    const { batchSize, gradientAccumulation, epochs } = options.training;
    const longest = Math.max(...examples.map((e) => e.ids.length));
    const weights = model.tensorNames().reduce((sum, name) => sum + size(model.info(name).shape), 0);
    const { vocabSize } = model.config;
    const d = 'sparse' in kind ? 0 : kind.size(model.config);
    const activations = activationFloats(model.config, batchSize, longest, N * options.r);
    const logits = 3 * batchSize * longest * vocabSize; // an upper bound: completion tokens only
    return {
      examples: n,
      tokens: examples.reduce((sum, e) => sum + e.ids.length, 0),
      longest,
      skipped,
      truncated,
      maxClusters: N,
      parameters: layout.size,
      steps: Math.ceil((Math.ceil(n / batchSize) * epochs) / gradientAccumulation),
      poolBytes: 4 * layout.size,
      // parameters, two moments, the gradient and one temporary of each
      memoryBytes: 4 * (weights + 7 * layout.size + 2 * n * d + activations + logits),
    };
  } finally {
    model.close();
  }
}

/** Numbers that the backward pass keeps: about this many per token and block, and the attention weights. */
function activationFloats(config: ModelConfig, B: number, T: number, R: number): number {
  const { hiddenSize: C, intermediateSize: I, numHeads: H, numKvHeads: K, headDim: D, numLayers } = config;
  const perToken = 6 * C + 4 * H * D + 4 * K * D + 5 * I + 7 * R;
  return numLayers * (B * T * perToken + 2 * B * H * T * T);
}

const size = (shape: readonly number[]) => shape.reduce((n, s) => n * s, 1);
