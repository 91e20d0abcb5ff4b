/**
 * The work and the words of `crayon quickstart`; loaded only when it runs, because it loads tfjs. What it builds and whom it
 * plays was chosen by the experiments in docs/experiments.md.
 */

import { cpus } from 'node:os';
import { join } from 'node:path';
import { blendPool } from '../blend/blend-pool.js';
import type { Estimator } from '../blend/coefficients.js';
import { ellipsis, formatDuration } from '../core/format.js';
import { loadDataset } from '../data/dataset.js';
import { ensureDirectory, writeFileAtomic } from '../files/atomic.js';
import { shippedPath } from '../files/package.js';
import { HfModel } from '../hf/model.js';
import { chooseBackend, measureMatMul, releaseBackend } from '../model/backend.js';
import { openNetwork } from '../model/open-network.js';
import { buildPool } from '../pool/build.js';
import { poolGates } from '../pool/gate.js';
import { BUILD_DEFAULTS } from '../pool/inputs.js';
import { isPoolDirectory } from '../pool/pool.js';
import { loadAdapterLora } from '../train/adapter-lora.js';
import { answerPrompt } from '../train/answer.js';
import { SCORED_THROUGH } from '../train/completion-score.js';
import type { EvaluationLora } from '../train/evaluate.js';
import { scoreExamples } from '../train/score-forward.js';
import type { BackendFlag } from './options.js';
import type { ProgressDisplay, Terminal } from './terminal.js';

export interface QuickstartFlags extends BackendFlag {
  work: string;
  perTask: number;
  test: number;
  seed: number;
  fresh: boolean;
}

const MODEL = shippedPath('models', 'crayon-edge');

const POOL_SETTINGS = {
  ...BUILD_DEFAULTS,
  model: MODEL,
  data: [shippedPath('suite', 'quickstart.yaml')],
  embedding: 'tfidf',
  r: 4,
  checkpointSeconds: 15,
  training: { ...BUILD_DEFAULTS.training, epochs: 2, batchSize: 16, learningRate: 2.5e-3, loraAlpha: 8 },
  force: true,
};

/** Each with the tasks of the suite that its examples and test come from, in equal parts. */
const USERS = [
  { name: 'seen', title: 'A task the pool has seen', tasks: ['route-bank'] },
  { name: 'mixed', title: 'A mixture of two of its tasks', tasks: ['route-farm', 'intent'] },
  { name: 'unseen', title: 'An unseen task of a kind it has', tasks: ['route-clinic'] },
];
type User = (typeof USERS)[number];

type Base = ReturnType<typeof openBase>;

interface UserResult {
  user: User;
  /** accuracy by strategy, in the order of the table */
  scores: Array<{ strategy: string; accuracy: number }>;
  /** to write the adapter, from pool and examples */
  blendMs: number;
  coefficients: number[];
}

export async function runQuickstart(flags: QuickstartFlags, terminal: Terminal): Promise<void> {
  const started = performance.now();
  // 1) the machine
  const backend = await chooseBackend(flags.backend);
  const gigaflops = await measureMatMul(512, 300);
  const machine = `${cpus()[0]?.model.trim()}, ${cpus().length} threads, Node ${process.version}, back end ${backend.name}`;
  terminal.note(`Back end: ${backend.name} (${backend.detail}), ${gigaflops.toFixed(0)} GFLOP/s`);
  const base = openBase();
  try {
    // 2) two pools: N base LoRAs, and one LoRA on everything as the control
    const pool = join(flags.work, 'pool');
    const single = join(flags.work, 'one-lora');
    const results: UserResult[] = [];
    await terminal.during(async (progress) => {
      await ensurePool(pool, 6, flags, progress, 'pool');
      await ensurePool(single, 1, flags, progress, 'one LoRA');

      // 3) three users
      for (const user of USERS) results.push(await playUser(user, base, pool, single, flags, progress));
    });

    // 4) one prompt
    const [first] = USERS as [User];
    const demo = await answerOne(base, loadAdapterLora(join(flags.work, first.name, 'similarity'), base.source), flags);
    const ms = performance.now() - started;
    terminal.document({ machine, ms, work: flags.work, results, demo });
    showResults(results, demo, terminal);
    terminal.print(`\n${machine}; ${formatDuration(ms)} in all.`);
    const shown = join(flags.work, first.name, 'examples.jsonl');
    terminal.print(`Try it: crayon blend --pool ${pool} --examples ${shown} --out mine`);
  } finally {
    base.model.dispose();
    base.source.close();
    releaseBackend();
  }
}

function openBase() {
  const source = HfModel.open(MODEL);
  return { source, model: openNetwork(source), tokenizer: source.tokenizer() };
}

async function ensurePool(
  out: string,
  clusters: number,
  { fresh, perTask: limit, seed }: QuickstartFlags,
  progress: ProgressDisplay,
  name: string,
): Promise<void> {
  if (!fresh && isPoolDirectory(out)) {
    progress.update(`${name}: found in ${out}`, 1, 1);
    return;
  }
  await buildPool(
    { ...POOL_SETTINGS, limit, out, clusters, seed, fresh },
    { onProgress: ({ stage, done, total, note }) => progress.update(`${name}: ${stage}`, done, total, note) },
  );
}

function examplesOf({ tasks }: User, split: string, count: number, seed: number) {
  const limit = Math.floor(count / tasks.length);
  return tasks.flatMap((task) => loadDataset(shippedPath('suite', `${task}.yaml`), { split, limit, seed }).examples);
}

async function playUser(
  user: User,
  { source, model, tokenizer }: Base,
  pool: string,
  single: string,
  flags: QuickstartFlags,
  progress: ProgressDisplay,
): Promise<UserResult> {
  const dir = join(flags.work, user.name);
  const shown = examplesOf(user, 'heldout', 10, flags.seed);
  const test = examplesOf(user, 'test', flags.test, flags.seed);
  ensureDirectory(dir);
  const lines = shown.map(({ prompt, completion }) => `${JSON.stringify({ prompt, completion })}\n`);
  writeFileAtomic(join(dir, 'examples.jsonl'), lines.join('')); // for the user to blend with

  const scores: UserResult['scores'] = [];
  const score = async (strategy: string, lora?: EvaluationLora) => {
    const maxLength = source.config.maxPositionEmbeddings;
    const onProgress = (done: number, total: number) => progress.update(`${user.name}: score ${strategy}`, done, total);
    const { correct } = await scoreExamples({ model, tokenizer, examples: test, maxLength, lora, onProgress });
    scores.push({ strategy, accuracy: correct });
  };
  const blended = async (strategy: string, estimator: Estimator) => {
    const out = join(dir, estimator);
    const how = { combine: 'cat', dtype: 'F32', long: 'truncate', force: true } as const;
    const result = await blendPool({ pool, examples: shown, model: MODEL, out, estimator, ...how });
    await score(strategy, loadAdapterLora(out, source));
    return result;
  };

  await score('base');
  await blended('uniform', 'uniform');
  await blended('nearest', 'nearest');
  await score('one LoRA', loadAdapterLora(join(single, 'adapters', '0'), source));
  const { coefficients, totalMs } = await blended('Crayon', 'similarity');
  await score('per query', await poolGates(pool, source, model, tokenizer, test));
  return { user, scores, blendMs: totalMs, coefficients };
}

const STRATEGIES = `
base: no adapter; uniform: all adapters alike; nearest: one adapter of the pool; one LoRA: trained on everything;
Crayon: the blend from ten examples; per query: the mixture chosen for each prompt`.trim();

type Demo = Record<'prompt' | 'expected' | 'base' | 'blend', string>;

async function answerOne({ model, tokenizer }: Base, lora: EvaluationLora, { seed }: QuickstartFlags): Promise<Demo> {
  const { prompt, completion } = examplesOf(USERS[0]!, 'test', 1, seed)[0]!;
  return {
    prompt,
    expected: completion,
    base: await answerPrompt(model, tokenizer, prompt),
    blend: await answerPrompt(model, tokenizer, prompt, { lora }),
  };
}

function showResults(results: UserResult[], demo: Demo, terminal: Terminal): void {
  const { bold, dim } = terminal.colour;
  const strategies = results[0]!.scores.map((s) => s.strategy);
  terminal.print(bold(`Accuracy on held-out test examples, in per cent, ${SCORED_THROUGH.forward}`));
  terminal.print(dim(STRATEGIES));
  terminal.table(
    ['user', ...strategies, 'blend'],
    results.map(({ user, scores, blendMs }) => {
      const best = Math.max(...scores.map((s) => s.accuracy));
      const cells = scores.map(({ accuracy }) => (accuracy === best ? bold : String)((100 * accuracy).toFixed(1)));
      return [[user.title, dim(user.tasks.join(' + '))], ...cells, formatDuration(blendMs)];
    }),
    ['left', ...strategies.map(() => 'right' as const), 'right'],
  );
  terminal.print(`\n${bold('One prompt')}  ${ellipsis(demo.prompt, 110)}`);
  terminal.print(`  right answer  ${demo.expected.trim()}`);
  terminal.print(`  base          ${ellipsis(demo.base, 80)}`);
  terminal.print(`  blend         ${ellipsis(demo.blend, 80)}`);
}
