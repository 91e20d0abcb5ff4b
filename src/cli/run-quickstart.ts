/** The work and the words of `crayon quickstart`; loaded only when it runs, because it loads tfjs. */

import { cpus } from 'node:os';
import { join } from 'node:path';
import { blendPool } from '../blend/blend-pool.js';
import type { Estimator } from '../blend/coefficients.js';
import { ellipsis, formatDuration } from '../core/format.js';
import { type Example, loadDataset } from '../data/dataset.js';
import { ensureDirectory, writeFileAtomic } from '../files/atomic.js';
import { shippedPath } from '../files/package-root.js';
import { HfModel } from '../hf/model.js';
import { loadTokenizer, type Tokenizer } from '../hf/tokenizer.js';
import { chooseBackend, measureMatMul, releaseBackend } from '../model/backend.js';
import type { BackendName } from '../model/backend-names.js';
import { LlamaModel } from '../model/llama.js';
import { buildPool } from '../pool/build.js';
import { poolGates } from '../pool/gate.js';
import { loadAdapterLora } from '../train/adapter-lora.js';
import { answerPrompt } from '../train/answer.js';
import type { EvaluationLora } from '../train/evaluate.js';
import { scoreExamples } from '../train/score.js';
import { recognisePath } from './inspect/recognise.js';
import { POOL_SETTINGS, TRAIN_FILE, USERS, type User } from './quickstart-plan.js';
import type { ProgressDisplay, Terminal } from './terminal.js';

export interface QuickstartFlags {
  work: string;
  perTask: number;
  test: number;
  seed: number;
  fresh: boolean;
  backend: BackendName | 'auto';
}

/** A loaded base model with what is needed to score on it. */
interface Base {
  dir: string;
  source: HfModel;
  model: LlamaModel;
  tokenizer: Tokenizer;
}

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
  const progress = terminal.progress();
  const base = openBase(shippedPath('models', 'crayon-edge'));
  try {
    // 2) two pools: N base LoRAs, and one LoRA on everything as the control
    const pool = join(flags.work, 'pool');
    const single = join(flags.work, 'one-lora');
    await ensurePool(pool, POOL_SETTINGS.clusters, flags, progress, 'pool');
    await ensurePool(single, 1, flags, progress, 'one LoRA');

    // 3) three users
    const results: UserResult[] = [];
    for (const user of USERS) results.push(await playUser(user, base, pool, single, flags, progress));
    progress.end();

    // 4) one prompt
    const demo = await answerOne(base, join(flags.work, USERS[0]!.name, 'similarity'), USERS[0]!, flags);
    const ms = performance.now() - started;
    terminal.document({ machine, ms, work: flags.work, results, demo });
    showResults(results, demo, terminal);
    terminal.print(`\n${machine}; ${formatDuration(ms)} in all.`);
    terminal.print(
      `Try it: crayon blend --pool ${pool} --examples ${join(flags.work, USERS[0]!.name, 'examples.jsonl')} --out mine`,
    );
  } catch (error) {
    progress.end(true);
    throw error;
  } finally {
    base.model.dispose();
    base.source.close();
    releaseBackend();
  }
}

function openBase(dir: string): Base {
  const source = HfModel.open(dir);
  return { dir, source, model: new LlamaModel(source), tokenizer: loadTokenizer(dir) };
}

async function ensurePool(
  out: string,
  clusters: number,
  flags: QuickstartFlags,
  progress: ProgressDisplay,
  name: string,
): Promise<void> {
  if (!flags.fresh && exists(out)) {
    progress.update(`${name}: found in ${out}`, 1, 1);
    return;
  }
  await buildPool(
    {
      ...POOL_SETTINGS,
      model: shippedPath('models', 'crayon-edge'),
      data: [shippedPath('suite', TRAIN_FILE)],
      limit: flags.perTask,
      out,
      clusters,
      seed: flags.seed,
      force: true,
      fresh: flags.fresh,
    },
    { onProgress: ({ stage, done, total, note }) => progress.update(`${name}: ${stage}`, done, total, note) },
  );
}

function exists(dir: string): boolean {
  try {
    return recognisePath(dir) === 'pool';
  } catch {
    return false;
  }
}

async function playUser(
  user: User,
  base: Base,
  pool: string,
  single: string,
  flags: QuickstartFlags,
  progress: ProgressDisplay,
): Promise<UserResult> {
  const { source, model, tokenizer } = base;
  const dir = join(flags.work, user.name);
  const load = (split: string, count: number) =>
    user.tasks.flatMap(
      (task) =>
        loadDataset(shippedPath('suite', `${task}.yaml`), {
          split,
          limit: Math.floor(count / user.tasks.length),
          seed: flags.seed,
        }).examples,
    );
  const shown = load('heldout', 10);
  const test = load('test', flags.test);
  const file = join(dir, 'examples.jsonl');
  ensureDirectory(dir);
  writeFileAtomic(file, shown.map(({ prompt, completion }) => `${JSON.stringify({ prompt, completion })}\n`).join(''));

  const scores: UserResult['scores'] = [];
  const score = async (strategy: string, lora?: EvaluationLora) => {
    const maxLength = source.config.maxPositionEmbeddings;
    const report = await scoreExamples({
      model,
      tokenizer,
      examples: test,
      maxLength,
      lora,
      onProgress: (done, total) => progress.update(`${user.name}: score ${strategy}`, done, total),
    });
    scores.push({ strategy, accuracy: report.correct });
  };
  const blend = (estimator: Estimator) =>
    blendPool({
      pool,
      examples: file,
      model: base.dir,
      out: join(dir, estimator),
      estimator,
      combine: 'cat',
      dtype: 'F32',
      long: 'truncate',
      force: true,
    });

  await score('base');
  await blend('uniform');
  await score('uniform', loadAdapterLora(join(dir, 'uniform'), source));
  await blend('nearest');
  await score('nearest', loadAdapterLora(join(dir, 'nearest'), source));
  await score('one LoRA', loadAdapterLora(join(single, 'adapters', '0'), source));
  const { coefficients, totalMs } = await blend('similarity');
  await score('Crayon', loadAdapterLora(join(dir, 'similarity'), source));
  await score('per query', await poolGates(pool, source, model, tokenizer, test));
  return { user, scores, blendMs: totalMs, coefficients };
}

interface Demo {
  prompt: string;
  expected: string;
  base: string;
  blend: string;
}

async function answerOne(base: Base, adapter: string, user: User, { seed }: QuickstartFlags): Promise<Demo> {
  const [example] = loadDataset(shippedPath('suite', `${user.tasks[0]}.yaml`), { split: 'test', limit: 1, seed })
    .examples as [Example];
  const { model, tokenizer, source } = base;
  return {
    prompt: example.prompt,
    expected: example.completion,
    base: await answerPrompt(model, tokenizer, example.prompt),
    blend: await answerPrompt(model, tokenizer, example.prompt, { lora: loadAdapterLora(adapter, source) }),
  };
}

function showResults(results: UserResult[], demo: Demo, terminal: Terminal): void {
  const { bold, dim } = terminal.colour;
  const strategies = results[0]!.scores.map((s) => s.strategy);
  terminal.print(bold('Accuracy on held-out test examples, in per cent'));
  terminal.print(
    dim(
      'base: no adapter; uniform: all adapters alike; nearest: one adapter of the pool; one LoRA: trained on everything;',
    ),
  );
  terminal.print(dim('Crayon: the blend from ten examples; per query: the mixture chosen for each prompt'));
  terminal.table(
    ['user', ...strategies, 'blend'],
    results.map(({ user, scores, blendMs }) => {
      const best = Math.max(...scores.map((s) => s.accuracy));
      const cells = scores.map(({ accuracy }) => {
        const text = (100 * accuracy).toFixed(1);
        return accuracy === best ? bold(text) : text;
      });
      return [`${user.title}\n${dim(user.tasks.join(' + '))}`, ...cells, formatDuration(blendMs)];
    }),
    ['left', ...strategies.map(() => 'right' as const), 'right'],
  );
  terminal.print(`\n${bold('One prompt')}  ${ellipsis(demo.prompt, 110)}`);
  terminal.print(`  right answer  ${demo.expected.trim()}`);
  terminal.print(`  base          ${ellipsis(demo.base, 80)}`);
  terminal.print(`  blend         ${ellipsis(demo.blend, 80)}`);
}
