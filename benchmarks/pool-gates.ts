/**
 * How well a pool's members are found: by centroids of their examples, by centroids of the prompts that their adapters answer to most,
 * and by each prompt's energies themselves. Adapters are PEFT directories named after the suite's task that they were trained on.
 *
 *     npx tsx benchmarks/pool-gates.ts --model models/crayon-edge --adapters DIR/route-bank DIR/intent ... [--tests 40] [--seeds 3]
 *     npx tsx benchmarks/pool-gates.ts --model models/crayon-edge --pool models/crayon-edge-pool
 *
 * `--gates` leaves out some of: data (1,200 examples of each), few (ten of each), none (no examples, probes of the tasks and four others),
 * others (no examples, probes of eight other kinds), mixed (five with examples, one without), bounds (one adapter, all alike, the base).
 */

import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { estimateBlend } from '../src/blend/coefficients.js';
import { gate } from '../src/core/gate.js';
import { createRandom } from '../src/core/random.js';
import { mean, standardError } from '../src/core/stats.js';
import { argmax, dot, oneHot, row } from '../src/core/vector.js';
import { type Example, loadDataset } from '../src/data/dataset.js';
import { openBase } from '../src/gguf/base.js';
import { chooseBackend, releaseBackend } from '../src/model/backend.js';
import { openNetwork } from '../src/model/open-network.js';
import { poolSpace } from '../src/pool/embed/space.js';
import { embedPrompts, stackPool } from '../src/pool/gate.js';
import { addToPool, beginPool } from '../src/pool/life/add.js';
import { adapterFactors, energies } from '../src/pool/life/energy.js';
import { removeFromPool } from '../src/pool/life/remove.js';
import { openPool, type Pool } from '../src/pool/pool.js';
import { prepareExamples } from '../src/pool/prepare.js';
import { scoreExamples } from '../src/train/score-forward.js';

const OTHERS = ['dbpedia-topic', 'sentiment', 'date-iso', 'shelf'];

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/crayon-edge' },
    adapters: { type: 'string', multiple: true, default: [] },
    pool: { type: 'string' },
    tests: { type: 'string', default: '40' },
    seeds: { type: 'string', default: '3' },
    each: { type: 'string', default: '40' },
    gates: { type: 'string', default: 'data,few,none,others,mixed,bounds' },
  },
  allowPositionals: true,
});
const tests = Number(values.tests);
const each = Number(values.each);
const wanted = new Set(values.gates.split(','));
const root = mkdtempSync(join(tmpdir(), 'pool-gates-'));
const source = openBase(values.model);
const tokenizer = source.tokenizer();
await chooseBackend('auto');
const model = openNetwork(source);
const forward = { model };

const built = values.pool === undefined ? null : openPool(values.pool);
const adapters = built?.manifest.adapters.map(({ dir }) => join(built.dir, dir)) ?? values.adapters;
const tasks =
  built?.manifest.clusters.map(({ tasks }) => Object.keys(tasks)[0]!) ?? adapters.map((dir) => basename(dir));
const read = (task: string, split: string, limit: number, seed = 0): Example[] =>
  loadDataset(`suite/${task}.yaml`, { split, limit, seed }).examples;
const tested = tasks.map((task) => read(task, 'test', tests));
const isChoice = tested.map(([first]) => first!.choices !== undefined);
const of = (seed: number, which: readonly string[]) => which.flatMap((task) => read(task, 'train', each, seed));

const percent = (list: readonly number[]) =>
  `${(100 * mean(list)).toFixed(1)}${list.length > 1 ? ` ± ${(100 * standardError(list)).toFixed(1)}` : ''}`;

/** Accuracy of the multiple choices, a mean over tasks, with coefficients (N) of each example. */
async function accuracy(pool: Pool, gateOf: (task: number, examples: Example[]) => Promise<ArrayLike<number>[]>) {
  const found: number[] = [];
  for (const [t, examples] of tested.entries()) {
    if (!isChoice[t]) continue;
    const lora = { ...stackPool(pool, source), gates: await gateOf(t, examples) };
    const report = await scoreExamples({ model, tokenizer, examples, lora, maxLength: 512 });
    found.push(report.acc!);
  }
  return mean(found);
}

const cosines = async (pool: Pool, examples: Example[]) => {
  const space = poolSpace(pool);
  const rows = await embedPrompts(space, { source, model, tokenizer }, examples);
  return examples.map((_, i) =>
    Array.from({ length: pool.manifest.N }, (_, n) => dot(row(rows, i, space.d), row(pool.centroids, n, space.d))),
  );
};

async function measure(pool: Pool, order: readonly number[]) {
  const routed: number[] = [];
  for (const [t, examples] of tested.entries()) {
    const found = await cosines(pool, examples);
    routed.push(mean(found.map((c) => Number(order[argmax(c)] === t))));
  }
  const { tau } = pool.manifest;
  const perQuery = await accuracy(pool, async (_, examples) =>
    (await cosines(pool, examples)).map((c) => gate(c, tau)),
  );
  const blends = await accuracy(pool, async (t, examples) => {
    const shown = read(tasks[t]!, 'heldout', 10);
    const space = poolSpace(pool);
    const data = await embedPrompts(space, { source, model, tokenizer }, shown);
    const { coefficients } = estimateBlend(pool, 'similarity', { rows: { data, n: shown.length, d: space.d } });
    return examples.map(() => coefficients);
  });
  return { routed: mean(routed), perQuery, blends, byTask: routed };
}

/** Each prompt's energies, standardised over the probes: where it is sent, and what answers it then. */
async function byEnergy(pool: Pool, probes: Example[], order: readonly number[]) {
  const members = pool.openMembers();
  const factors = members.map((member) => adapterFactors(member, source));
  for (const member of members) member.close();
  const N = factors.length;
  const sequences = (examples: Example[]) =>
    prepareExamples(examples, tokenizer, { maxLength: 512, long: 'truncate', addEnd: false }).examples.map(
      ({ ids, promptLength }) => ids.subarray(0, promptLength),
    );
  const at = (examples: Example[]) => energies(model, source, factors, sequences(examples), { skip: 1 });
  const reference = await at(probes);
  const column = (data: Float64Array, n: number) => Array.from({ length: data.length / N }, (_, i) => data[i * N + n]!);
  const centre = factors.map((_, n) => mean(column(reference, n)));
  const spread = factors.map((_, n) => Math.sqrt(mean(column(reference, n).map((x) => (x - centre[n]!) ** 2))));
  const standard = async (examples: Example[]) => {
    const found = await at(examples);
    return examples.map((_, i) => factors.map((_, n) => (found[i * N + n]! - centre[n]!) / spread[n]!));
  };
  const routed: number[] = [];
  for (const [t, examples] of tested.entries()) {
    routed.push(mean((await standard(examples)).map((z) => Number(order[argmax(z)] === t))));
  }
  const perQuery = await accuracy(pool, async (_, examples) => (await standard(examples)).map((z) => gate(z, 0.15)));
  const blends = await accuracy(pool, async (t, examples) => {
    const z = await standard(read(tasks[t]!, 'heldout', 10));
    const alpha = gate(
      factors.map((_, n) => mean(z.map((one) => one[n]!))),
      0.15,
    );
    return examples.map(() => alpha);
  });
  return { routed: mean(routed), perQuery, blends };
}

const begin = { embedding: 'tfidf', centred: false, tau: 0.1, force: true, promptForm: 'plain' as const, forward };
const order = tasks.map((_, i) => i);
const print = (name: string, list: ReadonlyArray<{ routed: number; perQuery: number; blends: number }>) =>
  console.log(
    `| ${name} | ${percent(list.map((x) => x.routed))} | ${percent(list.map((x) => x.perQuery))} | ${percent(list.map((x) => x.blends))} |`,
  );

try {
  console.log(`${tasks.join(', ')}; ${tests} tests each, ${values.seeds} draws of the prompts`);
  console.log('| gate | routed right | per query | blends of 10 examples |\n|---|---|---|---|');
  const withData = join(root, 'data');
  const withExamples = (dir: string, limit: number) =>
    beginPool(
      dir,
      source,
      adapters.map((dir, t) => ({ dir, examples: read(tasks[t]!, 'train', limit) })),
      begin,
    );
  await withExamples(withData, 1200);
  if (wanted.has('data')) print('examples of each', [await measure(openPool(withData), order)]);
  if (wanted.has('few')) {
    await withExamples(join(root, 'few'), 10);
    print('ten examples of each', [await measure(openPool(join(root, 'few')), order)]);
  }
  if (built !== null) print('the pool as it was built', [await measure(built, order)]);
  const seeds = Array.from({ length: Number(values.seeds) }, (_, seed) => seed);
  for (const [gate, name, kinds] of [
    ['none', 'no examples; prompts of all kinds and four others', [...tasks, ...OTHERS]],
    [
      'others',
      'no examples; prompts of other kinds alone',
      [...OTHERS, 'swap-words', 'stock-sum', 'key-value-json', 'list-last'],
    ],
  ] as const) {
    if (!wanted.has(gate)) continue;
    const byCentroids: Array<Awaited<ReturnType<typeof measure>>> = [];
    const direct = [];
    for (const seed of seeds) {
      const dir = join(root, `none-${seed}`);
      const probes = createRandom(seed, 'probes').shuffle(of(seed, kinds));
      await beginPool(
        dir,
        source,
        adapters.map((dir) => ({ dir, examples: null })),
        { ...begin, probes },
      );
      byCentroids.push(await measure(openPool(dir), order));
      direct.push(await byEnergy(openPool(dir), probes, order));
    }
    print(`${name}: centroids`, byCentroids);
    const found = tasks.map((task, t) => `${task} ${percent(byCentroids.map(({ byTask }) => byTask[t]!))}`);
    console.log(`routed right by these centroids: ${found.join(', ')}`);
    print(`${name}: each prompt's energies`, direct);
  }
  const mixed = [];
  for (const t of wanted.has('mixed') ? order : []) {
    const dir = join(root, 'mixed');
    rmSync(dir, { recursive: true, force: true });
    cpSync(withData, dir, { recursive: true });
    await removeFromPool(dir, [t]);
    const probes = createRandom(t, 'probes').shuffle(of(t, [...tasks, ...OTHERS]));
    await addToPool(dir, source, [{ dir: adapters[t]!, examples: null }], { probes, forward });
    mixed.push(await measure(openPool(dir), [...order.filter((x) => x !== t), t]));
  }
  if (mixed.length > 0) print('mixed: one without examples, each in turn', mixed);
  if (wanted.has('bounds')) {
    const pool = openPool(withData);
    const N = order.length;
    console.log(
      `its adapter alone ${percent([await accuracy(pool, async (t, list) => list.map(() => oneHot(t, N)))])}`,
    );
    console.log(
      `all alike ${percent([await accuracy(pool, async (_, list) => list.map(() => Array(N).fill(1 / N)))])}`,
    );
    console.log(`base ${percent([await accuracy(pool, async (_, list) => list.map(() => Array(N).fill(0)))])}`);
  }
} finally {
  model.dispose();
  releaseBackend();
  source.close();
  rmSync(root, { recursive: true });
}
