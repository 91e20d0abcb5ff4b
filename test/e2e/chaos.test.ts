/** A short, seeded part of test/chaos/main.ts. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { torment } from '../chaos/kills.js';
import { SCENARIOS } from '../chaos/scenarios.js';
import { ENTRY, scratch } from './helpers.js';

const dir = scratch();
const SHORT = ['blend without an exchange', 'budget'];

describe.each(SCENARIOS.filter(({ name }) => SHORT.includes(name)))('$name', (scenario) => {
  it('survives kills and failing calls, and the next run makes the same bytes', { timeout: 240_000 }, async () => {
    const outcome = await torment(scenario, { root: join(dir, 'work'), seed: 1, kills: 3, errors: 1, entry: ENTRY });
    expect(outcome).toMatchObject({ kills: 3, errors: 1, faults: [] });
  });
});
