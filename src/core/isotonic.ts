/**
 * Isotonic regression: of all maps that never fall, the one that fits best, by pooling adjacent violators (Ayer et al. 1955;
 * as a calibration of probabilities Zadrozny and Elkan 2002). It has no shape of its own, so it can step where a logistic
 * curve cannot. Its steps are drawn a little sloped, so that it keeps the order of all values.
 */

import assert from 'node:assert/strict';

/** Points of a map that rises, [x, y] with both strictly ascending; between them it is a straight line. */
export type Knots = ReadonlyArray<readonly [x: number, y: number]>;

/** Two knots each: the file that holds the map is for people. */
const MOST_BLOCKS = 8;
const DIGITS = 4;
/** Part of the way to its neighbours' values, or to certainty, that a block rises from its middle to either side. */
const SLOPE = 0.1;

/** A run of values that share one chance. */
interface Block {
  weight: number;
  from: number;
  to: number;
  chance: number;
}

const pooled = (a: Block, b: Block): Block => {
  const weight = a.weight + b.weight;
  return { weight, from: a.from, to: b.to, chance: (a.weight * a.chance + b.weight * b.chance) / weight };
};

/**
 * The map of n values in [0, 1] to the chance of label 1. So that no chance is 0 or 1 on the word of a few examples, one
 * label of 1 is added at the smallest value and one of 0 at the largest.
 */
export function fitIsotonic(values: ArrayLike<number>, labels: ArrayLike<number>): Knots {
  const n = values.length;
  assert.ok(n > 0 && labels.length === n, `fitIsotonic of ${n} values and ${labels.length} labels`);
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const [low, high] = [order[0]!, order[n - 1]!];
  const blocks: Block[] = [];
  // Equal values are one, whatever order their labels come in.
  let run: Block = { weight: 1, from: values[low]!, to: values[low]!, chance: 1 };
  const close = () => {
    let block = run;
    while (blocks.length > 0 && blocks.at(-1)!.chance >= block.chance) block = pooled(blocks.pop()!, block);
    blocks.push(block);
  };
  for (const [value, label] of [...order.map((i) => [values[i]!, labels[i]!] as const), [values[high]!, 0] as const]) {
    const next: Block = { weight: 1, from: value, to: value, chance: label };
    if (value === run.to) run = pooled(run, next);
    else {
      close();
      run = next;
    }
  }
  close();
  while (blocks.length > MOST_BLOCKS) {
    const losses = blocks.slice(1).map((b, i) => {
      const a = blocks[i]!;
      return ((a.weight * b.weight) / (a.weight + b.weight)) * (b.chance - a.chance) ** 2;
    });
    const i = losses.indexOf(Math.min(...losses));
    blocks.splice(i, 2, pooled(blocks[i]!, blocks[i + 1]!));
  }
  const last = blocks.length - 1;
  const knots = blocks.flatMap(({ from, to, chance }, k) => [
    [k === 0 ? 0 : from, chance - SLOPE * (chance - (blocks[k - 1]?.chance ?? 0))],
    [k === last ? 1 : to, chance + SLOPE * ((blocks[k + 1]?.chance ?? 1) - chance)],
  ]);
  return rising(knots.map(([x, y]) => [rounded(x!), rounded(y!)] as const));
}

const rounded = (x: number) => Number(x.toPrecision(DIGITS));

/** Without the knots that stand at the place of another, as those of a block of one value do; the ends stay. */
function rising(knots: Knots): Knots {
  const end = knots.at(-1)!;
  const kept: Array<readonly [number, number]> = [];
  for (const knot of knots.slice(0, -1)) {
    const before = kept.at(-1);
    const follows = before === undefined || (knot[0] > before[0] && knot[1] > before[1]);
    if (follows && knot[0] < end[0] && knot[1] < end[1]) kept.push(knot);
  }
  return [...kept, end];
}

/** The map at x; beyond its ends their values. Keeps a NaN. */
export function mapped(knots: Knots, x: number): number {
  const [first, last] = [knots[0]!, knots.at(-1)!];
  if (x <= first[0]) return first[1];
  if (x >= last[0]) return last[1];
  const k = Math.max(
    1,
    knots.findIndex(([at]) => at > x),
  );
  const [[x0, y0], [x1, y1]] = [knots[k - 1]!, knots[k]!];
  return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
}
