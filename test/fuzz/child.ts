/**
 * A child of a run: one target's mutants, slice by slice, as its parent asks. Before each mutant its recipe is written to a file, so
 * that the parent knows which one a child hung on or died of.
 */

import { openSync, writeSync } from 'node:fs';
import { Coverage } from './coverage.js';
import { type Recipe, shrunk } from './recipe.js';
import { Corpus, type Found, runSlice, type Tally } from './slice.js';
import { Bench } from './trial.js';

export type Order =
  | { do: 'slice'; seed: number; slice: number; mutants: number; ms: number; corpus: Recipe[] }
  | { do: 'try'; recipe: Recipe }
  | { do: 'end' };
export type Report =
  | { done: 'open' }
  | { done: 'slice'; tally: Tally; found: Found[]; corpus: Recipe[] }
  | { done: 'try'; signature: string; kind?: string | undefined }
  | { done: 'failed'; message: string };

const [name, scratch, progress, withCoverage] = process.argv.slice(2) as [string, string, string, string];
// Toys need nothing of crayon, whose loading takes a second.
const known = name.startsWith('toy-')
  ? (await import('./targets/toys.js')).TOY_TARGETS
  : (await import('./targets/index.js')).TARGETS;
const target = known.find((candidate) => candidate.name === name);
if (target === undefined) throw new Error(`no target ${name}`);
const fd = openSync(progress, 'w');
let count = 0;
/** What is tried now, with its number: a number that stays the same is a hang. */
function before(recipe: Recipe): void {
  const text = JSON.stringify([++count, recipe]);
  writeSync(fd, `${text}${' '.repeat(Math.max(0, 400 - text.length))}\n`, 0);
}
const say = (report: Report) => process.send!(report);

const bench = await Bench.open(target, scratch);
try {
  before({ from: 0, steps: [] });
  await bench.refuseUnsound();
} catch (error) {
  say({ done: 'failed', message: String(error instanceof Error ? error.stack : error) });
}
const coverage = withCoverage === 'yes' ? new Coverage() : null;
const corpus = new Corpus();

async function obey(order: Order): Promise<void> {
  if (order.do === 'end') {
    await bench.close();
    process.exit(0);
  }
  if (order.do === 'try') {
    before(order.recipe);
    const { signature, kind } = await bench.tryRecipe(order.recipe);
    return void say({ done: 'try', signature, kind });
  }
  if (corpus.kept.length === 0) {
    for (const recipe of order.corpus) {
      before(recipe);
      corpus.keep(recipe, bench.cooked(recipe));
    }
  }
  const { tally, found } = await runSlice(bench, { ...order, corpus, coverage, before });
  for (const one of found) {
    if (one.kind !== 'exception' && one.kind !== 'different' && one.kind !== 'message') continue;
    one.recipe = await shrunk(one.recipe, async (recipe) => {
      before(recipe);
      return (await bench.tryRecipe(recipe)).signature === one.signature;
    });
  }
  say({ done: 'slice', tally, found, corpus: corpus.kept.map(({ recipe }) => recipe) });
}

process.on('message', (order: Order) => {
  obey(order).catch((error: unknown) =>
    say({ done: 'failed', message: String(error instanceof Error ? error.stack : error) }),
  );
});
process.on('disconnect', () => process.exit(0));
say({ done: 'open' });
