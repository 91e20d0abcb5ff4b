/** llama.cpp itself, through node-llama-cpp, as the peer that our GGUF files are read by. */

import type { Llama, LlamaModel, Token } from 'node-llama-cpp';
import { afterAll } from 'vitest';

let shared: Promise<Llama> | undefined;

/** One llama.cpp for a test file, on the processor, ended with the file; nothing is compiled or downloaded. */
export function llamaCpp(): Promise<Llama> {
  shared ??= (async () => {
    const { getLlama, LlamaLogLevel } = await import('node-llama-cpp');
    const options = { gpu: false, build: 'never', skipDownload: true, logLevel: LlamaLogLevel.error } as const;
    return getLlama({ ...options, maxThreads: 1 });
  })();
  return shared;
}

/** Call once at the top of a test file. */
export function endLlamaCpp(): void {
  afterAll(async () => {
    await (await shared)?.dispose();
    shared = undefined;
  });
}

export interface Lora {
  filePath: string;
  scale?: number;
}

async function withModel<T>(
  path: string,
  action: (model: LlamaModel) => Promise<T>,
  { vocabOnly = false } = {},
): Promise<T> {
  const model = await (await llamaCpp()).loadModel({ modelPath: path, useMmap: false, vocabOnly });
  try {
    return await action(model);
  } finally {
    await model.dispose();
  }
}

/** The probabilities of the next token after each of the ids: (T, V), row-major. */
export function nextProbabilities(path: string, ids: readonly number[], adapters: Lora[] = []): Promise<Float32Array> {
  return withModel(path, async (model) => {
    // F32, so that what is compared is the weights and not the rounding of the cache.
    const kvCacheKeyType = 'F32';
    const context = await model.createContext({
      contextSize: ids.length + 8, // a full context is shifted before the last token is read
      flashAttention: false,
      experimentalKvCacheKeyType: kvCacheKeyType,
      experimentalKvCacheValueType: kvCacheKeyType,
      ...(adapters.length === 0 ? {} : { lora: { adapters } }),
    });
    const outputs = await context
      .getSequence()
      .controlledEvaluate(ids.map((id) => [id as Token, { generateNext: { probabilities: true } }]));
    const size = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
    const rows = new Float32Array(ids.length * size);
    for (const [t, output] of outputs.entries()) {
      for (const [id, probability] of output!.next.probabilities!) rows[t * size + id] = probability;
    }
    return rows;
  });
}

/** The likeliest continuation, at most `count` tokens, up to the end-of-text token. */
export function greedy(path: string, ids: readonly number[], count: number, adapters: Lora[] = []): Promise<number[]> {
  return withModel(path, async (model) => {
    const context = await model.createContext({
      contextSize: ids.length + count + 8,
      flashAttention: false,
      ...(adapters.length === 0 ? {} : { lora: { adapters } }),
    });
    const found: number[] = [];
    for await (const id of context.getSequence().evaluate(ids as Token[], { temperature: 0 })) {
      found.push(id);
      if (found.length === count) break;
    }
    return found;
  });
}

/** Token ids of texts, special tokens' names in them included, without BOS. */
export function tokenIds(path: string, texts: readonly string[]): Promise<number[][]> {
  return withModel(path, async (model) => texts.map((text) => [...model.tokenize(text, true)]));
}

/** Ids of all tokens that end an answer, ascending. */
export function endIds(path: string, options: { vocabOnly?: boolean } = {}): Promise<number[]> {
  const all = async (model: LlamaModel): Promise<number[]> => {
    const ids = [...model.fileInfo.metadata.tokenizer.ggml.tokens.keys()];
    return ids.filter((id) => model.isEogToken(id as Token));
  };
  return withModel(path, all, options);
}
