/**
 * One LoRA that is trained on everything that the pool was trained on, with the pool's learning rate, one that is given, or the best of
 * several by its loss on held-out examples.
 */

import { openPool } from '../../pool/pool.js';
import { loadAdapterLora } from '../../train/adapter-lora.js';
import type { EvaluationLora } from '../../train/evaluate.js';
import { withLeastLoss } from '../rates.js';
import type { BenchPool } from '../settings.js';
import { adapted, type BenchContext, type Strategy } from './strategy.js';

/** @param total as many parameters as the whole pool; else the base LoRAs' rank */
function oneLoraOf(name: string, title: string, total: boolean): Strategy {
  return {
    name,
    title,
    role: 'reference',
    looksAtExamples: false,
    poolOf: (_cell, store) => store.oneLora(total),
    async customise(_cell, _user, context) {
      return adapted(context.base, loraOf(await withLeastLoss(name, context.pools.oneLora(total), context), context));
    },
  };
}

export const oneLora = oneLoraOf('one-lora', 'One LoRA, same rank', false);
export const oneLoraTotal = oneLoraOf('one-lora-total', 'One LoRA, same total size', true);

function loraOf(pool: BenchPool, { base, pools }: BenchContext): EvaluationLora {
  const dir = pools.path(pool);
  return loadAdapterLora(`${dir}/${openPool(dir).manifest.adapters[0]!.dir}`, base.source);
}
