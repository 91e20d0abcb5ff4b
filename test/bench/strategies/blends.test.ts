/** A LoRA from the blend, as a way of customising: Crayon's own coefficients, the pool's rank, and the shown examples learnt. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { crayon, loraFromBlend } from '../../../src/bench/strategies/blends.js';
import type { Customised } from '../../../src/bench/strategies/strategy.js';
import { fewShotLora, trainingForm } from '../../../src/bench/strategies/trained.js';
import { meanLoss } from '../../../src/train/completion-score.js';
import { scoreCompletions } from '../../../src/train/evaluate.js';
import { type OpenContext, openBenchContext } from '../../helpers/bench-context.js';

describe('lora-from-blend', () => {
  let open: OpenContext;
  beforeAll(async () => {
    const strategies = ['crayon', 'few-shot-lora', 'lora-from-blend'];
    const trained = { steps: 4, batch_size: 4 };
    open = await openBenchContext({ strategies, few_shot: trained, lora_from_blend: { ...trained, pull: 1 } });
  });
  afterAll(() => open.close());

  it('is the blend, trained on the examples', async () => {
    const { context, cellOf, userOf } = open;
    const user = userOf('weather');
    const examples = trainingForm(user, context.base);
    const lossOf = async ({ answerer }: Customised) => {
      const lora = await answerer.loraFor!(user.shown);
      return meanLoss(await scoreCompletions(context.base.model, examples, { lora }));
    };
    const blend = await crayon.customise(cellOf('weather', 'crayon')!, user, context);
    const zero = await fewShotLora.customise(cellOf('weather', 'few-shot-lora')!, user, context);
    const trained = await loraFromBlend.customise(cellOf('weather', 'lora-from-blend')!, user, context);
    expect(trained.coefficients).toEqual(blend.coefficients);
    expect([trained.parameters, trained.bytesToServer]).toEqual([zero.parameters, blend.bytesToServer]);
    expect(trained.parameters).toBeLessThan(blend.parameters);
    expect(await lossOf(trained)).toBeLessThan((await lossOf(blend)) - 0.01);
  });

  it('departs from the configuration where an ablation says so', async () => {
    const { context, cellOf, userOf } = open;
    const cell = cellOf('weather', 'crayon')!;
    const rank = 5;
    const { parameters } = await crayon.customise(
      { ...cell, blend: { loraFromBlend: { rank, steps: 1 } } },
      userOf('weather'),
      context,
    );
    const ofPool = await loraFromBlend.customise(cell, userOf('weather'), context);
    expect(parameters / ofPool.parameters).toBeCloseTo(rank / context.config.pool.rank, 9);
  });
});
