/** A mutant by its recipe: the sound input that it began as and one seed for each change. The same recipe gives the same bytes. */

import { createRandom } from '../../src/core/random.js';
import { mutatorOf } from './mutate/index.js';
import { oneIn, pick } from './mutate/odd.js';
import type { Files, Target } from './target.js';

export interface Recipe {
  /** index of the sound input */
  from: number;
  /** seeds of the changes, in their order */
  steps: number[];
}

export const MAX_STEPS = 10;
/** A mutant that grew beyond this stays as it was: readers' bounds are tried by growth.ts. */
const MAX_BYTES = 2 ** 22;

export interface Larder {
  target: Target;
  seeds: readonly Files[];
  words: readonly string[];
}

export function cook(larder: Larder, { from, steps }: Recipe): Files {
  return steps.reduce((files, step) => changed(larder, files, step), larder.seeds[from]!);
}

/** One change: of a file's content, or rarely of which files there are. */
export function changed({ target, seeds, words }: Larder, files: Files, step: number): Files {
  const random = createRandom(step, 'fuzz');
  const names = [...files.keys()].filter((name) => target.changes?.test(name) ?? true);
  const result = new Map(files);
  if (names.length === 0) return seeds[random.int(seeds.length)]!;
  const name = pick(random, names);
  const other = seeds[random.int(seeds.length)]!.get(name);
  if (oneIn(random, 40) && files.size > 1) result.delete(name);
  else if (oneIn(random, 20) && other !== undefined) result.set(name, other);
  else result.set(name, (target.mutate ?? mutatorOf(name))(files.get(name)!, random, words));
  return sizeOf(result) > Math.max(MAX_BYTES, sizeOf(files)) ? files : result;
}

export function sizeOf(files: Files): number {
  let bytes = 0;
  for (const content of files.values()) bytes += content.length;
  return bytes;
}

/** The fewest changes that still show the fault: each is left out in turn. */
export async function shrunk(recipe: Recipe, shows: (recipe: Recipe) => Promise<boolean>): Promise<Recipe> {
  let best = recipe;
  for (let i = best.steps.length - 1; i >= 0; i--) {
    const shorter = { ...best, steps: best.steps.toSpliced(i, 1) };
    if (await shows(shorter)) best = shorter;
  }
  return best;
}
