/**
 * What a served model takes of the machine's memory: the process and the model, measured once it is loaded, and before they are taken the
 * cache of keys and values with the buffers of a batch, and the adapters. llama.cpp says itself what a context takes. A context that
 * nobody has asked for is made to fit; what does not fit is refused with the numbers.
 */

import { freemem } from 'node:os';
import type { LlamaModel } from 'node-llama-cpp';
import { CrayonError } from '../../core/errors.js';
import { warn } from '../../core/warning.js';
import { ggufCount } from '../../gguf/format.js';
import type { GgufFile } from '../../gguf/read.js';

/** Number types of the cache. Half precision (the default) costs 1e-3 in log-probabilities, and half the memory of F32. */
export const CACHE_TYPES = ['F32', 'F16', 'Q8_0'] as const;
export type CacheType = (typeof CACHE_TYPES)[number];

/** A number type's values share a scale in blocks of so many, which must lie within a head. */
const Q8_BLOCK = 32;

/** What the machine can give, in a container what that may have. */
export function availableBytes(): number {
  // Newer than the types of Node 20; it knows a container's limit, which freemem does not.
  const { availableMemory } = process as { availableMemory?: () => number };
  return availableMemory?.call(process) ?? freemem();
}

/** How a context is made, for llama.cpp. */
export function cacheSettings(type: CacheType) {
  return {
    experimentalKvCacheKeyType: type,
    experimentalKvCacheValueType: type,
    // It would round F32 to half precision again, and only it reads quantised values.
    flashAttention: type === 'F32' ? false : type === 'Q8_0' ? true : ('auto' as const),
  };
}

export interface MemoryOptions {
  /** of the whole process; default: what the machine can give */
  memoryBytes?: number | null | undefined;
  /** of the adapters that are to be in memory together (default 0) */
  adapterBytes?: number | undefined;
}

export interface MemoryTask {
  name: string;
  file: GgufFile;
  /** resident before the model was loaded */
  processBytes: number;
  /** and with it: llama.cpp may keep weights in another form than the file's, the words' as the last layer's too */
  loadedBytes: number;
  /** tokens of a sequence; `isGiven`: asked for, not to be made smaller */
  contextTokens: number;
  isGiven: boolean;
  sequences: number;
  /** tokens that are read at once */
  batchTokens: number;
  cacheType: CacheType;
}

/** Of LoRAs that nobody uses, beside those that are to be in memory anyway. */
const KEPT_BYTES = 2 ** 28;

/** Below it a context of ours is made no smaller. */
const LEAST_CONTEXT = 512;

/**
 * @returns tokens of a sequence, and how many bytes of idle LoRAs may be kept
 * @throws CrayonError `out-of-memory` with the numbers, `bad-option` for a cache that the model's heads do not fit
 */
export async function planMemory(
  model: LlamaModel,
  task: MemoryTask,
  { memoryBytes, adapterBytes = 0 }: MemoryOptions,
): Promise<{ contextTokens: number; keptBytes: number }> {
  const { name, file, processBytes, loadedBytes, isGiven, sequences, batchTokens, cacheType } = task;
  refuseUnevenHeads(task);
  // What lies on a GPU is node-llama-cpp's to count.
  const modelBytes = model.gpuLayers > 0 ? 0 : Math.max(file.sizeBytes, loadedBytes - processBytes);
  const budget = memoryBytes ?? processBytes + modelBytes + availableBytes();
  const contextBytes = async (contextSize: number): Promise<number> => {
    const { GgmlType } = await import('node-llama-cpp');
    const { flashAttention } = cacheSettings(cacheType);
    const type = GgmlType[cacheType];
    const { fileInsights, gpuLayers: modelGpuLayers } = model;
    const asked = {
      contextSize,
      sequences,
      batchSize: batchTokens,
      modelGpuLayers,
      flashAttention,
      kvCacheKeyType: type,
      kvCacheValueType: type,
    };
    return (await fileInsights.estimateContextResourceRequirementsV2(asked)).cpuRam;
  };
  let { contextTokens } = task;
  let cacheBytes = await contextBytes(contextTokens);
  const needed = (): number => processBytes + modelBytes + cacheBytes + adapterBytes;
  while (needed() > budget && !isGiven && contextTokens / 2 >= LEAST_CONTEXT) {
    contextTokens = Math.floor(contextTokens / 2);
    cacheBytes = await contextBytes(contextTokens);
  }
  // Halves are coarse: a half and a quarter more, where they fit.
  for (const more of contextTokens < task.contextTokens && needed() <= budget
    ? [contextTokens / 2, contextTokens / 4]
    : []) {
    const [fitting, itsBytes] = [contextTokens, cacheBytes];
    contextTokens = Math.floor(contextTokens + more);
    cacheBytes = await contextBytes(contextTokens);
    if (needed() > budget) [contextTokens, cacheBytes] = [fitting, itsBytes];
  }
  if (needed() > budget) {
    const parts = `this process ${mib(processBytes)}, the model ${mib(modelBytes)}, the cache of ${sequences} x ${contextTokens} tokens ${mib(cacheBytes)}, the adapters ${mib(adapterBytes)}`;
    const found = memoryBytes == null ? 'the machine has' : 'memory_mib gives';
    throw new CrayonError('out-of-memory', `${name}: needs ${mib(needed())} (${parts}), ${found} ${mib(budget)}`, {
      hint: 'Use a smaller context (engine.context), fewer sequences, kv_type Q8_0, a smaller model or pool; or give more (memory_mib).',
    });
  }
  if (contextTokens < task.contextTokens) {
    warn(`${name}: a context of ${contextTokens} tokens, not ${task.contextTokens}, so that it fits ${mib(budget)}.`);
  }
  return { contextTokens, keptBytes: adapterBytes + Math.min(KEPT_BYTES, budget - needed()) };
}

const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;

/** llama.cpp only says that it cannot make the context. */
function refuseUnevenHeads({ name, file, cacheType }: MemoryTask): void {
  if (cacheType !== 'Q8_0') return;
  const count = (key: string) => ggufCount(file, `${file.architecture}.${key}`);
  const width = (count('embedding_length') ?? 0) / (count('attention.head_count') ?? 1);
  const size = count('attention.key_length') ?? width;
  if (size % Q8_BLOCK === 0) return;
  throw new CrayonError(
    'bad-option',
    `${name}: heads of ${size} numbers, of which Q8_0 needs a multiple of ${Q8_BLOCK}`,
    {
      hint: 'Keep keys and values in F16 (engine.kv_type).',
    },
  );
}
