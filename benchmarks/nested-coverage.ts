/**
 * How often the intervals of the bench's report hold the truth: made-up experiments of 12 users with 60 examples at each seed, whose
 * differences have mean 0. Beside the nested bootstrap, one over examples alone (the seeds taken as fixed) and one over seeds alone.
 *
 *     npx tsx benchmarks/nested-coverage.ts
 */

import { type NestedScore, nestedMean } from '../src/core/nested-mean.js';
import { createRandom } from '../src/core/random.js';
import { mean } from '../src/core/stats.js';

const [USERS, EXAMPLES, EXPERIMENTS, RESAMPLES] = [12, 60, 300, 400];
const OF_ANSWERS = 0.5; // spread of the difference of two answers to one example

/** @param spread of a seed's effect on all users, and of its further effect on each */
function experiment(seeds: number, [forAll, forEach]: readonly [number, number], number: number): NestedScore[][] {
  const random = createRandom(number, `experiment ${seeds} ${forAll}`);
  const units = Array.from({ length: USERS }, (): NestedScore[] => []);
  for (let seed = 0; seed < seeds; seed++) {
    const shift = forAll * random.normal();
    for (const unit of units) {
      const effect = shift + forEach * random.normal();
      for (let i = 0; i < EXAMPLES; i++) {
        unit.push({ seed, draw: 0, example: `${seed} ${i}`, value: effect + OF_ANSWERS * random.normal() });
      }
    }
  }
  return units;
}

const KINDS = {
  nested: (units: NestedScore[][]) => units,
  // every seed of a user is another user: nothing but examples is drawn
  'examples alone': (units: NestedScore[][]) =>
    units.flatMap((unit) =>
      [...new Set(unit.map(({ seed }) => seed))].map((seed) => unit.filter((s) => s.seed === seed)),
    ),
  // one number a seed
  'seeds alone': (units: NestedScore[][]) => {
    const all = units.flat();
    const seeds = [...new Set(all.map(({ seed }) => seed))];
    return [
      seeds.map((seed) => ({
        seed,
        draw: 0,
        example: 'all',
        value: mean(all.filter((s) => s.seed === seed).map((s) => s.value)),
      })),
    ];
  },
};

for (const seeds of [2, 3, 5]) {
  for (const spread of [
    [0, 0],
    [0.01, 0.03],
    [0.02, 0.04],
  ] as const) {
    const counts = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, { covered: 0, width: 0 }]));
    for (let number = 0; number < EXPERIMENTS; number++) {
      const units = experiment(seeds, spread, number);
      for (const [kind, arrange] of Object.entries(KINDS)) {
        const arranged =
          kind === 'examples alone' ? arrange(units).map((u) => u.map((s) => ({ ...s, seed: 0 }))) : arrange(units);
        const { low, high } = nestedMean(arranged, { seed: number, resamples: RESAMPLES });
        if (low <= 0 && high >= 0) counts[kind]!.covered++;
        counts[kind]!.width += (100 * (high - low)) / EXPERIMENTS;
      }
    }
    const found = Object.entries(counts).map(
      ([kind, { covered, width }]) =>
        `${kind} ${((100 * covered) / EXPERIMENTS).toFixed(0)} % (${width.toFixed(1)} wide)`,
    );
    console.log(`${seeds} seeds, effects of ${spread.map((x) => 100 * x).join(' and ')} points: ${found.join(', ')}`);
  }
}
