/** `crayon bench` that finds its pool's learning rate: of what the rates leave on held-out examples, and then as if it had been given. */

import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { writeSetup } from '../helpers/bench-setup.js';
import { type RunDocument, resultsOf } from './bench-runs.js';
import { document, refusal, scratch } from './helpers.js';

const dir = scratch();
const at = (...parts: string[]) => join(dir, ...parts);
const RATES = [1e-7, 0.01];
const change = { strategies: ['crayon', 'per-query', 'one-lora'], latency_examples: 0, held_out: { examples: 3 } };
const setup = (name: string, pool: object, more = {}) => {
  const { config } = writeSetup(at(`${name}-data`), change);
  const settings = { ...(config.pool as object), limit: 8, epochs: 2, ...pool };
  return writeSetup(at(name), { ...change, ...more, pool: settings }).path;
};
const args = (config: string, out: string, ...more: string[]) => {
  return ['bench', '--config', config, '--out', out, '--backend', 'wasm', '--work', at('work'), ...more];
};
const ablation = { strategies: ['crayon'], tau: [0.5], training: [`8@${RATES[0]}`] };
const several = setup('several', { learning_rates: RATES }, { seeds: [0, 1], ablation });

let found: RunDocument;
beforeAll(async () => {
  found = await document<RunDocument>(args(several, at('found')));
}, 120_000);

it('takes the one with the least loss, at each seed, and says which', () => {
  const rates = found.manifest.rates!;
  expect(rates.map(({ strategy, seed }) => `${strategy} ${seed}`)).toEqual([
    'pool 0',
    'one-lora 0',
    'pool 1',
    'one-lora 1',
  ]);
  for (const { learningRate, tried, examples } of rates) {
    expect(examples).toBe(9);
    expect(tried.map((one) => one.learningRate)).toEqual(RATES);
    expect(learningRate).toBe(RATES[1]); // the other leaves the model as it is
    expect(tried[1]!.loss).toBeLessThan(tried[0]!.loss);
  }
  const names = found.manifest.curves!.filter(({ seed }) => seed === 0).map(({ pool }) => pool);
  expect(names).toEqual([
    'pool, learning rate 1e-7',
    'pool, learning rate 0.01',
    'one-lora, learning rate 1e-7',
    'one-lora, learning rate 0.01',
    'tau = 0.5, learning rate 0.01',
  ]);
});

it('is then the run that has been given that rate: its cells, its ablation, and no pool twice', async () => {
  const pools = readdirSync(at('work', 'pools')).length;
  expect(pools).toBe(2 * (2 + 2 + 1));
  const given = setup('given', { learning_rate: RATES[1] }, { seeds: [0, 1], ablation });
  await document<RunDocument>(args(given, at('out-given')));
  expect(resultsOf(at('found'))).toEqual(resultsOf(at('out-given')));
  expect(readdirSync(at('work', 'pools'))).toHaveLength(pools);
}, 120_000);

it('is asked nothing again where the rate is recorded', async () => {
  const again = await document<RunDocument>(args(several, at('found')));
  expect(again.reused).toBe(found.cells.length);
  expect(again.manifest.rates).toEqual(found.manifest.rates);
}, 60_000);

it('has the cells that it is widened by from then on, where they are there already', async () => {
  const [wide, narrow] = [at('wide'), at('narrow')];
  const by = (strategies: string[]) => setup('by', { learning_rate: RATES[1] }, { strategies });
  await document(args(by(['crayon']), narrow));
  const config = by(['crayon', 'per-query']);
  await document(args(config, wide));
  for (const part of ['cells', 'answers']) cpSync(join(wide, part), join(narrow, part), { recursive: true });
  const { cells, manifest, reused } = await document<RunDocument>(args(config, narrow));
  expect(reused).toBe(cells.length);
  const kept = JSON.parse(readFileSync(join(narrow, 'run.json'), 'utf8'));
  expect(kept).toEqual(JSON.parse(JSON.stringify(manifest)));
  expect(kept).toMatchObject({ plannedCells: cells.length, config: { strategies: ['crayon', 'per-query'] } });
}, 60_000);

it('refuses a pool that is given, by a flag too', async () => {
  const refused = await refusal(args(several, at('refused'), '--pool', at('pools-{seed}')));
  expect(refused).toMatchObject({ code: 'bad-option', exit: 2 });
  expect(refused.message).toContain('pool.learning_rates builds pools');
  const other = setup('other', {}, { seeds: [0, 1], ablation });
  const both = await refusal(args(other, at('refused'), '--pool', at('pools-{seed}')));
  expect(both.message).toContain('ablation of tau, training builds pools of its own');
}, 60_000);
