/** The work and the words of `crayon build-pool`; loaded only when it runs, because it loads tfjs. */

import { ellipsisFront, formatBytes, formatCount, formatDuration } from '../core/format.js';
import { chooseBackend, releaseBackend } from '../model/backend.js';
import { type BuildResult, buildPool, writeTrainingJob } from '../pool/build.js';
import type { BuildHooks, BuildPoolOptions } from '../pool/inputs.js';
import { planBuild } from '../pool/plan.js';
import { openPool, type PoolManifest } from '../pool/pool.js';
import type { TrainerOptions } from '../pool/trainers/options.js';
import { pythonVersions, trainerScript } from '../pool/trainers/torch/python.js';
import type { BackendFlag } from './options.js';
import { stopSignal } from './stop-signal.js';
import type { Terminal } from './terminal.js';

export async function runBuildPool(
  options: BuildPoolOptions,
  wanted: BackendFlag['backend'],
  terminal: Terminal,
): Promise<void> {
  const started = performance.now();
  await onBackend(wanted, terminal, async (backend, hooks) => {
    const result = await terminal.during(({ update }) =>
      buildPool(options, {
        ...hooks,
        onProgress: ({ stage, done, total, note }) => update(stage, done, total, note),
      }),
    );
    show(result, options, backend, performance.now() - started, terminal);
  });
}

/** `--job-only`: says how the job is run by hand. */
export async function runJobOnly(
  options: BuildPoolOptions,
  wanted: BackendFlag['backend'],
  terminal: Terminal,
): Promise<void> {
  await onBackend(wanted, terminal, async (_, hooks) => {
    const {
      dir,
      totalSteps: ofLast,
      general,
    } = await terminal.during(({ update }) =>
      writeTrainingJob(options, {
        ...hooks,
        onProgress: ({ stage, done, total, note }) => update(stage, done, total, note),
      }),
    );
    const totalSteps = ofLast + (general?.totalSteps ?? 0);
    const script = trainerScript();
    terminal.document({ job: dir, script, steps: totalSteps });
    terminal.print(`${terminal.colour.green('Job written:')} ${dir} (${formatCount(totalSteps)} steps)`);
    terminal.print(`Run it here or on another machine, with --base DIR where the base model is elsewhere there:`);
    terminal.print(`  python ${script} --job ${dir}`);
    terminal.print(
      `Then repeat this command without --job-only, with state and scores in that directory${general === undefined ? '' : ', and state in its general/'}.`,
    );
  });
}

/** Work on a back end, which ends with a checkpoint at Ctrl-C. */
export async function onBackend(
  wanted: BackendFlag['backend'],
  terminal: Terminal,
  work: (backend: string, hooks: BuildHooks) => Promise<void>,
): Promise<void> {
  const backend = await chooseBackend(wanted);
  terminal.note(`Back end: ${backend.name} (${backend.detail})`);
  const stop = stopSignal();
  try {
    await work(backend.name, { signal: stop.signal });
  } finally {
    stop.release();
    releaseBackend();
  }
}

export async function runDryRun(
  options: BuildPoolOptions,
  wanted: BackendFlag['backend'],
  terminal: Terminal,
): Promise<void> {
  const { name: backend, detail } = await chooseBackend(wanted);
  terminal.note(`Back end: ${backend} (${detail})`);
  const plan = await planBuild(options);
  releaseBackend();
  const trainer = options.trainer?.name === 'torch' ? await describeTorch(options.trainer) : undefined;
  terminal.document({ backend, ...plan, ...(trainer && { trainer }) });
  const clusters = options.clusters === 'auto' ? 'chosen by silhouette, at most ' : '';
  const left = `${plan.skipped} skipped, ${plan.truncated} truncated`;
  const lines = [
    [
      'form',
      `prompts are ${plan.promptForm === 'chat' ? "conversations through the model's chat template" : 'plain text'}`,
    ],
    ['read', `${formatCount(plan.examples)} examples, ${formatCount(plan.tokens)} tokens (longest ${plan.longest})`],
    ...(plan.skipped + plan.truncated > 0 ? [['', left]] : []),
    ['embed', `by ${options.embedding}`],
    ['cluster', `into N = ${clusters}${plan.maxClusters}`],
    ...(plan.general === undefined
      ? []
      : [
          [
            'first',
            `train a general adapter: ${formatCount(plan.general.parameters)} parameters in ${formatCount(plan.general.steps)} steps`,
          ],
        ]),
    ['train', `${formatCount(plan.parameters)} parameters in ${formatCount(plan.steps)} steps (${options.mode})`],
    ...(plan.joint === undefined
      ? []
      : [['then', `train all of them together for ${formatCount(plan.joint.steps)} steps`]]),
    ...(trainer === undefined ? [] : [['by', trainer.words]]),
    ['write', `${formatBytes(plan.poolBytes)} to ${options.out}`],
    ...(plan.memoryBytes === null || plan.seconds === null
      ? []
      : [
          ['need', `${formatBytes(plan.memoryBytes)} of memory, as two steps took it`],
          ['take', `about ${formatDuration(1000 * plan.seconds)} to train, at the speed of two steps`],
        ]),
  ] as const;
  terminal.print(terminal.colour.bold('A build would'));
  for (const [verb, what] of lines) terminal.print(`  ${verb.padEnd(8)} ${what}`);
}

/** What would train. @throws CrayonError `trainer-unavailable` */
async function describeTorch({ python, dtype, processes }: TrainerOptions) {
  const versions = await pythonVersions(python);
  const shared = processes > 1 ? `, ${processes} processes` : '';
  const words = `PyTorch ${versions.torch} and transformers ${versions.transformers} of ${python}, ${dtype}${shared}`;
  return { python, dtype, processes, versions, words };
}

export function show(
  result: BuildResult,
  { out }: Pick<BuildPoolOptions, 'out'>,
  backend: string,
  ms: number,
  terminal: Terminal,
): void {
  const { manifest, nearestPrompts, skipped, truncated, resumed, trainedTokensPerSecond } = result;
  terminal.document({ pool: out, backend, ms, skipped, truncated, resumed, trainedTokensPerSecond, manifest });
  showClusters(manifest, nearestPrompts, terminal);
  if (skipped + truncated > 0)
    terminal.note(`${skipped} examples were skipped and ${truncated} cut at the front (--long).`);
  sayWritten(manifest, out, terminal);
  terminal.print(`${formatDuration(ms)}${resumed ? ', continued from a checkpoint' : ''}`);
}

/** A pool that other processes have built: its examples by their ids. @param more of the document */
export function showPool(out: string, more: object, ms: number, terminal: Terminal): void {
  const { manifest } = openPool(out);
  terminal.document({ pool: out, ...more, ms, manifest });
  showClusters(
    manifest,
    manifest.clusters.map(({ nearest }) => nearest),
    terminal,
  );
  sayWritten(manifest, out, terminal);
  terminal.print(formatDuration(ms));
}

function showClusters(manifest: PoolManifest, nearest: readonly string[][], terminal: Terminal): void {
  const width = Math.max(16, terminal.columns - 62); // what the other columns leave
  terminal.table(
    ['n', 'size', 'tasks', 'loss before', 'after', 'nearest examples'],
    manifest.clusters.map((cluster, n) => [
      String(n),
      formatCount(cluster.size),
      topTasks(cluster.tasks),
      cluster.lossBefore?.toFixed(3) ?? '',
      cluster.lossAfter?.toFixed(3) ?? '',
      nearest[n]!.slice(0, 2).map((prompt) => ellipsisFront(prompt, width)),
    ]),
    ['right', 'right', 'left', 'right', 'right', 'left'],
  );
  if (manifest.general !== undefined) {
    const { r, steps, firstLoss, lastLoss } = manifest.general;
    terminal.print(`general adapter: rank ${r}, ${formatCount(steps)} steps, loss ${firstLoss} to ${lastLoss}`);
  }
  const small = manifest.clusters.filter((c) => c.size < 8).length;
  if (small > 0)
    terminal.warn(`${small} of ${manifest.N} clusters have fewer than 8 examples; consider fewer clusters.`);
}

function sayWritten(manifest: PoolManifest, out: string, terminal: Terminal): void {
  const silhouette = manifest.silhouette?.toFixed(3) ?? 'unknown';
  terminal.print(`\n${terminal.colour.green('Pool written:')} ${out} (N = ${manifest.N}, silhouette ${silhouette})`);
  if (manifest.prompt !== undefined) terminal.print('Prompts are conversations through the chat template (form chat).');
}

function topTasks(tasks: Record<string, number>): string[] {
  const entries = Object.entries(tasks);
  const shown = entries.slice(0, 3).map(([name, count]) => `${name} ${count}`);
  return entries.length > 3 ? [...shown, `+${entries.length - 3} more`] : shown;
}
