/** `crayon bench` at two seeds: all of it twice, seed 0 as it is without the key, and the same figures after a kill. */

import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type { AnswerRecord, Cell } from '../../src/bench/types.js';
import { writeSetup } from '../helpers/bench-setup.js';
import { cellsOf, type RunDocument, resultsOf, startCells, withoutTimes } from './bench-runs.js';
import { document, refusal, scratch } from './helpers.js';

const dir = scratch();
const at = (...parts: string[]) => join(dir, ...parts);
const change = { strategies: ['base', 'crayon', 'one-lora'], latency_examples: 0, robustness: { device: true } };
const { path: one } = writeSetup(at('one'), change);
const { path: two } = writeSetup(at('two'), { ...change, seeds: [0, 1] });
const args = (config: string, out: string, ...more: string[]) => {
  return ['bench', '--config', config, '--out', out, '--backend', 'wasm', ...more];
};

let whole: RunDocument;
beforeAll(async () => {
  whole = await document<RunDocument>(args(two, at('whole'), '--work', at('work')));
}, 120_000);

/** Cells and answers of a user, as they would be without seeds. */
const withoutSeed = (results: Record<string, string>, seed: number) =>
  Object.fromEntries(
    Object.entries(results)
      .filter(([name]) => name.includes(`--seed=${seed}--`))
      .map(([name, text]) => [
        name.replace(`--seed=${seed}`, ''),
        text.replace(`--seed=${seed}`, '').replace(/ *"runSeed": \d+,\n/, ''),
      ]),
  );

it('has the cells of a run without seeds at seed 0, and others at seed 1', async () => {
  await document(args(one, at('alone'), '--work', at('work')));
  const alone = resultsOf(at('alone'));
  const results = resultsOf(at('whole'));
  expect(withoutSeed(results, 0)).toEqual(alone);
  expect(Object.keys(withoutSeed(results, 1)).sort()).toEqual(Object.keys(alone).sort());
  const answers = (results: Record<string, string>) => results['answers/weather--crayon.jsonl'];
  expect(answers(withoutSeed(results, 1))).not.toBe(answers(alone));
  // a pool and a one-LoRA pool of each seed, which the run without seeds found in the shared work directory
  expect(readdirSync(at('work', 'pools'))).toHaveLength(4);
});

it('keeps what the changed prompts are to a router, of the strategies that it may have on the device', () => {
  const results = resultsOf(at('whole'));
  const perturbed = (strategy: string) => {
    const lines = results[`answers/weather--seed=0--${strategy}.jsonl`]!.trim().split('\n');
    return lines.map((line) => (JSON.parse(line) as AnswerRecord).perturbed);
  };
  for (const changed of perturbed('crayon')) {
    for (const signals of [changed!.typos!, changed!.rewording!]) {
      expect(Object.keys(signals).sort()).toEqual(['clusters', 'confidence', 'correct', 'scope']);
    }
  }
  expect(perturbed('one-lora').every((changed) => changed === undefined)).toBe(true);
});

it('keeps how the loss of every pool of every seed fell', () => {
  const curves = whole.manifest.curves!;
  const names = ['pool', 'one-lora'];
  expect(curves.map(({ seed, pool }) => [seed, pool])).toEqual([0, 1].flatMap((s) => names.map((name) => [s, name])));
  for (const { points } of curves) {
    expect(points.length).toBe(5); // 36 examples in batches of 8
    expect(points[0]![1]).toBeGreaterThan(0);
  }
});

it('that is killed at its second seed goes on, and ends like one that ran through', async () => {
  const run = at('killed');
  const child = await startCells(run, args(two, run), 10); // of 9 at each seed
  child.process.kill('SIGKILL');
  expect((await child.ended).signal).toBe('SIGKILL');
  expect(cellsOf(run).length).toBeLessThan(whole.cells.length);
  const { reused } = await document<RunDocument>(args(two, run));
  expect(reused).toBeGreaterThanOrEqual(10);
  expect(resultsOf(run)).toEqual(resultsOf(at('whole')));
  const manifest = (path: string) => withoutTimes(readFileSync(join(path, 'run.json'), 'utf8'));
  expect(manifest(run)).toBe(manifest(at('whole')));
  const again = await document<RunDocument>(args(two, run));
  expect(again.reused).toBe(whole.cells.length);
}, 120_000);

it('blends from pools that are given for each seed, and refuses one for all', async () => {
  const [first, second] = ['0', '1'].map((seed) => {
    const curves = readdirSync(at('work', 'pools'));
    const found = curves.find((name) => {
      const { seed: trained, N } = JSON.parse(readFileSync(at('work', 'pools', name, 'pool.json'), 'utf8'));
      return N === 3 && String(trained) === seed;
    });
    return found!;
  });
  cpSync(at('work', 'pools', first!), at('given-0'), { recursive: true });
  cpSync(at('work', 'pools', second!), at('given-1'), { recursive: true });
  const { cells } = await document<RunDocument>(args(two, at('from'), '--pool', at('given-{seed}')));
  const coefficients = (cells: Cell[]) =>
    cells.filter(({ strategy }) => strategy === 'crayon').map((cell) => cell.coefficients);
  expect(coefficients(cells)).toEqual(coefficients(whole.cells));
  const refused = await refusal(args(two, at('shared'), '--pool', at('given-0')));
  expect(refused).toMatchObject({ code: 'bad-option', exit: 2 });
  expect(refused.message).toContain('{seed}');
}, 60_000);
