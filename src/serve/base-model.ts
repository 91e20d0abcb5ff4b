/**
 * The base model as the server needs it: a GGUF file, the engine that runs it, and its embedding, the space in which scope, gate
 * and customisation compare texts.
 */

import { basename } from 'node:path';
import { CrayonError } from '../core/errors.js';
import type { Rows } from '../core/gate.js';
import { breather } from '../core/long-work.js';
import { throwIfAborted } from '../engine/clock.js';
import {
  type AdapterScale,
  type AskedExample,
  type ChatMessage,
  type DeviceEngine,
  type Embedding,
  GREEDY,
  Query,
} from '../engine/types.js';
import { openBase } from '../gguf/base.js';
import { cachedModelGguf } from '../gguf/cache.js';
import type { GgufFileType } from '../gguf/file-types.js';
import type { BaseModel as OpenedBase } from '../hf/base-model.js';
import { isModelDirectory } from '../hf/model.js';
import type { PromptForm } from '../hf/prompt-form.js';
import { INSTANT_NAMES } from '../pool/embed/kinds.js';
import { firstAttentionSpace, instantEmbedder, poolSpace, refuseOtherBase } from '../pool/embed/space.js';
import type { Pool } from '../pool/pool.js';
import { buildScopeProfile, type ScopeFunction, scopeScore } from '../routing/signals/scope.js';

export type BaseModel = ReturnType<typeof openBaseModel>;

/**
 * @param path as the configuration names it
 * @returns its GGUF, a name made of the file's or directory's, and `source()`, which embeddings are read from: opened when first
 *   asked for, because llama.cpp runs files that crayon does not embed by, and open until `close`; and
 *   `endTokens` of a directory, of which its GGUF may not hold all
 * @throws CrayonError what opening or exporting the model throws
 */
export function openBaseModel(path: string, options: { cacheDir: string; type: GgufFileType }) {
  const isDirectory = isModelDirectory(path);
  const gguf = isDirectory ? cachedModelGguf(path, options) : path;
  const name = basename(path)
    .replace(/\.gguf$/i, '')
    .replaceAll(/[^\w.@+-]/g, '-');
  let opened: OpenedBase | undefined;
  const source = (): OpenedBase => {
    opened ??= openBase(path, { someWeights: true });
    return opened;
  };
  // A GGUF file's own are llama.cpp's to know.
  const endTokens = isDirectory ? source().endTokenIds : [];
  return { path, gguf, name, source, endTokens, close: () => opened?.close() };
}

/** A text, and the conversation that it is of where it is of one. */
export interface EmbeddedPrompt {
  text: string;
  messages?: readonly ChatMessage[] | undefined;
}

/** The tokens that are embedded, without BOS: at once, or aside from the event loop. */
export interface EmbeddedTokens {
  of(prompt: EmbeddedPrompt): Int32Array;
  aside(prompt: EmbeddedPrompt, signal: AbortSignal): Promise<Int32Array>;
}

/** As build-pool embeds prompts in this form. */
export function embeddedTokens(device: DeviceEngine, form: PromptForm): EmbeddedTokens {
  if (form.kind === 'plain') {
    const of = ({ text }: EmbeddedPrompt) => device.textTokens(text.trimEnd());
    return {
      of,
      aside: async (prompt, signal) => (await device.textTokensAside?.(prompt.text.trimEnd(), signal)) ?? of(prompt),
    };
  }
  const bos = device.tokenize({ kind: 'text', text: 'a' }).length - device.textTokens('a').length;
  const chat = ({ text, messages = [{ role: 'user', content: text }] }: EmbeddedPrompt) => ({
    kind: 'chat' as const,
    messages,
  });
  const of = (prompt: EmbeddedPrompt) => device.tokenize(chat(prompt)).slice(bos);
  return {
    of,
    aside: async (prompt, signal) => (await device.tokenizeAside?.(chat(prompt), signal))?.slice(bos) ?? of(prompt),
  };
}

/**
 * Embeds prompts in the pool's space, or by first-attention without a pool.
 *
 * @throws CrayonError `pool-mismatch` when the pool is another base model's, `config-invalid` for an embedding that needs a
 *   forward pass of the whole model
 */
export function openEmbedder(
  base: BaseModel,
  pool: Pool | null,
  tokens: EmbeddedTokens,
  anyBase = false,
): TextEmbedder {
  const source = base.source();
  if (pool !== null) refuseOtherBase(pool, source, anyBase);
  const space = pool === null ? firstAttentionSpace(source) : poolSpace(pool);
  const { kind, d } = space;
  const embed = instantEmbedder(space, source);
  if (embed === null) {
    throw new CrayonError('config-invalid', `${pool?.dir}: embedding ${kind} needs a forward pass of the whole model`, {
      hint: `Serve a pool built with --embedding ${INSTANT_NAMES.join(' or ')}.`,
    });
  }
  const embedded = (ids: Int32Array) => ({
    vector: ids.length === 0 ? new Float32Array(d) : embed([ids]),
    tokens: ids.length,
  });
  return {
    d,
    kind,
    embed: (text, messages) => embedded(tokens.of({ text, messages })),
    async embedAside(list, signal) {
      const breathe = breather();
      const made = [];
      for (const prompt of list) {
        throwIfAborted(signal);
        const ids = await tokens.aside(prompt, signal);
        if (ids.length > 0 && embed.steps !== undefined) {
          const working = embed.steps(ids);
          let step = working.next();
          for (; !step.done; step = working.next()) await breathe();
          made.push({ vector: step.value, tokens: ids.length });
        } else made.push(embedded(ids));
        await breathe();
      }
      return made;
    },
  };
}

/**
 * Generates one token with these adapters: one that does not fit the model fails now and not for the first client, who then
 * also finds the context made.
 */
export async function warmUp(device: DeviceEngine, adapters: readonly AdapterScale[]): Promise<void> {
  const query = new Query({ kind: 'text', text: 'a' });
  const { signal } = new AbortController();
  for await (const _ of device.generate({ ...GREEDY, adapters, query, maxTokens: 1, signal }));
}

export interface TextEmbedder {
  /** Embedding size. */
  readonly d: number;
  /** E.g. `first-attention`. */
  readonly kind: string;
  /**
   * Embeds a prompt as build-pool does, in the form that the server gives the model its prompts in: plain the text, white space at
   * its end dropped; or the rendered conversation, of one user's message where there is only a text. No BOS.
   *
   * A text without any known token has no direction: its vector is zero.
   *
   * @returns its vector (d), of length 1, and how many tokens were embedded
   */
  embed(text: string, messages?: readonly ChatMessage[]): Embedded;
  /** Many prompts, for a request: others have their turns meanwhile. @throws CrayonError `interrupted` when the signal fires */
  embedAside(list: readonly EmbeddedPrompt[], signal: AbortSignal): Promise<Embedded[]>;
}

interface Embedded {
  vector: Float32Array;
  tokens: number;
}

/** @throws CrayonError `example-invalid` for prompts without any token that the embedding knows */
export async function embedPrompts(
  examples: readonly AskedExample[],
  embedder: TextEmbedder,
  signal: AbortSignal = new AbortController().signal,
): Promise<Rows> {
  const { d } = embedder;
  const data = new Float32Array(examples.length * d);
  const empty: number[] = [];
  const prompts = examples.map(({ prompt, messages }) => ({ text: prompt, messages }));
  for (const [i, { vector }] of (await embedder.embedAside(prompts, signal)).entries()) {
    if (vector.every((x) => x === 0)) empty.push(i);
    data.set(vector, i * d);
  }
  if (empty.length === 0) return { data, n: examples.length, d };
  const names = empty.map((i) => `examples[${i}]`).join(', ');
  throw new CrayonError('example-invalid', `no embedding for ${names}: the prompt has no tokens that the pool knows`);
}

/** A user's examples as a scope function: how near a query is to them. */
export function scopeOf({ data, n, d }: Rows, embedder: Embedding): ScopeFunction {
  const profile = buildScopeProfile(data, n, d);
  return (query) => scopeScore(profile, query.vector(embedder));
}
