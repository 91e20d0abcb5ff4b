/** Texts to unit vectors: the space in which scope, gate and customisation compare. */

import { CrayonError } from '../core/errors.js';
import type { Rows } from '../core/gate.js';
import { buildScopeProfile, type ScopeFunction, scopeScore } from '../routing/signals/scope.js';

export interface Embedded {
  /** (d), of length 1. */
  vector: Float32Array;
  /** How many tokens were embedded. */
  tokens: number;
}

export interface TextEmbedder {
  /** Embedding size. */
  readonly d: number;
  /** E.g. `first-attention`. */
  readonly kind: string;
  /**
   * Embeds a text as build-pool embeds a prompt: white space at its end dropped, no BOS.
   *
   * A text without any known token has no direction: its vector is zero.
   */
  embed(text: string): Embedded;
}

/** @throws CrayonError `example-invalid` for prompts without any token that the embedding knows */
export function embedPrompts(examples: ReadonlyArray<{ prompt: string }>, embedder: TextEmbedder): Rows {
  const { d } = embedder;
  const data = new Float32Array(examples.length * d);
  const empty: number[] = [];
  for (const [i, { prompt }] of examples.entries()) {
    const { vector } = embedder.embed(prompt);
    if (vector.every((x) => x === 0)) empty.push(i);
    data.set(vector, i * d);
  }
  if (empty.length === 0) return { data, n: examples.length, d };
  const names = empty.map((i) => `examples[${i}]`).join(', ');
  throw new CrayonError('example-invalid', `no embedding for ${names}: the prompt has no tokens that the pool knows`);
}

/** A user's examples as a scope function: how near a query is to them. */
export function scopeOf({ data, n, d }: Rows, embedder: TextEmbedder): ScopeFunction {
  const profile = buildScopeProfile(data, n, d);
  return (query) => scopeScore(profile, query.vector(embedder));
}
