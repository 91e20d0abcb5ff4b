/** What a dry run says: of the trained part from two steps that it takes. */

import { beforeAll, describe, expect, it } from 'vitest';
import { chooseBackend } from '../../src/model/backend.js';
import { BUILD_DEFAULTS, type BuildPoolOptions } from '../../src/pool/inputs.js';
import { planBuild } from '../../src/pool/plan.js';
import { TRAINER_DEFAULTS } from '../../src/pool/trainers/options.js';

const options: BuildPoolOptions = {
  ...BUILD_DEFAULTS,
  model: 'models/crayon-edge',
  data: ['suite/sentiment.yaml'],
  limit: 40,
  out: 'never-written',
  clusters: 2,
  r: 4,
};

beforeAll(async () => {
  await chooseBackend('auto');
});

describe('planBuild', () => {
  it('says steps, memory and time', async () => {
    const plan = await planBuild(options);
    expect(plan).toMatchObject({ examples: 40, maxClusters: 2, steps: 3, recomputes: false });
    expect(plan.memoryBytes).toBeGreaterThan(5e7);
    expect(plan.seconds).toBeGreaterThan(0);
    expect(plan.seconds).toBeLessThan(60);
  });

  it('counts both phases of a residual pool', async () => {
    const torch = { ...TRAINER_DEFAULTS, name: 'torch' as const };
    const plain = await planBuild({ ...options, trainer: torch });
    const general = { r: 6, learningRate: 0.01, epochs: 2 };
    const plan = await planBuild({ ...options, general });
    const { parameters, maxClusters, steps } = plain;
    expect(plan).toMatchObject({ parameters, maxClusters, steps });
    expect(plan.general).toEqual({ parameters: (parameters * 6) / (2 * 4), steps: 6 });
    expect(plan.poolBytes).toBe(4 * (parameters + plan.general!.parameters));
    expect(plan.seconds).toBeGreaterThan(0);
    expect(plain.general).toBeUndefined();
  });

  it('refuses what does not fit, with what would', async () => {
    await expect(planBuild({ ...options, memory: 1e6 })).rejects.toMatchObject({
      code: 'memory-too-small',
      hint: expect.stringContaining('--memory'),
    });
  });

  it('leaves memory and time open where another trains', async () => {
    const plan = await planBuild({ ...options, trainer: { ...TRAINER_DEFAULTS, name: 'torch' } });
    expect(plan).toMatchObject({ memoryBytes: null, seconds: null, steps: 3 });
  });
});
