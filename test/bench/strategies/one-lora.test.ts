/** One LoRA's rate: the one whose loss on held-out examples is the least, found once and recorded. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { withLeastLoss } from '../../../src/bench/rates.js';
import { atEachRate } from '../../../src/bench/settings.js';
import { heldOutExamples } from '../../../src/bench/strategies/held-out.js';
import { oneLora, oneLoraTotal } from '../../../src/bench/strategies/one-lora.js';
import { openPool } from '../../../src/pool/pool.js';
import { loadAdapterLora } from '../../../src/train/adapter-lora.js';
import { scoreExamples } from '../../../src/train/score-forward.js';
import { type OpenContext, openBenchContext } from '../../helpers/bench-context.js';

const RATES = [1e-7, 0.02, 0.0001];
let open: OpenContext;
beforeAll(async () => {
  open = await openBenchContext({
    strategies: ['one-lora', 'one-lora-total'],
    pool: { limit: 6, epochs: 3 },
    one_lora: { learning_rates: RATES },
    one_lora_total: { learning_rate: 0.003 },
    held_out: { examples: 4 },
  });
});
afterAll(() => open.close());

it('is chosen by the loss, recorded in run.json, and not looked for again', async () => {
  const { context, cellOf, userOf } = open;
  const { pools, manifest, base, config } = context;
  const lora = pools.oneLora(false);
  const wanted = atEachRate(lora);
  expect(oneLora.poolOf!(cellOf('sums', 'one-lora')!, pools)).toEqual(lora);
  for (const pool of wanted) await pools.ensure(pool, {});

  const { parameters, answerer } = await oneLora.customise(cellOf('sums', 'one-lora')!, userOf('sums'), context);
  const [choice] = manifest.rates!;
  expect(choice).toMatchObject({ strategy: 'one-lora', seed: 0, examples: 12 });
  expect(choice!.tried.map(({ learningRate }) => learningRate)).toEqual(RATES);
  // a rate near zero leaves the base model as it is, and a high one has learnt something of these small tasks
  expect(choice!.learningRate).toBe(0.02);
  const losses = choice!.tried.map(({ loss }) => loss);
  expect(Math.min(...losses)).toBe(losses[1]);
  const examples = heldOutExamples(context);
  const how = { model: base.model, tokenizer: base.tokenizer, maxLength: 64, examples };
  expect((await scoreExamples(how)).loss).toBeGreaterThan(losses[1]!);
  const taken = pools.path(wanted[1]!);
  const expected = loadAdapterLora(join(taken, openPool(taken).manifest.adapters[0]!.dir), base.source);
  const given = await answerer.loraFor!([]);
  expect(given.parameters).toEqual(expected.parameters);
  expect(parameters).toBe(expected.layout.size);

  const file = join(context.directory.path, 'run.json');
  expect(existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).rates).toEqual([choice]);
  // what is recorded is taken as it is
  manifest.rates = [{ ...choice!, learningRate: RATES[0]! }];
  expect(await withLeastLoss('one-lora', lora, context)).toEqual(wanted[0]);
  expect(config.pool.learning_rate).toBe(0.0025);
});

it('is the one that the configuration has, where it has one', async () => {
  const { context, cellOf, userOf } = open;
  const [pool, ...others] = atEachRate(context.pools.oneLora(true));
  expect(others).toEqual([]);
  expect(pool).toMatchObject({ rank: 6, learning_rate: 0.003 });
  await context.pools.ensure(pool!, {});
  const before = context.manifest.rates?.length;
  await oneLoraTotal.customise(cellOf('sums', 'one-lora-total')!, userOf('sums'), context);
  expect(context.manifest.rates?.length).toBe(before);
});
