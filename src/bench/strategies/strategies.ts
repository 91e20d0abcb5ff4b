/** Each way of customising the model for a user: from k examples to something that answers, with what it cost. */

import { loadPoolGates } from '../../pool/gate.js';
import { openPool } from '../../pool/pool.js';
import { loadAdapterLora } from '../../train/adapter-lora.js';
import type { EvaluationLora } from '../../train/evaluate.js';
import type { Answerer, LoadedModel } from '../answers.js';
import type { PlannedCell } from '../cells.js';
import type { PoolStore } from '../pools.js';
import type { PlayedUser } from '../users.js';
import { blendStrategy } from './blend.js';
import type { BenchContext, Customised } from './context.js';
import { inContext } from './in-context.js';
import { fewShotLora, loraHub } from './train.js';

/** The pools that a cell needs. */
export function poolsOf({ strategy, pool }: PlannedCell, pools: PoolStore) {
  switch (strategy) {
    case 'base':
    case 'in-context':
    case 'few-shot-lora':
    case 'server':
      return [];
    case 'one-lora':
      return [pools.oneLora(false)];
    case 'one-lora-total':
      return [pools.oneLora(true)];
    default:
      return [pool];
  }
}

export async function customise(cell: PlannedCell, user: PlayedUser, context: BenchContext): Promise<Customised> {
  const { config, base, pools } = context;
  switch (cell.strategy) {
    case 'base':
      return plain(base);
    case 'server':
      return plain(context.server());
    case 'in-context':
      return plain({ ...base, withContext: inContext(user.shown, base, config.max_tokens) });
    case 'one-lora':
    case 'one-lora-total': {
      const dir = pools.path(pools.oneLora(cell.strategy === 'one-lora-total'));
      const adapter = loadAdapterLora(`${dir}/${openPool(dir).manifest.adapters[0]!.dir}`, base.source);
      return { ...plain(base), ...adapted(base, adapter) };
    }
    case 'few-shot-lora':
    case 'lorahub':
    case 'lorahub-delta': {
      const started = performance.now();
      const trained =
        cell.strategy === 'few-shot-lora' ? await fewShotLora(user, context) : await loraHub(cell, user, context);
      const ms = performance.now() - started;
      const { coefficients } = trained;
      return { ...plain(base), ...adapted(base, trained.lora), ms, ...(coefficients && { coefficients }) };
    }
    case 'per-query': {
      const gates = loadPoolGates(pools.path(cell.pool), base.source, base.model, base.tokenizer, cell.blend.tau);
      return { ...plain({ ...base, loraFor: gates.loraFor }), parameters: gates.layout.size };
    }
    case 'uniform':
    case 'random':
    case 'nearest':
    case 'crayon': {
      const { lora, ...cost } = await blendStrategy(cell, user, context);
      return { ...adapted(base, lora), ...cost };
    }
  }
}

function plain(answerer: Answerer): Customised {
  return { answerer, ms: 0, bytesToServer: 0, parameters: 0 };
}

function adapted(base: LoadedModel, lora: EvaluationLora): Pick<Customised, 'answerer' | 'parameters'> {
  return { answerer: { ...base, loraFor: () => lora }, parameters: lora.layout.size };
}
