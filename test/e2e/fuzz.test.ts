/** The harness of `npm run fuzz`: a short seeded run over every target, and that each kind of fault is caught. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCampaign } from '../fuzz/campaign.js';
import { cook } from '../fuzz/recipe.js';
import { Corpus, runSlice } from '../fuzz/slice.js';
import { TARGETS } from '../fuzz/targets/index.js';
import { TOY_TARGETS } from '../fuzz/targets/toys.js';
import { Bench } from '../fuzz/trial.js';
import { temporaryDir } from '../helpers/files.js';

const run = (bench: Bench, mutants: number, ms = 600) =>
  runSlice(bench, { seed: 20261127, slice: 0, mutants, ms, corpus: new Corpus(), coverage: null });

describe('mutants of', () => {
  it.each(TARGETS.filter((target) => !target.endsProcess).map((target) => [target.name, target] as const))(
    '%s are read, or refused by name',
    async (_, target) => {
      const bench = await Bench.open(target, temporaryDir());
      try {
        await bench.refuseUnsound();
        const { tally, found } = await run(bench, 60);
        expect(found).toEqual([]);
        expect(tally.mutants).toBeGreaterThan(0);
      } finally {
        await bench.close();
      }
    },
  );
});

const OPTIONS = { seed: 1, ms: 60_000, lanes: 1, coverage: false, log: () => {} };

const toy = (name: string) => TOY_TARGETS.find((target) => target.name === `toy-${name}`)!;

describe('the harness', () => {
  it('makes the same mutants of the same seed, and an exception small', async () => {
    const benches = await Promise.all([0, 1].map(() => Bench.open(toy('throws'), temporaryDir())));
    const [a, b] = await Promise.all(benches.map((bench) => run(bench, 50, 60_000)));
    expect(a!.found.map(({ recipe }) => recipe)).toEqual(b!.found.map(({ recipe }) => recipe));
    expect(a!.tally.outcomes).toEqual(b!.tally.outcomes);
    expect(a!.found).toMatchObject([{ kind: 'exception', message: expect.stringContaining('TypeError') }]);
    const mutant = cook(benches[0]!, a!.found[0]!.recipe).get('x.json')!;
    expect(mutant.length % 3).toBe(0);
  });

  it('sees that llama.cpp takes what crayon’s reader takes, in a child that it may end', {
    timeout: 240_000,
  }, async () => {
    const targets = TARGETS.filter(({ endsProcess }) => endsProcess);
    const options = { ...OPTIONS, mutants: 25, out: temporaryDir(), state: {} };
    const state = await runCampaign(targets, options);
    expect(Object.keys(state)).toEqual(['llama-cpp']);
    expect(state['llama-cpp']).toMatchObject({ found: [], tally: { mutants: 25 } });
  });

  it('sees that a process was ended by a mutant, tells which, and goes on', { timeout: 240_000 }, async () => {
    const out = temporaryDir();
    const lines: string[] = [];
    const options = { ...OPTIONS, mutants: 16, out, state: {}, log: (line: string) => lines.push(line) };
    const state = await runCampaign([toy('aborts')], options);
    const { tally, found } = state['toy-aborts']!;
    expect(tally.mutants).toBeGreaterThanOrEqual(6);
    expect(found).toMatchObject([{ kind: 'abort', message: expect.stringContaining('SIGABRT') }]);
    const folder = /--repeat (\S+)/.exec(lines.join('\n'))![1]!;
    expect(readFileSync(join(folder, 'input', 'x.json')).length % 3).toBe(0);
    expect(existsSync(join(out, 'state.json'))).toBe(true);
  });
});
