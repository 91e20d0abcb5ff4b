/**
 * The blend itself: adapters and coefficients to one PEFT adapter directory, module by module, in bounded memory.
 *
 *     delta W = sum_n alpha_n . s_n . B_n A_n        (method: docs, section "Blend")
 *
 * The written adapter has every scale folded in: r = lora_alpha, no patterns, no rsLoRA, so that PEFT, vLLM and llama.cpp
 * agree on what it means. The same inputs give the same bytes, whatever the number of threads.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { sha256File } from '../files/digest.js';
import { ADAPTER_RECORD_FILE } from '../hf/adapter-record.js';
import { CHAT_TEMPLATE } from '../hf/tokenizer.js';
import type { CombineKind } from '../lora/combine.js';
import { ADAPTER_WEIGHTS, loraTensorName, type PeftAdapter } from '../peft/read.js';
import { writePeftAdapter } from '../peft/write.js';
import type { PoolFactors } from '../pool/factors.js';
import { layOut } from '../safetensors/header.js';
import { HashThread } from './hash-thread.js';
import { type BlendPlan, planBlend } from './plan.js';
import { type BlendSource, notFinite, openSource } from './sources.js';

/** Below this size hashing the finished file takes less time than starting a thread for it. */
const HASH_THREAD_BYTES = 32 * 2 ** 20;

export type { CombineKind } from '../lora/combine.js';

/** What a JSON file can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface BlendOptions {
  /** Open adapters, in the pool's order. They stay open. */
  adapters: readonly PeftAdapter[];
  /** One for each adapter; zero leaves it out. */
  coefficients: ArrayLike<number>;
  combine: CombineKind;
  /** Rank of the output for `svd` (default: the largest of the adapters' ranks); an upper limit for the others. */
  rank?: number;
  /** Storage type; F32 when not given. */
  dtype?: 'F32' | 'F16' | 'BF16';
  /** The directory to write. */
  out: string;
  /** Replace an earlier blend. */
  force?: boolean;
  /** For `base_model_name_or_path`. */
  baseModel: string;
  /** Goes into crayon.json as it is: the pool's digest, the embedding kind, the number of examples. No user text. */
  provenance?: { [key: string]: Json };
  /** The chat template that the adapters were trained through, written beside the blend; absent for plain. */
  template?: string | undefined;
  /** What the pool of exactly these adapters keeps of them (`openPoolFactors`): `svd` and `linear` take a fraction of the time. */
  factors?: PoolFactors | null | undefined;
  /** Threads that compute `svd` and `linear`, this one included; the number of cores when not given. Never changes the result. */
  threads?: number;
  /** Called after each module. */
  onProgress?: (done: number, total: number, module: string) => void;
}

export interface BlendResult {
  /** `rank` counts components that are not zero; `relativeError` as in CombinedFactors. */
  modules: Array<{ name: string; rank: number; relativeError: number }>;
  /** Rank of the written adapter. */
  rank: number;
  /** Size of the weights file. */
  bytes: number;
  ms: number;
  /** SHA-256 of the weights file. */
  digest: string;
  /** Sentences the user should read: modules missing in an adapter, a rank above vLLM's limit, what `linear` is. */
  notices: string[];
}

/**
 * Blends adapters and writes the result.
 *
 * @throws CrayonError `coefficients-invalid`, `adapter-mismatch` (all bad modules at once), `bad-option` for a rank that is too
 *   small, `tensor-not-finite` naming the tensor, `output-exists`, `disk-full`; nothing is left behind
 *
 * @example
 * const adapters = [openPeftAdapter('pool/0'), openPeftAdapter('pool/1')];
 * blendAdapters({ adapters, coefficients: [0.7, 0.3], combine: 'cat', baseModel: 'Qwen/Qwen2.5-0.5B', out: 'blend' });
 */
export function blendAdapters(options: BlendOptions): BlendResult {
  const start = performance.now();
  const { adapters, coefficients, combine, dtype = 'F32' } = options;
  const plan = planBlend(adapters, coefficients, combine, options.rank);
  const threads = options.threads ?? availableParallelism();
  const hash = threads > 1 ? startHash(plan, dtype) : undefined;
  let source: BlendSource | undefined;
  try {
    const buffer = hash === undefined ? undefined : (length: number) => hash.buffer(length);
    source = openSource(plan, { threads, buffer, factors: options.factors });
    return { ...writeBlend(options, plan, source, hash), ms: performance.now() - start };
  } finally {
    source?.close();
    hash?.close();
  }
}

/** Writes the factors of a plan, whoever made them. @throws CrayonError `output-exists`, `disk-full`, and what the source throws */
export function writeBlend(
  options: BlendOptions,
  plan: BlendPlan,
  source: BlendSource,
  hash?: HashThread,
): Omit<BlendResult, 'ms'> {
  const { dtype = 'F32', out, force, baseModel, onProgress } = options;
  const { modules, rank, targetModules, notices } = plan;
  let digest: string | undefined;
  const { bytes } = writePeftAdapter(out, {
    baseModel,
    r: rank,
    loraAlpha: rank,
    dtype,
    targetModules,
    modules: modules.map((module, index) => ({
      ...module,
      r: rank,
      a: () => hashed(source.a(index), hash),
      b: () => {
        const b = hashed(source.b(index), hash);
        if (index === modules.length - 1 && hash !== undefined) digest = checkedDigest(hash, plan);
        onProgress?.(index + 1, modules.length, module.name);
        return b;
      },
    })),
    extraFiles: {
      [ADAPTER_RECORD_FILE]: provenanceJson(options, plan, dtype),
      ...(options.template === undefined ? {} : { [CHAT_TEMPLATE]: options.template }),
    },
    force,
  });
  digest ??= sha256File(join(out, ADAPTER_WEIGHTS));
  const results = modules.map(({ name }, index) => {
    const { effectiveRank, relativeError } = source.result(index);
    return { name, rank: effectiveRank, relativeError };
  });
  return { modules: results, rank, bytes, digest, notices };
}

/** A thread that hashes alongside, for a large `cat` in float32; otherwise the finished file is read once more, which is short. */
function startHash({ combine, modules, rank }: BlendPlan, dtype: string): HashThread | undefined {
  if (combine !== 'cat' || dtype !== 'F32') return undefined;
  const tensors = modules.flatMap(({ name, in: inputs, out }) => [
    { name: loraTensorName(name, 'A'), dtype: 'F32' as const, shape: [rank, inputs] },
    { name: loraTensorName(name, 'B'), dtype: 'F32' as const, shape: [out, rank] },
  ]);
  const { head, dataBytes } = layOut(tensors, { format: 'pt' });
  if (dataBytes < HASH_THREAD_BYTES) return undefined;
  return new HashThread(head, rank * Math.max(...modules.map(({ in: inputs, out }) => Math.max(inputs, out))));
}

function hashed(data: Float32Array, hash: HashThread | undefined): Float32Array {
  hash?.update(data);
  return data;
}

/** Buffers are modules' A and B in turn. */
function checkedDigest(hash: HashThread, { modules }: BlendPlan): string {
  const { digest, firstBad } = hash.finish();
  if (firstBad !== -1) throw notFinite(modules[firstBad >> 1]!, firstBad % 2 === 0 ? 'A' : 'B');
  return digest;
}

/** crayon.json: what the blend was made of. No time, no path and no user text, so that the same inputs give the same bytes. */
function provenanceJson(
  { coefficients, adapters, provenance, baseModel }: BlendOptions,
  plan: BlendPlan,
  dtype: string,
) {
  const { combine, rank, modules } = plan;
  const json = {
    format: 'crayon-blend',
    version: 1,
    baseModel,
    combine,
    ...(combine === 'linear' ? { exact: false, note: 'Sums of factors: not the same delta as cat or svd.' } : {}),
    rank,
    dtype,
    modules: modules.length,
    coefficients: Array.from(coefficients),
    adapters: adapters.map(({ config: { r, loraAlpha } }) => ({ r, loraAlpha })),
    ...provenance,
  };
  return `${JSON.stringify(json, null, 2)}\n`;
}
