/**
 * A blend once more, from a pool that has changed since: the coefficients that it was made with are kept in its crayon.json, and the
 * pool knows which of its adapters they were of. No example is needed, and none is kept anywhere.
 */

import { join } from 'node:path';
import * as z from 'zod';
import { CrayonError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { readJsonObject } from '../files/json.js';
import { checked, positive, sha256Text, text, whole } from '../files/schema.js';
import { ADAPTER_RECORD_FILE } from '../hf/adapter-record.js';
import { carryCoefficients, lostWords, withoutLost } from '../pool/life/carry.js';
import { openPool } from '../pool/pool.js';
import { type BlendPoolResult, blendPool } from './blend-pool.js';

const MADE = z.object({
  format: z.literal('crayon-blend', 'a blend of a pool'),
  combine: z.enum(['cat', 'svd', 'linear']),
  rank: whole(1),
  dtype: z.enum(['F32', 'F16', 'BF16']),
  coefficients: z.array(z.number()).max(LIMITS.coefficients),
  pool: sha256Text,
  estimator: text,
  tau: positive.optional(),
  general: z.literal(true).optional(),
  trained: z.unknown().optional(),
});

export interface RemakeOptions {
  pool: string;
  /** the earlier blend's directory */
  blend: string;
  out: string;
  force?: boolean;
}

/**
 * @throws CrayonError `coefficients-invalid` where the pool does not descend from the blend's, or adapters are gone that it was made
 *   of and no softmax says what the others would have, `adapter-invalid` for what is no blend
 */
export async function remakeBlend({
  pool: dir,
  blend,
  out,
  force,
}: RemakeOptions): Promise<BlendPoolResult & { notices: string[] }> {
  const path = join(blend, ADAPTER_RECORD_FILE);
  const made = checked(MADE, readJsonObject(path), { where: path, code: 'adapter-invalid' });
  const again = 'Blend again from the examples: crayon blend --pool POOL --examples FILE.';
  if (made.trained !== undefined) {
    throw new CrayonError(
      'coefficients-invalid',
      `${blend}: was trained on from its blend, which no coefficients say`,
      { hint: again },
    );
  }
  const pool = openPool(dir);
  const coefficients = made.general === true ? made.coefficients.slice(0, -1) : made.coefficients;
  const carried = carryCoefficients(pool, made.pool, coefficients);
  if (carried === null) {
    throw new CrayonError(
      'coefficients-invalid',
      `${blend}: was made of another pool than ${dir}, or of one that it does not descend from`,
      {
        hint: again,
      },
    );
  }
  const notices =
    carried.added.length === 0 ? [] : [`Clusters ${carried.added.join(', ')} came later: their coefficient is 0.`];
  const alpha = carried.lost.length === 0 ? carried.coefficients : withoutLost(carried, made.estimator);
  if (alpha === null) {
    throw new CrayonError(
      'coefficients-invalid',
      `${blend}: was made of clusters that are no longer there: ${lostWords(carried.lost)}`,
      {
        hint: again,
      },
    );
  }
  if (carried.lost.length > 0)
    notices.push(`Without ${lostWords(carried.lost)}: the others have what the softmax over them gives.`);
  const { combine, rank, dtype } = made;
  const result = await blendPool({
    ...{ pool: dir, out, combine, dtype },
    ...(combine === 'svd' && { rank }),
    ...(force === undefined ? {} : { force }),
    estimator: 'given',
    coefficients: [...alpha],
    long: 'error',
  });
  return { ...result, notices };
}
