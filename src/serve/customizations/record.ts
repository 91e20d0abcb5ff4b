/**
 * What is decided of a customisation, as JSON: coefficients, what they were decided by, and the scope profile. All that a restart needs,
 * and none of the user's text unless the configuration asks for it. A thousand users are a thousand of these and the pool, once.
 */

import * as z from 'zod';
import { EXAMPLE_LIMITS } from '../../blend/coefficients.js';
import type { Rows } from '../../core/gate.js';
import { LIMITS } from '../../core/limits.js';
import type { Embedding } from '../../engine/types.js';
import { notNegative, text, whole } from '../../files/schema.js';
import { measureScope, type ScopeFunction, scopeScore } from '../../routing/signals/scope.js';

/** The pool's adapters at scales, or one adapter that they are merged to, in a file of its own. */
export const FORMS = ['scales', 'cat', 'svd', 'linear'] as const;
export type Form = (typeof FORMS)[number];

const numbers = z.array(z.number()).max(LIMITS.coefficients);

const COMPARED = z.object({
  name: text,
  loss: z.number().nullable(),
  difference: z.number().nullable(),
  standardError: z.number().nullable(),
  right: whole(0).nullable(),
  seconds: notNegative,
});

/** What was chosen by evidence: of all, and the best that one mixture for all prompts can be. */
const CHOICE = z.object({
  chosen: text,
  chosenFixed: text,
  evidence: z.enum(['choices', 'tokens', 'both']),
  seconds: notNegative,
  candidates: z.array(COMPARED).max(100),
});

/** A scope profile whose centre (d) is kept in single precision, base64, without its zeros where they are many. */
const PROFILE = z.object({
  d: whole(1, LIMITS.vocabulary),
  /** places (uint32) of the values in the centre, ascending; null: all */
  at: z.base64().nullable(),
  values: z.base64(),
  reference: z.array(z.number().min(-1.001).max(1.001)).min(2).max(EXAMPLE_LIMITS.max),
});
export type KeptProfile = z.output<typeof PROFILE>;

export const BLEND = z.object({
  form: z.enum(FORMS),
  /** alpha (N) as they are served; of a choice per query those of `chosenFixed`, which are not */
  coefficients: numbers,
  similarities: numbers.nullable(),
  coverage: z
    .object({ verdict: z.enum(['covered', 'borderline', 'not-covered']), sentence: text, percentile: z.number() })
    .nullable(),
  /** that were embedded */
  examples: whole(0),
  /** plain sentences that the user should read */
  notices: z.array(text).max(100),
  ms: notNegative,
  /** null where nothing was chosen by evidence */
  choice: CHOICE.nullable(),
  /** null without examples */
  profile: PROFILE.refine((kept) => decoded(kept) !== undefined, 'a centre that fits its places').nullable(),
  /** the examples as they were given, where they are to be kept */
  shown: z.array(z.unknown()).max(EXAMPLE_LIMITS.max).optional(),
});
export type Blend = z.output<typeof BLEND>;
export type ChoiceMade = NonNullable<Blend['choice']>;

const base64 = (data: Uint32Array | Float32Array): string =>
  Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');

/** Of embeddings of a user's examples. */
export function keptProfile({ data, n, d }: Rows): KeptProfile {
  const { centre, reference } = measureScope(data, n, d);
  const values = new Float32Array(centre);
  const places: number[] = [];
  for (let i = 0; i < d; i++) if (values[i] !== 0) places.push(i);
  const at = Uint32Array.from(places);
  if (2 * at.length >= d) return { d, at: null, values: base64(values), reference };
  return { d, at: base64(at), values: base64(Float32Array.from(at, (i) => values[i]!)), reference };
}

/** The values of a centre and their places, null for all; undefined where the profile is none. */
function decoded({ d, at, values }: Omit<KeptProfile, 'reference'>) {
  const [places, given] = [at === null ? null : wordsOf(at), wordsOf(values)];
  if (given === undefined || places === undefined) return undefined;
  const floats = new Float32Array(given.buffer);
  const rises = places?.every((place, i) => place < d && (i === 0 || place > places[i - 1]!)) ?? true;
  const fits = floats.length === (places?.length ?? d) && floats.every(Number.isFinite);
  return rises && fits ? { places, floats } : undefined;
}

/** Little-endian words of 32 bits, as every machine that llama.cpp runs on has them. */
function wordsOf(text: string): Uint32Array | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length % 4 === 0 ? new Uint32Array(new Uint8Array(bytes).buffer) : undefined;
}

/** How near a query is to the examples. The centre is laid out for each query: a thousand of them would take a gigabyte. */
export function scopeBy(profile: KeptProfile, embedder: Embedding): ScopeFunction {
  const { d, reference } = profile;
  const { places, floats } = decoded(profile)!;
  return (query) => {
    const centre = places === null ? floats : new Float32Array(d);
    if (places !== null) for (const [i, place] of places.entries()) centre[place] = floats[i]!;
    return scopeScore({ centre, reference }, query.vector(embedder));
  };
}
