/**
 * What a prompt loses where only the few largest of its gate's adapters are applied: the log-probability of reference answers and the
 * accuracy of choices through the engine that serves, beside all of the pool's adapters, in pairs.
 *
 *     npx tsx benchmarks/serving/gate-top.ts --model <gguf or directory> --pool <dir> [--pool <of another seed> ...] --data <yaml> [--data ...]
 *         [--limit 20] [--seed 0] [--data-dir <dir>] [--top 1,2,3,4] [--one-by-one] [--answers-only] [--threads 1] [--cache <dir>]
 *
 * `--one-by-one` is a row of all adapters applied one by one (`engine.stack_adapters: false`), beside their stack. `--answers-only` scores the right answers alone, not all choices: a third of the time. Differences are nats a token of the answer, the mean of the examples' own, with its standard error over examples; and by pool, since
 * pools of other seeds are what a claim rests on. Prints a table and one JSON document.
 */

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gate, keepLargest } from '../../src/core/gate.js';
import { mean, standardError } from '../../src/core/stats.js';
import { loadDataset } from '../../src/data/dataset.js';
import { promptFor, Query } from '../../src/engine/types.js';
import { openBase } from '../../src/gguf/base.js';
import { cachedAdapterGgufs, defaultCacheDir } from '../../src/gguf/cache.js';
import { membersOf, openPool, poolForm } from '../../src/pool/pool.js';
import { assembleEdge } from '../../src/serve/assemble.js';
import { loadEdgeConfig } from '../../src/serve/config.js';
import { gatedAdapters } from '../../src/serve/customizations/adapter-set.js';
import { engineScorer } from '../../src/serve/engine-scorer.js';
import { scoredSequences, scoreThrough } from '../../src/train/score.js';
import { machine, machineLine } from '../machine.js';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    pool: { type: 'string', multiple: true, default: [] },
    data: { type: 'string', multiple: true, default: [] },
    'data-dir': { type: 'string' },
    limit: { type: 'string', default: '20' },
    seed: { type: 'string', default: '0' },
    top: { type: 'string', default: '1,2,3,4' },
    threads: { type: 'string' },
    'one-by-one': { type: 'boolean', default: false },
    'answers-only': { type: 'boolean', default: false },
    cache: { type: 'string', default: defaultCacheDir() },
  },
});
const { model, cache } = options;
if (model === undefined || options.pool.length === 0 || options.data.length === 0)
  throw new Error('give --model, --pool and --data');

interface Pair {
  pool: string;
  task: string;
  /** nats a token more than with all */
  loss: number;
  /** right answers more; null without choices */
  right: number | null;
}

const source = openBase(model);
const ONE_BY_ONE = 'one by one';
const pairs = new Map<string, Pair[]>();
const effective: number[] = [];
for (const [p, dir] of options.pool.entries()) {
  const pool = openPool(dir);
  const { N, tau } = pool.manifest;
  const tops = options.top
    .split(',')
    .map(Number)
    .filter((k) => k < N);
  const tokenizer = source.tokenizer();
  const form = poolForm(pool, tokenizer, model);
  const drawn = { limit: Number(options.limit), seed: Number(options.seed) + p, dataDir: options['data-dir'] };
  const loaded = options.data.flatMap((path) => loadDataset(path, { split: 'test', ...drawn }).examples);
  const examples = options['answers-only'] ? loaded.map(({ choices: _, answer: __, ...one }) => one) : loaded;
  const { maxPositionEmbeddings, vocabSize } = source.config;
  const maxLength = Math.min(maxPositionEmbeddings, 1024);
  const made = scoredSequences({ tokenizer, form, examples, maxLength: maxLength - 1, vocabSize });
  const config = (stack_adapters: boolean) => ({
    ...{ model, pool: dir, gate: 'per-query' as const, cache_dir: cache },
    engine: {
      stack_adapters,
      context: maxLength,
      sequences: 1,
      threads: options.threads === undefined ? ('auto' as const) : Number(options.threads),
    },
    routing: { mode: 'only_on_device' as const },
  });
  const open = (isStacked: boolean) =>
    assembleEdge(loadEdgeConfig(null, config(isStacked)), { withoutCustomizations: true });
  let parts = await open(true);
  const members = cachedAdapterGgufs(
    membersOf(pool.manifest).map((one) => join(dir, one.dir)),
    model,
    { cacheDir: cache },
  ).map((one) => ({ ...one, name: one.id }));
  const scoresOf = async (k: number) => {
    const weigh = (cosines: Float64Array) => keepLargest(gate(cosines, tau), k);
    const adapters = gatedAdapters(members, { centroids: pool.centroids, weigh }, parts.embedder!);
    const chosen = examples.map((one) =>
      adapters.choose(new Query(promptFor(one, form.kind === 'chat' ? 'chat' : 'text'))),
    );
    const { report } = await scoreThrough(
      engineScorer(parts.device, (i) => chosen[i]!, { beside: true }),
      made,
    );
    return { chosen, scores: report.perExample };
  };
  const all = await scoresOf(N);
  effective.push(mean(all.chosen.map((adapters) => adapters.length)));
  console.log(
    `${dir}: N = ${N}, ${examples.length} examples, ${effective.at(-1)!.toFixed(2)} adapters a prompt where all are kept`,
  );
  const rows = [
    ...tops.map((k) => ({ name: `top ${k}`, k })),
    ...(options['one-by-one'] ? [{ name: ONE_BY_ONE, k: N }] : []),
  ];
  for (const { name, k } of rows) {
    if (name === ONE_BY_ONE) {
      await parts.close();
      parts = await open(false);
    }
    const { scores } = await scoresOf(k);
    const list = pairs.get(name) ?? [];
    pairs.set(name, list);
    for (const [i, one] of scores.entries()) {
      const other = all.scores[i]!;
      const right =
        one.answer === undefined
          ? null
          : Number(one.predicted === one.answer) - Number(other.predicted === other.answer);
      list.push({ pool: dir, task: examples[i]!.dataset, loss: (other.logprob - one.logprob) / one.tokens, right });
    }
    const here = list.filter(({ pool: of }) => of === dir);
    console.log(`  ${name}: ${told(here)}`);
  }
  await parts.close();
}
for (const [name, list] of pairs) {
  console.log(`${name} - all, ${options.pool.length} pools: ${told(list)}`);
  for (const task of new Set(list.map((one) => one.task))) {
    console.log(`    ${task}: ${told(list.filter((one) => one.task === task))}`);
  }
}
console.log(machineLine(machine()));
console.log(JSON.stringify({ machine: machine(), effective, pairs: [...pairs] }));
process.exit(0);

function told(list: readonly Pair[]): string {
  const of = (values: number[]) =>
    `${mean(values).toFixed(4)} ± ${values.length > 1 ? standardError(values).toFixed(4) : '-'}`;
  const most = Math.max(...list.map((one) => Math.abs(one.loss)));
  const right = list.flatMap((one) => one.right ?? []);
  return `loss ${of(list.map((one) => one.loss))} nats/token, at most ${most.toFixed(4)}; accuracy ${right.length === 0 ? '-' : of(right)} (${list.length})`;
}
