/**
 * Many users on one server: what a thousand customisations take of time, memory and disk, whether they are there after a restart, and
 * the memory over two hundred prompts that are each weighed anew (`gate: per-query`).
 *
 *     npx tsx benchmarks/users.ts [--model models/crayon-edge --pool models/crayon-edge-pool] [--users 1000] [--prompts 200] [--combine cat]
 *
 * Each user shows ten examples drawn from the suite's tasks. Every tenth asks for four tokens, so that the adapters are in use. Time beyond
 * embedding is that of a customisation, its file included, without the embedding of its examples. With `--combine` the customisations
 * are merged, as they were before they were scales: give few.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { percentile } from '../src/bench/latency.js';
import { createRandom } from '../src/core/random.js';
import { loadDataset } from '../src/data/dataset.js';
import { GREEDY, Query } from '../src/engine/types.js';
import { assembleEdge, type EdgeAssembly } from '../src/serve/assemble.js';
import { edgeConfig } from '../src/serve/config.js';
import type { Form } from '../src/serve/customizations/record.js';
import { type Point, printCurve } from './curve.js';
import { machine, machineLine } from './machine.js';
import { residentMib } from './serving/servers.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/crayon-edge' },
    pool: { type: 'string', default: 'models/crayon-edge-pool' },
    users: { type: 'string', default: '1000' },
    prompts: { type: 'string', default: '200' },
    combine: { type: 'string' },
    threads: { type: 'string', default: '1' },
  },
});
const [users, prompts] = [Number(values.users), Number(values.prompts)];
const TASKS = ['dbpedia-topic', 'key-value-json', 'swap-words', 'intent', 'route-bank', 'route-farm'];
const [SHOWN, POINTS] = [10, 10];
const { signal } = new AbortController();

const dir = mkdtempSync(join(tmpdir(), 'crayon-users-'));
process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
const stateDir = join(dir, 'state');
const random = createRandom(0, 'bench-users');
const examples = TASKS.flatMap((task) => loadDataset(join('suite', task, 'heldout.jsonl')).examples);
const drawn = () => examples[Math.floor(random.uniform() * examples.length)]!;

const open = (gate: 'fixed' | 'per-query'): Promise<EdgeAssembly> => {
  const { model, pool } = values;
  const engine = { threads: Number(values.threads), context: 512, sequences: 4 };
  const limits = { customizations: users, merged_customizations: users };
  const given = { model, pool, gate, state_dir: gate === 'fixed' ? stateDir : false, engine, limits };
  return assembleEdge(edgeConfig(given, { where: 'benchmark', folder: '.' }));
};

async function ask({ device }: EdgeAssembly, prompt: string, adapters: ReturnType<EdgeAssembly['adapters']['choose']>) {
  const query = new Query({ kind: 'text', text: prompt });
  for await (const _ of device.generate({ ...GREEDY, query, adapters, maxTokens: 4, signal }));
}

const here = (done: number): Point => ({ done, mib: residentMib(process.pid) });
const msOf = (times: readonly number[]): string =>
  `${percentile(times, 50).toFixed(1)} ms (95 of 100: ${percentile(times, 95).toFixed(1)})`;

const parts = await open('fixed');
const kept = parts.customizations!;
// Embedded once, and timed by itself: what a customisation asks for is there then.
const embedder = parts.embedder!;
const embedAside = embedder.embedAside.bind(embedder);
let embedded: Awaited<ReturnType<typeof embedAside>> = [];
embedder.embedAside = async () => embedded;
await ask(parts, 'Hello', []);
const [embedding, beyond, processor] = [[] as number[], [] as number[], [] as number[]];
const curve = [here(0)];
for (let done = 1; done <= users; done++) {
  const shown = Array.from({ length: SHOWN }, drawn);
  let started = performance.now();
  embedded = await embedAside(
    shown.map(({ prompt }) => ({ text: prompt })),
    signal,
  );
  embedding.push(performance.now() - started);
  started = performance.now();
  const order = { coefficients: null, topK: null, temperature: null, estimator: 'similarity' } as const;
  const form = values.combine as Form | undefined;
  const used = process.cpuUsage();
  const made = await kept.create({ ...order, examples: shown, form }, `user ${done}`, signal);
  beyond.push(performance.now() - started);
  const { user, system } = process.cpuUsage(used);
  processor.push((user + system) / 1000);
  if (done % 10 === 0 || values.combine !== undefined) {
    const query = new Query({ kind: 'text', text: shown[0]!.prompt });
    await ask(parts, shown[0]!.prompt, made.serve().adapters.choose(query));
  }
  if (done % Math.ceil(users / POINTS) === 0) curve.push(here(done));
}
printCurve('Resident memory over customisations', curve);
await parts.close();
const files = readdirSync(stateDir).filter((name) => name.endsWith('.json'));
const disk = files.reduce((sum, name) => sum + statSync(join(stateDir, name)).size, 0);

const reopening = performance.now();
const again = await open('fixed');
const restartMs = performance.now() - reopening;
const restored = again.customizations!.list().filter(({ problem }) => problem === null).length;
await again.close();

const perQuery = await open('per-query');
const promptCurve = [here(0)];
const active: number[] = [];
for (let done = 1; done <= prompts; done++) {
  const { prompt } = drawn();
  const adapters = perQuery.adapters.choose(new Query({ kind: 'text', text: prompt }));
  active.push(adapters.length);
  await ask(perQuery, `${prompt} ${done}`, adapters);
  if (done % Math.ceil(prompts / POINTS) === 0) promptCurve.push(here(done));
}
printCurve('Resident memory over prompts, each weighed anew', promptCurve);
const { N } = perQuery.pool!.manifest;
await perQuery.close();

const half = curve.slice(Math.floor(curve.length / 2));
const growth = (1024 * (half.at(-1)!.mib - half[0]!.mib)) / (half.at(-1)!.done - half[0]!.done);
const rows: Array<[string, string]> = [
  ['model, pool', `${values.model}, ${N} adapters`],
  ['customisations', `${users}, ${SHOWN} examples each, ${values.combine ?? 'scales'}`],
  ['embedding the examples', msOf(embedding)],
  ['beyond embedding', msOf(beyond)],
  ['of them, processor', msOf(processor)],
  ['memory each, second half', `${growth.toFixed(1)} kB`],
  ['disk each', `${(disk / 1000 / users).toFixed(1)} kB (${(disk / 1e6).toFixed(1)} MB together)`],
  ['after a restart', `${restored} of ${users}, opened in ${(restartMs / 1000).toFixed(1)} s`],
  ['adapters of a prompt', `${percentile(active, 50)} (median), at most ${Math.max(...active)}`],
];
console.log();
for (const [name, value] of rows) console.log(`| ${name.padEnd(24)} | ${value} |`);
const on = machine();
console.log(`\n${machineLine(on)}`);
console.log(
  JSON.stringify({
    ...values,
    N,
    embeddingMs: percentile(embedding, 50),
    beyondMs: percentile(beyond, 50),
    processorMs: percentile(processor, 50),
    growthKb: growth,
    disk,
    restored,
    restartMs,
    curve,
    promptCurve,
    machine: on,
  }),
);
