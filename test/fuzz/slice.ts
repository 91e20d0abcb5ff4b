/** Some mutants of one target, one after the other: a slice of a run, the same for the same seed. */

import { createRandom } from '../../src/core/random.js';
import type { Coverage } from './coverage.js';
import { changed, MAX_STEPS, type Recipe } from './recipe.js';
import type { Files, Kind } from './target.js';
import type { Bench, Verdict } from './trial.js';

export interface Found {
  kind: Kind;
  recipe: Recipe;
  signature: string;
  message: string;
}

/** What a target's mutants came to. */
export interface Tally {
  mutants: number;
  ms: number;
  /** by code; `accepted` for those that were */
  outcomes: Record<string, number>;
  /** how many different outcomes there were */
  signatures: number;
  /** inputs kept to breed from */
  kept: number;
  slowest: { ms: number; recipe: Recipe };
  /** bytes of memory for a byte of input, where one mutant made the process grow by a megabyte or more */
  greediest: { ratio: number; grown: number; bytes: number; recipe: Recipe };
  maxRss: number;
}

export const emptyTally = (): Tally => ({
  mutants: 0,
  ms: 0,
  outcomes: {},
  signatures: 0,
  kept: 0,
  slowest: { ms: 0, recipe: { from: 0, steps: [] } },
  greediest: { ratio: 0, grown: 0, bytes: 0, recipe: { from: 0, steps: [] } },
  maxRss: 0,
});

/** Mutants that did something new, with their files: the next ones begin at them half of the time. */
export class Corpus {
  readonly signatures = new Set<string>();
  readonly kept: Array<{ recipe: Recipe; files: Files }> = [];
  static readonly MOST = 400;

  keep(recipe: Recipe, files: Files): void {
    if (recipe.steps.length >= MAX_STEPS) return;
    if (this.kept.length < Corpus.MOST) this.kept.push({ recipe, files });
    else this.kept[(recipe.steps.at(-1) ?? 0) % Corpus.MOST] = { recipe, files };
  }
}

export interface SliceOptions {
  seed: number;
  /** of the same seed */
  slice: number;
  mutants: number;
  /** ends earlier after this long */
  ms: number;
  corpus: Corpus;
  coverage: Coverage | null;
  /** called with every mutant before it is tried */
  before?: (recipe: Recipe) => void;
}

/** Mutants between two looks at the coverage. */
const BATCH = 12;

export async function runSlice(bench: Bench, options: SliceOptions): Promise<{ tally: Tally; found: Found[] }> {
  const { seed, slice, corpus, coverage, before } = options;
  const random = createRandom(seed, `${bench.target.name} ${slice}`);
  const tally = emptyTally();
  const found = new Map<string, Found>();
  const start = performance.now();
  let batch: Array<{ recipe: Recipe; files: Files }> = [];
  while (tally.mutants < options.mutants && performance.now() - start < options.ms) {
    const { recipe, files } = next();
    before?.(recipe);
    const verdict = await bench.tryOut(files);
    note(verdict, recipe, files);
    batch.push({ recipe, files });
    if (batch.length < BATCH) continue;
    if (coverage?.hasGrown()) for (const { recipe, files } of batch) corpus.keep(recipe, files);
    batch = [];
  }
  tally.ms = performance.now() - start;
  tally.signatures = corpus.signatures.size;
  tally.kept = corpus.kept.length;
  tally.maxRss = process.resourceUsage().maxRSS * 1024;
  return { tally, found: [...found.values()] };

  function next() {
    const parent =
      corpus.kept.length > 0 && random.int(2) === 0 ? corpus.kept[random.int(corpus.kept.length)]! : undefined;
    const from = random.int(bench.seeds.length);
    let recipe: Recipe = parent?.recipe ?? { from, steps: [] };
    let files = parent?.files ?? bench.seeds[from]!;
    do {
      const step = random.int(2 ** 32);
      recipe = { ...recipe, steps: [...recipe.steps, step] };
      files = changed(bench, files, step);
    } while (random.int(3) === 0 && recipe.steps.length < MAX_STEPS);
    return { recipe, files };
  }

  function note(verdict: Verdict, recipe: Recipe, files: Files) {
    tally.mutants++;
    tally.outcomes[verdict.outcome] = (tally.outcomes[verdict.outcome] ?? 0) + 1;
    if (verdict.ms > tally.slowest.ms) tally.slowest = { ms: verdict.ms, recipe };
    const ratio = verdict.grown / Math.max(1, verdict.bytes);
    if (verdict.grown > 2 ** 20 && ratio > tally.greediest.ratio)
      tally.greediest = { ratio, grown: verdict.grown, bytes: verdict.bytes, recipe };
    if (verdict.kind !== undefined && !found.has(verdict.signature)) {
      found.set(verdict.signature, {
        kind: verdict.kind,
        recipe,
        signature: verdict.signature,
        message: verdict.message,
      });
    }
    if (corpus.signatures.has(verdict.signature)) return;
    corpus.signatures.add(verdict.signature);
    corpus.keep(recipe, files);
  }
}

/** Adds one slice's numbers to those of the slices before it. */
export function added(a: Tally, b: Tally): Tally {
  const outcomes = { ...a.outcomes };
  for (const [name, count] of Object.entries(b.outcomes)) outcomes[name] = (outcomes[name] ?? 0) + count;
  return {
    mutants: a.mutants + b.mutants,
    ms: a.ms + b.ms,
    outcomes,
    signatures: Math.max(a.signatures, b.signatures),
    kept: Math.max(a.kept, b.kept),
    slowest: a.slowest.ms > b.slowest.ms ? a.slowest : b.slowest,
    greediest: a.greediest.ratio > b.greediest.ratio ? a.greediest : b.greediest,
    maxRss: Math.max(a.maxRss, b.maxRss),
  };
}
