/** The engine on the device: llama.cpp running a GGUF model with LoRA adapters, several requests at a time. */

import { randomInt } from 'node:crypto';
import { freemem } from 'node:os';
import type { LlamaModel } from 'node-llama-cpp';
import { CrayonError, isCrayonError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { GgufFile } from '../../gguf/read.js';
import { Slots } from '../slots.js';
import type { AdapterScale, EdgeEngine, GenerateEvent, GenerateRequest, Prompt, Query } from '../types.js';
import { answer } from './answer.js';
import { adapterSet, ContextPool, type Lease } from './contexts.js';
import { type PromptTokens, promptTokens } from './prompt.js';
import { SequenceReader } from './reader.js';
import { contextError, fastestThreads, type Gpu, loadLlama, loadLlamaModel, reason } from './runtime.js';

export interface LlamaCppOptions {
  /** a GGUF file */
  model: string;
  /** what /v1/models calls it */
  name: string;
  /** tokens of prompt and answer together; null is the model's own, at most 4096 */
  contextTokens?: number | null;
  /** requests generated at a time (default 4); each context has this many sequences */
  sequences?: number;
  /** `auto` measures when the engine opens */
  threads?: number | 'auto';
  /** default `auto` */
  gpu?: Gpu;
  /** requests that may wait (default 64); one more is refused with `engine-busy` */
  queue?: number;
  /** contexts kept, one for each set of adapters (default 4); never fewer than `sequences` */
  maxContexts?: number;
  /** source of a Jinja template, or `plain` (`renderPlain` of prompt.ts); by default the model's own, plain where it has none */
  chatTemplate?: string;
  /** number type of keys and values in the cache: half precision (default) costs 1e-3 in log-probabilities, and half the memory */
  cacheType?: 'F16' | 'F32';
  /** how long close() lets running requests go on (default 10,000), in milliseconds */
  closeTimeoutMs?: number;
}

export interface LlamaCppEngine extends EdgeEngine {
  readonly threads: number;
  /** contexts that exist, one for each set of adapters in use or kept */
  contexts(): number;
}

const MAX_DEFAULT_CONTEXT = 4096;
/** LLAMA_MAX_SEQ in llama.cpp. */
const MAX_SEQUENCES = 256;
const MAX_SEED = 2 ** 32;

/**
 * Opens a model.
 *
 * @throws CrayonError `file-not-found`, `gguf-invalid`, `gguf-unsupported`, `out-of-memory`, `engine-unavailable`,
 *   `bad-option` for a context longer than the model was made for
 *
 * @example
 * const engine = await openLlamaCppEngine({ model: 'model.gguf', name: 'crayon-edge', threads: 1 });
 * for await (const event of engine.generate(request)) if (event.type === 'token') process.stdout.write(event.text);
 * await engine.close();
 */
export async function openLlamaCppEngine(options: LlamaCppOptions): Promise<LlamaCppEngine> {
  const { sequences = 4 } = options;
  if (!Number.isInteger(sequences) || sequences < 1 || sequences > MAX_SEQUENCES) {
    throw new CrayonError('bad-option', `${sequences} sequences, expected 1 to ${MAX_SEQUENCES}`);
  }
  const file = GgufFile.open(options.model); // says what is wrong with a file better than llama.cpp does
  file.close();
  const model = await loadLlamaModel(await loadLlama(options.gpu ?? 'auto'), options.model);
  try {
    const contextTokens = contextLength(model, options);
    const { threads: wanted = 'auto' } = options;
    const threads = wanted === 'auto' ? await fastestThreads(model) : wanted;
    const prompts = promptTokens(model, file, options.chatTemplate);
    return new Engine(model, prompts, { ...options, sequences, contextTokens, threads });
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

function contextLength(model: LlamaModel, { model: path, contextTokens }: LlamaCppOptions): number {
  const most = model.trainContextSize;
  if (contextTokens === undefined || contextTokens === null) return Math.min(most, MAX_DEFAULT_CONTEXT);
  if (Number.isInteger(contextTokens) && contextTokens >= 2 && contextTokens <= most) return contextTokens;
  throw new CrayonError('bad-option', `${path}: context of ${contextTokens} tokens, expected 2 to ${most}`, {
    hint: 'The model was not made for longer texts.',
  });
}

class Engine implements LlamaCppEngine {
  readonly name: string;
  readonly contextTokens: number;
  readonly threads: number;
  readonly #model: LlamaModel;
  readonly #prompts: PromptTokens;
  readonly #slots: Slots;
  readonly #pool: ContextPool;
  readonly #closeTimeoutMs: number;
  #closing: Promise<void> | null = null;

  constructor(
    model: LlamaModel,
    prompts: PromptTokens,
    options: LlamaCppOptions & { sequences: number; contextTokens: number; threads: number },
  ) {
    const { sequences } = options;
    this.name = options.name;
    this.contextTokens = options.contextTokens;
    this.threads = options.threads;
    this.#model = model;
    this.#prompts = prompts;
    this.#closeTimeoutMs = options.closeTimeoutMs ?? 10_000;
    this.#slots = new Slots(options.name, sequences, options.queue ?? 64);
    this.#pool = new ContextPool({
      create: (adapters) => this.#createContext(adapters, sequences, options.cacheType ?? 'F16'),
      sequences,
      maxContexts: Math.max(options.maxContexts ?? 4, sequences),
    });
  }

  tokenize(prompt: Prompt): Int32Array {
    return Int32Array.from(this.#prompts.tokenize(prompt));
  }

  textTokens(text: string): Int32Array {
    return Int32Array.from(this.#prompts.textTokens(text));
  }

  load(): ReturnType<EdgeEngine['load']> {
    return this.#slots.load();
  }

  freeBytes(): number {
    // Newer than the types of Node 20; it knows a container's limit, which freemem does not.
    const { availableMemory } = process as { availableMemory?: () => number };
    return availableMemory?.call(process) ?? freemem();
  }

  contexts(): number {
    return this.#pool.size;
  }

  async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent, void, undefined> {
    const ids = this.#fitting(request.query, request.maxTokens);
    const lease = await this.#lease(request.adapters ?? [], ids, request.signal);
    try {
      const reader = new SequenceReader(lease, this.#prompts.vocabularySize);
      const random = createRandom(request.seed ?? randomInt(MAX_SEED), 'sampling');
      yield* answer({ reader, ids, request, random, prompts: this.#prompts });
    } finally {
      lease.cancel();
    }
  }

  async promptNll(query: Query, adapters: readonly AdapterScale[], signal: AbortSignal): Promise<number> {
    const ids = this.#fitting(query, 1);
    const lease = await this.#lease(adapters, ids, signal);
    try {
      return await new SequenceReader(lease, this.#prompts.vocabularySize).promptNll(ids);
    } finally {
      lease.cancel();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const timer = setTimeout(() => this.#pool.cancelAll(), this.#closeTimeoutMs);
    await this.#slots.idle();
    clearTimeout(timer);
    await this.#model.dispose(); // its contexts too
  }

  /** The query's tokens. @throws CrayonError `context-exceeded` when they leave no room for the answer */
  #fitting(query: Query, maxTokens: number): readonly number[] {
    const ids = Array.from(query.tokens(this));
    if (ids.length === 0) throw new CrayonError('request-invalid', 'the prompt is empty, expected at least one token');
    if (ids.length + maxTokens <= this.contextTokens) return ids;
    throw new CrayonError(
      'context-exceeded',
      `${ids.length} tokens of prompt and ${maxTokens} of answer, expected at most ${this.contextTokens} together`,
      { hint: 'Shorten the prompt, or ask for fewer tokens.' },
    );
  }

  async #lease(adapters: readonly AdapterScale[], ids: readonly number[], signal: AbortSignal): Promise<Lease> {
    this.#refuseWhenClosing();
    const release = await this.#slots.take(signal);
    if (this.#closing !== null) release();
    this.#refuseWhenClosing();
    return this.#pool.lease(adapterSet(adapters), ids, signal, release);
  }

  /** Requests that still waited when the engine closed are refused too. */
  #refuseWhenClosing(): void {
    if (this.#closing !== null) throw new CrayonError('engine-unavailable', `${this.name}: is being closed`);
  }

  async #createContext(adapters: readonly AdapterScale[], sequences: number, cacheType: 'F16' | 'F32') {
    for (const { path } of adapters) GgufFile.open(path).close();
    try {
      return await this.#model.createContext({
        contextSize: this.contextTokens,
        sequences,
        threads: this.threads,
        experimentalKvCacheKeyType: cacheType,
        experimentalKvCacheValueType: cacheType,
        // Flash attention would round them to half precision again.
        flashAttention: cacheType === 'F32' ? false : 'auto',
        lora: { adapters: adapters.map(({ path, scale }) => ({ filePath: path, scale })) },
      });
    } catch (error) {
      const known = await contextError(error, this.name);
      if (isCrayonError(known) || adapters.length === 0) throw known;
      const paths = adapters.map(({ path }) => path).join(', ');
      const problem = `${paths}: llama.cpp cannot apply it to ${this.name} (${reason(error)})`;
      throw new CrayonError('adapter-mismatch', problem, {
        hint: 'Export the adapter for this very model.',
        cause: error,
      });
    }
  }
}
