/**
 * llama.cpp's own loading: what crayon's reader takes of a model or a LoRA goes through what the engine's trial tries, here in the
 * fuzzer's child, which llama.cpp may end. What it ends for is to be refused by src/gguf/llama-cpp.ts before.
 */

import { join } from 'node:path';
import { runTrial } from '../../../src/engine/llama/trial-run.js';
import type { Target } from '../target.js';
import { ggufAdapters, ggufModels } from './seeds.js';

export const llamaCpp: Target = {
  name: 'llama-cpp',
  reads: 'a GGUF model, with a LoRA or without, loaded by llama.cpp and asked for a token',
  endsProcess: true,
  weight: 0.3,
  longestMs: 15_000,
  seeds(scratch) {
    const models = ggufModels(scratch, ['llama', 'gemma3', 'qwen2', 'phi3'], ['F32', 'Q8_0']);
    const adapters = ggufAdapters(scratch, ['llama']);
    return [...models, new Map([...models[0]!, ...adapters[0]!])];
  },
  /** The library takes some hundred megabytes, which are no mutant's. */
  async open(scratch) {
    const [sound] = ggufModels(scratch, ['llama']);
    if (sound !== undefined) await runTrial({ ...OPTIONS, model: join(scratch, 'llama-F32.gguf') });
    return async () => {};
  },
  async run(dir, files) {
    const adapters = files.has('adapter.gguf') ? [join(dir, 'adapter.gguf')] : [];
    await runTrial({ ...OPTIONS, model: join(dir, 'model.gguf'), adapters });
    return adapters.length;
  },
};

const OPTIONS = { gpu: false } as const;
