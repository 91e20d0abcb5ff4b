/**
 * The mean of a repeated experiment and its interval: units that are fixed (users), each tested at several seeds, with several
 * draws, on several examples.
 */

import { type BootstrapOptions, groupBy, type Interval, mean, percentileInterval, strataWeights } from './stats.js';

export interface NestedScore {
  /** repetition of the whole experiment, which all units share */
  seed: number;
  /** repetition for this unit within the seed */
  draw: number;
  /** the same text is the same example at every seed and draw of the unit */
  example: string;
  value: number;
}

/** A unit's scores by number of its examples; `seed` counts the seeds of all units. */
interface Unit {
  examples: number;
  seeds: Array<{ seed: number; draws: Array<{ at: Int32Array; values: Float64Array }> }>;
}

/**
 * Mean over units of the mean over their seeds of the mean over draws of the mean over examples: every unit counts alike, as
 * does every seed of it.
 */
export function meanOfNested(units: ReadonlyArray<readonly NestedScore[]>): number {
  return new Nested(arrange(units)).mean();
}

/**
 * `meanOfNested` with its interval, by a bootstrap of all three levels: seeds are drawn with replacement, the same ones for all
 * units; draws within each unit and seed; and a unit's examples, an example that several seeds or draws share being drawn for
 * all of them (a pigeonhole bootstrap: Owen 2007, arXiv 0708.3362). What was done once, such as one seed, is taken as fixed.
 *
 * Its intervals err on the wide side: of made-up experiments of 3 seeds, 12 units and 60 examples 95 to 100 % have the truth within
 * the 95 %, where examples alone have it in 95 down to 79 % as seeds differ more, and seeds alone in 76 % and less
 * (benchmarks/nested-coverage.ts).
 */
export function nestedMean(units: ReadonlyArray<readonly NestedScore[]>, options: BootstrapOptions): Interval {
  const nested = new Nested(arrange(units));
  const values = strataWeights(nested.strata, options).map((weights) => nested.mean(weights));
  return percentileInterval(nested.mean(), Float64Array.from(values), options.level);
}

/** What one item of a repeated experiment is one of, in place of its `unit`: users are counted from 0. */
export interface NestedItem extends Pick<NestedScore, 'seed' | 'example'> {
  unit: number;
}

/**
 * For a statistic that is no mean of means, such as a point of a curve: how often each item counts in each resample, examples
 * drawn within each unit and seeds drawn for all of them, as `nestedMean` draws them.
 */
export function nestedWeights(items: readonly NestedItem[], options: BootstrapOptions): Uint16Array[] {
  const units: Array<Map<string, number>> = [];
  const seeds = new Map<number, number>();
  for (const { unit, seed, example } of items) {
    units[unit] ??= new Map();
    const examples = units[unit];
    if (!examples.has(example)) examples.set(example, examples.size);
    if (!seeds.has(seed)) seeds.set(seed, seeds.size);
  }
  const sizes = units.map(({ size }) => size);
  const starts = sizes.map((_, u) => sizes.slice(0, u).reduce((a, b) => a + b, 0));
  const end = sizes.reduce((a, b) => a + b, 0);
  const exampleAt = items.map(({ unit, example }) => starts[unit]! + units[unit]!.get(example)!);
  // what was done once, such as one seed, is taken as fixed
  const seedAt = seeds.size > 1 ? items.map(({ seed }) => end + seeds.get(seed)!) : null;
  return strataWeights(seedAt === null ? sizes : [...sizes, seeds.size], options).map((drawn) =>
    Uint16Array.from(exampleAt, (at, i) => drawn[at]! * (seedAt === null ? 1 : drawn[seedAt[i]!]!)),
  );
}

/** The mean of the values at these indices with its interval, an item counting as often as `nestedWeights` has drawn it. */
export function weightedMean(
  values: ArrayLike<number>,
  draws: readonly Uint16Array[],
  indices: readonly number[],
): Interval {
  const meanOf = (weights: Uint16Array): number => {
    let [sum, n] = [0, 0];
    for (const i of indices) {
      sum += weights[i]! * values[i]!;
      n += weights[i]!;
    }
    return sum / n;
  };
  const once = meanOf(new Uint16Array(values.length).fill(1));
  return percentileInterval(once, Float64Array.from(draws, meanOf));
}

function arrange(units: ReadonlyArray<readonly NestedScore[]>): Unit[] {
  const seeds = new Map<number, number>();
  for (const { seed } of units.flat()) if (!seeds.has(seed)) seeds.set(seed, seeds.size);
  return units.map((scores) => {
    const examples = new Map<string, number>();
    for (const { example } of scores) if (!examples.has(example)) examples.set(example, examples.size);
    const bySeed = [...groupBy(scores, ({ seed }) => String(seed)).values()];
    return {
      examples: examples.size,
      seeds: bySeed.map((ofSeed) => ({
        seed: seeds.get(ofSeed[0]!.seed)!,
        draws: [...groupBy(ofSeed, ({ draw }) => String(draw)).values()].map((ofDraw) => ({
          at: Int32Array.from(ofDraw, ({ example }) => examples.get(example)!),
          values: Float64Array.from(ofDraw, ({ value }) => value),
        })),
      })),
    };
  });
}

class Nested {
  /** sizes of what is drawn from: each unit's examples, its draws at each seed, the seeds; levels of one are left out */
  readonly strata: number[] = [];
  readonly #units: Unit[];
  readonly #start: { examples: number[]; draws: Array<Array<number | null>>; seeds: number | null };

  constructor(units: Unit[]) {
    this.#units = units;
    let at = 0;
    const add = (size: number) => {
      this.strata.push(size);
      at += size;
      return at - size;
    };
    const addSeveral = (size: number) => (size > 1 ? add(size) : null);
    const seeds = new Set(units.flatMap((unit) => unit.seeds.map(({ seed }) => seed))).size;
    // In this order: what one seed and one draw have is drawn alike whether or not others have more.
    this.#start = {
      examples: units.map((unit) => add(unit.examples)),
      draws: units.map((unit) => unit.seeds.map(({ draws }) => addSeveral(draws.length))),
      seeds: addSeveral(seeds),
    };
  }

  /** @param weights how often each was drawn; once each where they are left out. NaN where nothing was drawn. */
  mean(weights?: Uint8Array): number {
    const weight = (start: number | null, i: number) => (start === null ? 1 : (weights?.[start + i] ?? 1));
    const means: number[] = [];
    for (const [u, unit] of this.#units.entries()) {
      const examples = weights?.subarray(this.#start.examples[u]!);
      const ofUnit = { sum: 0, weight: 0 };
      for (const [s, { seed, draws }] of unit.seeds.entries()) {
        const ofSeed = { sum: 0, weight: 0 };
        const times = weight(this.#start.seeds, seed);
        if (times === 0) continue;
        for (const [d, draw] of draws.entries()) {
          const drawn = weight(this.#start.draws[u]![s]!, d);
          if (drawn > 0) add(ofSeed, drawn, sumOf(draw, examples));
        }
        add(ofUnit, times, ofSeed);
      }
      if (ofUnit.weight > 0) means.push(ofUnit.sum / ofUnit.weight);
    }
    return mean(means);
  }
}

interface Weighted {
  sum: number;
  weight: number;
}

/** Adds a mean to one of means, unless it is of nothing. */
function add(to: Weighted, weight: number, { sum, weight: of }: Weighted): void {
  if (of === 0) return;
  to.sum += weight * (sum / of);
  to.weight += weight;
}

function sumOf({ at, values }: Unit['seeds'][number]['draws'][number], weights: Uint8Array | undefined): Weighted {
  let [sum, weight] = [0, 0];
  for (let i = 0; i < at.length; i++) {
    const w = weights === undefined ? 1 : weights[at[i]!]!;
    sum += w * values[i]!;
    weight += w;
  }
  return { sum, weight };
}
