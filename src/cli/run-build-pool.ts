/** The work and the words of `crayon build-pool`; loaded only when it runs, because it loads tfjs. */

import { ellipsisFront, formatBytes, formatCount, formatDuration } from '../core/format.js';
import { chooseBackend, releaseBackend } from '../model/backend.js';
import { type BuildResult, buildPool } from '../pool/build.js';
import { type BuildPoolOptions, planBuild } from '../pool/inputs.js';
import type { BackendFlag } from './options.js';
import { stopSignal } from './stop-signal.js';
import type { Terminal } from './terminal.js';

export async function runBuildPool(
  options: BuildPoolOptions,
  wanted: BackendFlag['backend'],
  terminal: Terminal,
): Promise<void> {
  const backend = await chooseBackend(wanted);
  terminal.note(`Back end: ${backend.name} (${backend.detail})`);
  const started = performance.now();
  const stop = stopSignal();
  try {
    const result = await terminal.during(({ update }) =>
      buildPool(options, {
        onProgress: ({ stage, done, total, note }) => update(stage, done, total, note),
        signal: stop.signal,
      }),
    );
    show(result, options, backend.name, performance.now() - started, terminal);
  } finally {
    stop.release();
    releaseBackend();
  }
}

export function runDryRun(options: BuildPoolOptions, terminal: Terminal): void {
  const plan = planBuild(options);
  terminal.document(plan);
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
    ['train', `${formatCount(plan.parameters)} parameters in ${formatCount(plan.steps)} steps (${options.mode})`],
    ['write', `${formatBytes(plan.poolBytes)} to ${options.out}`],
    ['need', `about ${formatBytes(plan.memoryBytes)} of memory`],
  ] as const;
  terminal.print(terminal.colour.bold('A build would'));
  for (const [verb, what] of lines) terminal.print(`  ${verb.padEnd(8)} ${what}`);
}

function show(result: BuildResult, options: BuildPoolOptions, backend: string, ms: number, terminal: Terminal): void {
  const { manifest, nearestPrompts, skipped, truncated, resumed, trainedTokensPerSecond } = result;
  terminal.document({ pool: options.out, backend, ms, skipped, truncated, resumed, trainedTokensPerSecond, manifest });
  const width = Math.max(16, terminal.columns - 62); // what the other columns leave
  terminal.table(
    ['n', 'size', 'tasks', 'loss before', 'after', 'nearest examples'],
    manifest.clusters.map((cluster, n) => [
      String(n),
      formatCount(cluster.size),
      topTasks(cluster.tasks),
      cluster.lossBefore?.toFixed(3) ?? '',
      cluster.lossAfter?.toFixed(3) ?? '',
      nearestPrompts[n]!.slice(0, 2)
        .map((prompt) => ellipsisFront(prompt, width))
        .join('\n'),
    ]),
    ['right', 'right', 'left', 'right', 'right', 'left'],
  );
  const small = manifest.clusters.filter((c) => c.size < 8).length;
  if (small > 0)
    terminal.warn(`${small} of ${manifest.N} clusters have fewer than 8 examples; consider fewer clusters.`);
  if (skipped + truncated > 0)
    terminal.note(`${skipped} examples were skipped and ${truncated} cut at the front (--long).`);
  const silhouette = manifest.silhouette?.toFixed(3) ?? 'unknown';
  terminal.print(
    `\n${terminal.colour.green('Pool written:')} ${options.out} (N = ${manifest.N}, silhouette ${silhouette})`,
  );
  if (manifest.prompt !== undefined) terminal.print('Prompts are conversations through the chat template (form chat).');
  terminal.print(`${formatDuration(ms)}${resumed ? ', continued from a checkpoint' : ''}`);
}

function topTasks(tasks: Record<string, number>): string {
  const entries = Object.entries(tasks);
  const shown = entries.slice(0, 3).map(([name, count]) => `${name} ${count}`);
  return shown.join('\n') + (entries.length > 3 ? `\n+${entries.length - 3} more` : '');
}
