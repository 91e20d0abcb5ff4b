/**
 * What a device asks for: N numbers, and in what form it wants the blend of them. The wire of POST /v1/blends, and the grid that
 * coefficients are rounded to, so that users who are near each other share one blend.
 */

import * as z from 'zod';
import { gate, keepLargest } from '../../core/gate.js';
import { LIMITS } from '../../core/limits.js';
import type { JsonObject } from '../../files/json.js';
import type { PoolManifest } from '../../pool/pool.js';
import { checkedFields, fields, number, oneOf } from '../http/body.js';
import { badField, HttpError } from '../http/error.js';

export const BLEND_FORMS = ['safetensors', 'gguf'] as const;
export const BLEND_DTYPES = ['F32', 'F16', 'BF16'] as const;

const numbers = (most: number) => {
  const phrase = `a list of at most ${LIMITS.coefficients} numbers`;
  return z.array(number(-most, most), phrase).max(LIMITS.coefficients, phrase);
};
const DIGEST = 'the 64 hexadecimal digits of a pool’s digest';
const RANK = 'a whole number from 1';
const COMBINE = 'cat, svd or svd:<rank>';

const BODY = fields({
  pool: z
    .string(DIGEST)
    .regex(/^[0-9a-f]{64}$/, DIGEST)
    .optional(),
  coefficients: numbers(LIMITS.adapterScale).optional(),
  similarities: numbers(1).optional(),
  top_k: z.int(RANK).min(1, RANK).optional(),
  combine: z
    .string(COMBINE)
    .regex(/^(cat|svd(:[1-9]\d{0,5})?)$/, COMBINE)
    .default('cat'),
  form: oneOf(BLEND_FORMS).default('safetensors'),
  dtype: oneOf(BLEND_DTYPES).default('F32'),
});

/** A blend by what it is made of. */
export interface BlendOrder {
  /** of the base LoRAs (N), on the grid */
  coefficients: number[];
  combine: 'cat' | 'svd';
  /** of svd; null for the largest rank in the pool */
  rank: number | null;
  form: (typeof BLEND_FORMS)[number];
  dtype: (typeof BLEND_DTYPES)[number];
}

export interface OrderTerms {
  manifest: Pick<PoolManifest, 'N' | 'tau'>;
  /** of the manifest */
  digest: string;
  step: number;
  /** the largest that svd may have */
  rank: number;
  /** whether there is a base model */
  hasGguf: boolean;
}

/** @throws HttpError 400 naming the field that is wrong, 409 where the device knows another pool */
export function readOrder(body: JsonObject, { manifest, digest, step, rank: most, hasGguf }: OrderTerms): BlendOrder {
  const { pool, coefficients, similarities, top_k: topK, combine, form, dtype } = checkedFields(BODY, body);
  if (pool !== undefined && pool !== digest) {
    throw new HttpError(409, `This server has another pool: ${digest}.`, { code: 'pool_changed', param: 'pool' });
  }
  const { N, tau } = manifest;
  const [param, given] = similarities === undefined ? ['coefficients', coefficients] : ['similarities', similarities];
  if (given === undefined || (similarities !== undefined && coefficients !== undefined)) {
    throw badField('coefficients', 'Send either coefficients or similarities, one for each of the pool’s clusters.');
  }
  if (given.length !== N) throw badField(param, `${param} has ${given.length} numbers, expected ${N}.`);
  const alpha = similarities === undefined ? Float64Array.from(given) : gate(given, tau);
  const kept = topK === undefined ? alpha : keepLargest(alpha, topK);
  const [way, rank] = combine.split(':');
  if (rank !== undefined && Number(rank) > most)
    throw badField('combine', `combine is ${combine}, expected a rank of at most ${most}.`);
  if (form === 'gguf' && !hasGguf) {
    throw badField(
      'form',
      'form is gguf, which this server has no base model for: ask for safetensors.',
      'unsupported_value',
    );
  }
  return {
    coefficients: onGrid(kept, step),
    combine: way as BlendOrder['combine'],
    rank: rank === undefined ? null : Number(rank),
    form,
    dtype,
  };
}

/**
 * Numbers as multiples of a step, whose sum is the nearest multiple to theirs: each is rounded down, and those that lost most are
 * rounded up instead (the method of the largest remainder).
 *
 * @param step 1 divided by a whole number
 */
export function onGrid(values: ArrayLike<number>, step: number): number[] {
  const parts = Math.round(1 / step);
  const exact = Array.from(values, (value) => Number((value * parts).toFixed(6)));
  const counts = exact.map(Math.floor);
  const missing = Math.round(exact.reduce((sum, x) => sum + x, 0)) - counts.reduce((sum, x) => sum + x, 0);
  const byLoss = exact.map((_, n) => n).sort((a, b) => exact[b]! - counts[b]! - (exact[a]! - counts[a]!) || a - b);
  for (const n of byLoss.slice(0, missing)) counts[n]!++;
  return counts.map((count) => count / parts + 0); // no -0
}
