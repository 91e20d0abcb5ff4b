import { describe, expect, it } from 'vitest';
import { shippedPath } from '../../src/files/package.js';
import { openPool } from '../../src/pool/pool.js';
import type { CrayonFacts } from '../../src/serve/playground/wire.js';
import { testApp } from './helpers.js';

const ask = async (options: Parameters<typeof testApp>[0]) => {
  const answer = await testApp(options).get('/v1/crayon');
  expect(answer.status).toBe(200);
  return (await answer.json()) as CrayonFacts;
};

describe('GET /v1/crayon', () => {
  it('says who can answer and by which signals it is decided', async () => {
    const routing = { mode: 'only_on_device', mode_per_request: false, thresholds: { confidence: -0.5, scope: null } };
    const facts = await ask({ config: { routing } });
    expect(facts).toMatchObject({ object: 'crayon', base: 'edge', server: 'big', is_gated: false });
    expect(facts).toMatchObject({ mode: 'only_on_device', mode_per_request: false, held_tokens: 16 });
    const confidence = facts.signals.find(({ name }) => name === 'confidence');
    expect(confidence).toMatchObject({ to_server: 'below', threshold: -0.5, unit: 'mean-logprob of 16 tokens' });
    expect(facts.signals.map(({ name, threshold }) => [name, threshold])).toEqual([
      ['scope', null],
      ['success', null],
      ['advantage', null],
      ['complexity', null],
      ['confidence', -0.5],
      ['correctness', null],
      ['gain', null],
    ]);
  });

  it('has the tasks of the pool’s clusters, in the order of the coefficients', async () => {
    const pool = openPool(shippedPath('models', 'crayon-edge-pool'));
    const { clusters, examples } = (await ask({ parts: { pool } })).pool!;
    expect(clusters.slice(0, 2)).toEqual([
      { size: 1200, tasks: { 'route-school': 1200 } },
      { size: 1200, tasks: { 'list-first': 1200 } },
    ]);
    expect(clusters).toHaveLength(6);
    expect(examples).toEqual({ min: 3, max: 50 });
  });

  it('has no pool and no server where there is none', async () => {
    expect(await ask({ server: null, parts: { customizations: null } })).toMatchObject({ pool: null, server: null });
  });

  it('needs the key', async () => {
    expect((await testApp({ apiKey: 'k' }).get('/v1/crayon')).status).toBe(401);
  });
});
