/** The engine on the device: llama.cpp running a GGUF model with LoRA adapters, several requests at a time. */

import { randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { LlamaModel } from 'node-llama-cpp';
import { CrayonError } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { breather } from '../../core/long-work.js';
import { createRandom } from '../../core/random.js';
import { defaultCacheDir } from '../../gguf/cache.js';
import { refuseWhatAborts } from '../../gguf/llama-cpp.js';
import { GgufFile } from '../../gguf/read.js';
import { specialTokenIds } from '../../gguf/vocabulary/special-tokens.js';
import { throwIfAborted } from '../clock.js';
import { createSlots } from '../slots.js';
import { type AdapterScale, type DeviceEngine, type Query, refuseIncomplete } from '../types.js';
import { answer, spell } from './answer.js';
import { Decoder } from './decoder.js';
import { answerGrammar } from './grammar/answer.js';
import { AnswerGrammar } from './grammar/state.js';
import { offered } from './grammar/tool-calls.js';
import { grammarsOf } from './inside.js';
import { adapterSet, LoraFiles } from './loras.js';
import { availableBytes, cacheSettings, type MemoryOptions, planMemory } from './memory.js';
import { type PromptTokens, promptTokens } from './prompt.js';
import { largestBatch } from './reader.js';
import { contextError, fastestThreads, loadLlama, loadLlamaModel } from './runtime.js';
import { SequencePool } from './sequences.js';
import { LoraStacks, type StackMember } from './stacks.js';
import { type TrialOptions, tryInChild } from './trial.js';

export interface LlamaCppOptions extends TrialOptions, MemoryOptions {
  /** what /v1/models calls it */
  name: string;
  /** requests at work at a time (default 4), each with a cache of `contextTokens` */
  sequences?: number;
  /** `auto` measures when the engine opens */
  threads?: number | 'auto';
  /** requests that may wait (default 64); one more is refused with `engine-busy` */
  queue?: number;
  /** source of a Jinja template, or `plain` (`renderPlain` of core/chat.ts); by default the model's own, plain where it has none */
  chatTemplate?: string;
  /** system message of conversations that have none, where they go through a template: what an adapter was trained with */
  system?: string;
  /** ids at which an answer ends beside those that the file tells llama.cpp of */
  endTokens?: readonly number[];
  /** adapters of which mixtures are applied as one, of which the stack is kept in `cacheDir` (default none) */
  stacked?: readonly StackMember[];
  /** where it is remembered that llama.cpp takes a model (default `defaultCacheDir()`); null: nowhere */
  cacheDir?: string | null;
  /** this is the process in which that is tried */
  isTrial?: boolean;
  /** how long close() lets running requests go on (default 10,000), in milliseconds */
  closeTimeoutMs?: number;
}

export interface LlamaCppEngine extends DeviceEngine {
  readonly threads: number;
  /** files of adapters in memory */
  adapterFiles(): number;
}

const MAX_DEFAULT_CONTEXT = 4096;
const MAX_SEED = 2 ** 32;
const residentBytes = (): number => process.memoryUsage.rss();

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
  const { sequences = 4, threads = 'auto', name } = options;
  if (!Number.isInteger(sequences) || sequences < 1 || sequences > LIMITS.sequences) {
    throw new CrayonError('bad-option', `${sequences} sequences, expected 1 to ${LIMITS.sequences}`);
  }
  const file = await tried(options);
  const llama = await loadLlama(options.gpu ?? 'auto');
  const processBytes = residentBytes();
  const model = await loadLlamaModel(llama, options.model);
  let stacks: LoraStacks | null = null;
  try {
    const cacheType = options.cacheType ?? 'F16';
    const isGiven = options.contextTokens != null;
    const { chatTemplate, system, endTokens } = options;
    const prompts = promptTokens(model, file, chatTemplate, system, endTokens);
    const batchTokens = largestBatch(prompts.vocabularySize, sequences);
    const held = { processBytes, loadedBytes: residentBytes() };
    const wanted = {
      name,
      file,
      ...held,
      contextTokens: contextLength(model, options),
      isGiven,
      sequences,
      batchTokens,
      cacheType,
    };
    const { stacked = [], cacheDir = defaultCacheDir() } = options;
    stacks = stacked.length === 0 ? null : new LoraStacks(stacked, cacheDir);
    // Each request may be under a mixture of its own.
    const adapterBytes = Math.max(options.adapterBytes ?? 0, sequences * (stacks?.bytes ?? 0));
    const planned = await planMemory(model, wanted, { ...options, adapterBytes });
    const settings = {
      name,
      sequences,
      batchTokens,
      ...planned,
      // A mixture for a prompt is seldom asked for again: beyond what is promised to the adapters none is kept.
      ...(stacks !== null && { keptBytes: Math.min(planned.keptBytes, adapterBytes) }),
      stacks,
      threads: threads === 'auto' ? await fastestThreads(model) : threads,
      // A batch of a prompt's tokens has work for all cores; one token may not.
      promptThreads: threads === 'auto' ? availableParallelism() : threads,
      queue: options.queue ?? 64,
      cacheType,
      closeTimeoutMs: options.closeTimeoutMs ?? 10_000,
    };
    const decoder = await Decoder.open(model, () => createContext(model, settings), {
      sequences,
      threads: { prompt: settings.promptThreads, answer: settings.threads },
    });
    grammarsOf(model); // a version that looks otherwise inside is refused now
    return engineOver(model, prompts, decoder, settings);
  } catch (error) {
    stacks?.close();
    await model.dispose();
    throw error;
  }
}

/** Says what is wrong with a file better than llama.cpp does, and what llama.cpp would end the process for, without its end. */
async function tried(options: LlamaCppOptions): Promise<GgufFile> {
  const { model, adapters = [], gpu, contextTokens, cacheType, cacheDir, isTrial = false } = options;
  const file = GgufFile.open(model);
  const files = [file];
  try {
    for (const path of adapters) files.push(GgufFile.open(path));
    for (const one of files) refuseWhatAborts(one);
    specialTokenIds(file); // llama.cpp takes other tokens for those outside the vocabulary
    if (!isTrial) await tryInChild({ model, adapters, gpu, contextTokens, cacheType }, files, cacheDir);
  } finally {
    for (const one of files) one.close();
  }
  return file;
}

function contextLength(model: LlamaModel, { model: path, contextTokens }: LlamaCppOptions): number {
  const most = model.trainContextSize;
  if (contextTokens === undefined || contextTokens === null) return Math.min(most, MAX_DEFAULT_CONTEXT);
  if (Number.isInteger(contextTokens) && contextTokens >= 2 && contextTokens <= most) return contextTokens;
  throw new CrayonError('bad-option', `${path}: context of ${contextTokens} tokens, expected 2 to ${most}`, {
    hint: 'The model was not made for longer texts.',
  });
}

type Settings = Required<Pick<LlamaCppOptions, 'name' | 'sequences' | 'queue' | 'cacheType' | 'closeTimeoutMs'>> &
  Pick<LlamaCppEngine, 'contextTokens' | 'threads'> & {
    promptThreads: number;
    batchTokens: number;
    keptBytes: number;
    stacks: LoraStacks | null;
  };

function engineOver(model: LlamaModel, prompts: PromptTokens, decoder: Decoder, settings: Settings): LlamaCppEngine {
  const { name, contextTokens, threads, sequences, closeTimeoutMs } = settings;
  const slots = createSlots(name, sequences, settings.queue);
  const { vocabularySize } = prompts;
  const loras = new LoraFiles(model, decoder, name, settings.keptBytes, settings.stacks);
  const pool = new SequencePool(decoder, loras, vocabularySize);
  let closing: Promise<void> | null = null;

  /** Requests that still waited when the engine closed are refused too. */
  const refuseWhenClosing = (): void => {
    if (closing !== null) throw new CrayonError('engine-unavailable', `${name}: is being closed`);
  };

  /** @throws CrayonError `request-invalid` for a token that the model does not have: llama.cpp would end the process */
  const refuseUnknown = (ids: readonly number[]): void => {
    const at = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
    if (at < 0) return;
    throw new CrayonError('request-invalid', `token ${ids[at]} at ${at}, expected 0 to ${vocabularySize - 1}`, {
      hint: 'The tokens of another tokenizer mean nothing here: use that of the served model.',
    });
  };

  const spelled = (ids: readonly number[], bytesOf: (id: number) => Uint8Array): string[] => {
    refuseUnknown(ids); // what a token is as bytes is kept for each id that is asked for
    return [...spell(ids, prompts, bytesOf)];
  };
  const spelledAside = async (
    ids: readonly number[],
    bytesOf: (id: number) => Uint8Array,
    signal: AbortSignal,
  ): Promise<string[]> => {
    refuseUnknown(ids);
    const breathe = breather();
    const texts: string[] = [];
    for (const text of spell(ids, prompts, bytesOf)) {
      texts.push(text);
      if (texts.length % 256 !== 0) continue;
      throwIfAborted(signal);
      await breathe();
    }
    return texts;
  };

  /** The query's tokens. @throws CrayonError `context-exceeded` when they leave no room for the answer */
  const fitting = (query: Query, maxTokens: number): readonly number[] => {
    const ids = Array.from(query.tokens(engine));
    refuseTooLong(ids, maxTokens);
    return ids;
  };
  const refuseTooLong = (ids: readonly number[], maxTokens: number): void => {
    if (ids.length === 0) throw new CrayonError('request-invalid', 'the prompt is empty, expected at least one token');
    if (ids.length + maxTokens <= contextTokens) return;
    throw new CrayonError(
      'context-exceeded',
      `${ids.length} tokens of prompt and ${maxTokens} of answer, expected at most ${contextTokens} together`,
      { hint: 'Shorten the prompt, or ask for fewer tokens.' },
    );
  };

  const leased = async (adapters: readonly AdapterScale[], ids: readonly number[], signal: AbortSignal) => {
    refuseWhenClosing();
    const release = await slots.take(signal);
    if (closing !== null) release();
    refuseWhenClosing();
    return pool.lease(adapterSet(adapters), ids, signal, release);
  };

  const close = async (): Promise<void> => {
    const timer = setTimeout(() => pool.cancelAll(), closeTimeoutMs);
    await slots.idle();
    clearTimeout(timer);
    await decoder.close();
    await model.dispose(); // its LoRAs too
    settings.stacks?.close();
  };

  const engine: LlamaCppEngine = {
    name,
    contextTokens,
    threads,
    tokenize: (prompt) => {
      if (prompt.kind !== 'text' || prompt.ids === undefined) return Int32Array.from(prompts.tokenize(prompt));
      refuseUnknown(prompt.ids);
      return Int32Array.from(prompt.ids);
    },
    tokenizeAside: async (prompt, signal) => {
      if (prompt.kind === 'text' && prompt.ids !== undefined) return engine.tokenize(prompt);
      return Int32Array.from(await prompts.tokenizeAside(prompt, signal));
    },
    vocabulary: {
      ...prompts.names,
      spell: (ids) => spelled(ids, prompts.pieces.bytes),
      spellAside: (ids, signal) => spelledAside(ids, prompts.pieces.bytes, signal),
      nameOf: prompts.pieces.nameBytes,
      encode: (text) => Int32Array.from(prompts.parsedTokens(text)),
      encodeAside: async (text, signal) => Int32Array.from(await prompts.parsedTokensAside(text, signal)),
      decode: (ids) => spelled(ids, prompts.pieces.nameBytes).join(''),
      decodeAside: async (ids, signal) => (await spelledAside(ids, prompts.pieces.nameBytes, signal)).join(''),
    },
    textTokens: (text) => Int32Array.from(prompts.textTokens(text)),
    textTokensAside: async (text, signal) => Int32Array.from(await prompts.textTokensAside(text, signal)),
    load: () => slots.load(),
    freeBytes: availableBytes,
    adapterFiles: () => loras.size,
    forget: (path) => loras.forget(path),
    async *generate(request) {
      refuseIncomplete(request);
      if (prompts.takesLong(request.query.prompt)) await request.query.tokensAside(engine, request.signal);
      const ids = fitting(request.query, request.maxTokens);
      const { format = null, query, logitBias } = request;
      if (logitBias !== undefined) refuseUnknown([...logitBias.keys()]);
      const text = answerGrammar(format, query.prompt, prompts.callForm);
      const code = offered(query.prompt) === null ? 'format-unsupported' : 'tools-unsupported';
      const grammar = text === null ? null : new AnswerGrammar(model, prompts, await prompts.tree(), text, code);
      const reader = await leased(request.adapters ?? [], ids, request.signal);
      try {
        const random = createRandom(request.seed ?? randomInt(MAX_SEED), 'sampling');
        yield* answer({ reader, ids, request, random, prompts, grammar });
      } finally {
        reader.cancel();
      }
    },
    promptNll: async (query, adapters, signal) => {
      if (prompts.takesLong(query.prompt)) await query.tokensAside(engine, signal);
      const ids = fitting(query, 1);
      const reader = await leased(adapters, ids, signal);
      try {
        return await reader.promptNll(ids);
      } finally {
        reader.cancel();
      }
    },
    scoreTokens: async ({ ids, from, topLogprobs, asGenerated, adapters = [], signal }) => {
      refuseUnknown(ids);
      refuseTooLong(ids, 0);
      if (!Number.isInteger(from) || from < 1) {
        throw new CrayonError('request-invalid', `tokens scored from index ${from}, expected at least 1`, {
          hint: 'The first token has nothing before it: begin the sequence with BOS.',
        });
      }
      if (from >= ids.length) return { tokens: [], cachedTokens: 0 };
      const reader = await leased(adapters, ids, signal);
      try {
        const { scores, cachedTokens } = await reader.scores(ids, from, topLogprobs, asGenerated);
        return { tokens: scores, cachedTokens };
      } finally {
        reader.cancel();
      }
    },
    close: () => {
      closing ??= close();
      return closing;
    },
  };
  return engine;
}

async function createContext(model: LlamaModel, settings: Settings) {
  const { name, contextTokens, threads, sequences, batchTokens, cacheType } = settings;
  try {
    return await model.createContext({
      contextSize: contextTokens,
      sequences,
      batchSize: batchTokens,
      threads,
      ...cacheSettings(cacheType),
    });
  } catch (error) {
    throw await contextError(error, name);
  }
}
