/** What a bench run that goes on may differ in from what it was begun with. */

import { describe, expect, it } from 'vitest';
import { benchConfig } from '../../src/bench/config.js';
import { asWidened } from '../../src/bench/widening.js';
import type { JsonObject } from '../../src/files/json.js';
import { LEAST_BENCH } from '../helpers/bench-setup.js';

/** A configuration as a run uses it and keeps it. */
const used = (change: object): JsonObject => ({
  ...benchConfig({ ...LEAST_BENCH, ...change }, 'bench.yaml'),
  training: { tasks: 'digest' },
});

describe('the configuration that a run was begun with', () => {
  it('is that of now where keys came since, at their defaults', () => {
    const now = used({});
    const { lora_from_blend, wrong_user, pool, ...before } = now;
    const { centred, ...poolBefore } = pool as JsonObject;
    expect(asWidened({ ...before, pool: poolBefore }, now)).toEqual({ ...now, prompt: undefined });
  });

  it('is not where such a key has another value than its default', () => {
    const now = used({ lora_from_blend: { steps: 3 } });
    const { lora_from_blend, ...before } = now;
    expect(asWidened(before, now)).not.toEqual(now);
    expect(asWidened(before, now)).toMatchObject({ lora_from_blend: used({}).lora_from_blend });
  });

  it('may ask for more cells, and for no less', () => {
    const [begun, now] = [used({ strategies: ['base'] }), used({ strategies: ['crayon', 'base'] })];
    expect(asWidened(begun, now)).toMatchObject({ strategies: ['crayon', 'base'] });
    expect(asWidened(now, begun)).toMatchObject({ strategies: ['crayon', 'base'] });
  });

  it('stays as it was kept where it cannot be read', () => {
    const begun = { ...used({}), model: 7 };
    expect(asWidened(begun, used({}))).toEqual(begun);
  });
});
