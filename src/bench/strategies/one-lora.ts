/** One LoRA on everything the pool was trained on, which is a pool of one: the same for every user. */

import { openPool } from '../../pool/pool.js';
import { loadAdapterLora } from '../../train/adapter-lora.js';
import { adapted, type Strategy } from './strategy.js';

/** @param total as many parameters as the whole pool; else the base LoRAs' rank */
function oneLoraOf(name: string, title: string, total: boolean): Strategy {
  return {
    name,
    title,
    role: 'reference',
    looksAtExamples: false,
    pools: (_cell, store) => [store.oneLora(total)],
    async customise(_cell, _user, { base, pools }) {
      const dir = pools.path(pools.oneLora(total));
      return adapted(base, loadAdapterLora(`${dir}/${openPool(dir).manifest.adapters[0]!.dir}`, base.source));
    },
  };
}

export const oneLora = oneLoraOf('one-lora', 'One LoRA, same rank', false);
export const oneLoraTotal = oneLoraOf('one-lora-total', 'One LoRA, same total size', true);
