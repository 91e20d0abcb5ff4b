/** A model small enough to train within a test, on the back end that is always there. */

import { afterAll, beforeAll } from 'vitest';
import { HfModel } from '../../src/hf/model.js';
import type { Tokenizer } from '../../src/hf/tokenizer.js';
import { chooseBackend } from '../../src/model/backend.js';
import { LlamaModel } from '../../src/model/llama.js';
import { type LoraLayout, poolLayout } from '../../src/model/lora-layout.js';
import type { TrainingExample } from '../../src/train/batches.js';
import { fixture } from '../helpers/fixtures.js';

export interface Toy {
  source: HfModel;
  model: LlamaModel;
  tokenizer: Tokenizer;
}

/** Call once at the top of a test file; its members are there from the first test on. */
export function toyModel(): Toy {
  const toy = {} as Toy;
  beforeAll(async () => {
    await chooseBackend('cpu');
    toy.source = HfModel.open(fixture('models', 'llama'));
    toy.model = new LlamaModel(toy.source);
    toy.tokenizer = toy.source.tokenizer();
  });
  afterAll(() => {
    toy.model.dispose();
    toy.source.close();
  });
  return toy;
}

export function layoutOf({ source }: Toy, N: number, r = 2): LoraLayout {
  return poolLayout(source, { targets: ['q_proj', 'k_proj'], r }, N);
}

/** Sequences in which every token says the next: (start + i * stride) of a ring of 40 tokens. */
export function sequences(count: number): TrainingExample[] {
  return Array.from({ length: count }, (_, n) => ({
    ids: Int32Array.from({ length: 6 + (n % 3) }, (_, i) => 10 + ((n + 7 * i) % 40)),
    promptLength: 2,
  }));
}
