/** What the contestants of train.ts are given: the same token ids in the same batches, as JSON. */

import { createRandom } from '../src/core/random.js';
import { oneHot } from '../src/core/vector.js';
import { loadDataset } from '../src/data/dataset.js';
import { openBase } from '../src/gguf/base.js';
import type { BackendName } from '../src/model/names.js';
import { BUILD_DEFAULTS } from '../src/pool/inputs.js';
import { prepareExamples } from '../src/pool/prepare.js';

/** The work of one contestant. */
export interface Job {
  /** the base model, in the form that the contestant reads */
  base: string;
  work: 'train' | 'embed' | 'score';
  batchSize: number;
  /** what one round goes through */
  batches: JobExample[][];
  /** coefficients of each example, in the order of the batches */
  gates: number[][];
  /** rounds after the one that warms up */
  rounds: number;
  backend: BackendName;
  peer: PeerSettings;
}

export interface JobExample {
  ids: number[];
  promptLength: number;
}

export interface PeerSettings {
  dtype: 'float32' | 'bfloat16';
  /** `together`: every adapter is active in every step, with equal weights; `turns`: one after the other, a step each */
  adapters: 'together' | 'turns';
  count: number;
  r: number;
  loraAlpha: number;
  /** where logits are computed */
  logits: 'completion' | 'all';
}

/** Prompts with answers of 8 tokens, 84 tokens on average, of random ids. */
export function syntheticExamples(count: number, vocabSize: number): JobExample[] {
  const random = createRandom(0, 'bench-train');
  return Array.from({ length: count }, () => {
    const length = 64 + random.int(41);
    return { ids: Array.from({ length }, () => random.int(vocabSize)), promptLength: length - 8 };
  });
}

/** Examples of the quickstart's tasks, as `build-pool` gives them to the embedded model. */
export function suiteExamples(count: number, model: string): JobExample[] {
  const base = openBase(model);
  const data = loadDataset('suite/quickstart.yaml', { limit: Math.ceil(count / 6), seed: 0 });
  const { maxPositionEmbeddings: maxLength } = base.config;
  const options = { maxLength, long: BUILD_DEFAULTS.long, addEnd: true };
  const { examples } = prepareExamples(data.examples, base.tokenizer(), options);
  base.close();
  return examples.slice(0, count).map(({ ids, promptLength }) => ({ ids: [...ids], promptLength }));
}

/** Batches of like length, which the planner of a training would cut likewise in every epoch. */
export function batched(examples: JobExample[], batchSize: number): JobExample[][] {
  const byLength = [...examples].sort((a, b) => a.ids.length - b.ids.length);
  return Array.from({ length: examples.length / batchSize }, (_, i) =>
    byLength.slice(i * batchSize, (i + 1) * batchSize),
  );
}

/** Coefficients of N adapters for each of some examples: mixtures, or one adapter each. */
export function gatesOf(mode: 'joint' | 'independent', examples: number, N: number): number[][] {
  const random = createRandom(0, 'bench-train/gates');
  return Array.from({ length: examples }, (_, i) => {
    if (mode === 'independent') return [...oneHot(i % N, N)];
    const weights = Array.from({ length: N }, () => random.uniform());
    const total = weights.reduce((a, b) => a + b);
    return weights.map((weight) => weight / total);
  });
}
