/**
 * The load part of a bench run: patterns of load on an edge server, on devices and over networks. The edge is that of the
 * first live user, with its blend and the thresholds that were found for it, and is asked that user's prompts; without a
 * live run it is the base model alone.
 */

import { join } from 'node:path';
import { type CrayonError, isCrayonError } from '../../core/errors.js';
import type { ChatClient, ChatQuestion, TimedAnswer } from '../../engine/server/chat-client.js';
import { preciseClock } from '../../engine/server/chat-client.js';
import { ensureDirectory } from '../../files/atomic.js';
import { NO_THRESHOLDS, type Thresholds } from '../../routing/signals/index.js';
import { findBenchPath } from '../config.js';
import { hybridName, type LiveContext } from '../live/cells.js';
import type { BenchLoad } from '../live/config.js';
import { deviceOf } from '../live/devices.js';
import { startEdge } from '../live/edge.js';
import type { NetworkName } from '../live/network/networks.js';
import { contextOf, type LiveRunOptions, liveUsers, withUpstream } from '../live/run.js';
import { liveCellKey, prepareUser, type UserFiles } from '../live/user.js';
import { groupBy } from '../report/strategies.js';
import type { Cell, LoadCell } from '../types.js';
import { type LoadPattern, type LoadPlan, patternName, runLoad } from './load.js';

interface PlannedLoad {
  key: string;
  device: string;
  network: NetworkName;
  pattern: LoadPattern;
}

/** Devices, then networks, then patterns: those of one place share a server. */
export function plannedLoad({ devices, networks, clients, rates, burstiness }: BenchLoad): PlannedLoad[] {
  const patterns: LoadPattern[] = [
    ...clients.map((n) => ({ kind: 'closed' as const, clients: n })),
    ...rates.map((rate) => ({ kind: 'open' as const, rate, burstiness })),
  ];
  return devices.flatMap((device) =>
    networks.flatMap((network) =>
      patterns.map((pattern) => ({ key: loadKey(device, network, pattern), device, network, pattern })),
    ),
  );
}

export function loadKey(device: string, network: string, pattern: LoadPattern): string {
  const text = pattern.kind === 'closed' ? `closed-${pattern.clients}` : `open-${pattern.rate}-${pattern.burstiness}`;
  return `${device}--${network}--${text}`.replaceAll(/[^A-Za-z0-9._=+-]/g, '_');
}

export function planOf(load: BenchLoad, pattern: LoadPattern, seed: number): LoadPlan {
  const { requests, seconds, warmup, goodput } = load;
  return { pattern, requests, durationMs: seconds === null ? null : 1000 * seconds, warmup, seed, limits: goodput };
}

/** Asks a prompt as one user's message, greedily. */
export function asker(
  client: ChatClient,
  { maxTokens, mode, temperature = 0 }: { maxTokens: number; mode: string | null; temperature?: number },
): (prompt: string, signal: AbortSignal) => Promise<TimedAnswer> {
  return (prompt, signal) => {
    const question: ChatQuestion = {
      prompt: { kind: 'chat', messages: [{ role: 'user', content: prompt.trimEnd() }] },
      maxTokens,
      temperature,
      topP: 1,
      seed: 0,
      stop: [],
      topLogprobs: null,
      ...(mode === null ? {} : { fields: { crayon: { mode } } }),
    };
    return client.ask(question, signal);
  };
}

/** @returns the load cells of the run, and sentences about those that could not be made */
export async function runLoadPart(options: LiveRunOptions): Promise<{ cells: LoadCell[]; notices: string[] }> {
  const { config, directory, users, command, env, signal, onProgress } = options;
  const load = config.load!;
  const planned = plannedLoad(load);
  const missing = planned.filter(({ key }) => !directory.hasLoad(key));
  const notices: string[] = [];
  if (missing.length > 0) {
    const { user } = users.find(({ user }) => liveUsers(config, [user]).length > 0) ?? users[0]!;
    const prompts = [...user.test, ...user.shown].map(({ prompt }) => prompt);
    await withUpstream(options, async (upstream, dir) => {
      const own = join(dir, 'load');
      ensureDirectory(own);
      const context =
        config.live === undefined ? null : contextOf(options, upstream, { ...places(own, dir), pool: options.pool });
      const files = context === null ? null : await prepareUser(user, context.pool, context.base, own);
      const thresholds = thresholdsOf(context, (key) => directory.hasCell(key) && directory.readCell(key), user);
      for (const [, group] of groupBy(missing, ({ device, network }) => `${device} ${network}`)) {
        const { device: name, network } = group[0]!;
        const device = deviceOf(name, config.devices);
        const failure = await loadPlace(group, (edge) => directory.writeLoad(edge.key, edge), {
          start: () =>
            startEdge({
              command,
              dir: own,
              name: 'edge',
              cacheDir: dir,
              upstream,
              seed: config.seed,
              signal,
              device,
              network,
              ...(env === undefined ? {} : { env }),
              base: findBenchPath(config.model),
              ...edgeFiles(files, context),
              thresholds,
              confidence: config.live?.confidence ?? { measure: 'mean-logprob', tokens: 16 },
            }),
          load,
          prompts,
          seed: config.seed,
          signal: signal ?? new AbortController().signal,
          onProgress: (cell, done, total) =>
            onProgress?.({
              stage: 'load',
              done: planned.length - missing.length + missing.indexOf(cell) + Math.min(1, done / total),
              total: planned.length,
              note: `${patternName(cell.pattern)}, ${cell.device}, ${cell.network}`,
            }),
        });
        if (failure !== null) notices.push(`Load on ${name}: ${failure}.`);
      }
    });
  }
  const cells = planned.filter(({ key }) => directory.hasLoad(key)).map(({ key }) => directory.readLoad(key));
  return { cells: cells as unknown as LoadCell[], notices };
}

const places = (dir: string, cacheDir: string) => ({ dir, cacheDir });

function edgeFiles(files: UserFiles | null, context: LiveContext | null) {
  return {
    adapter: files?.adapter ?? null,
    examples: files?.examples ?? null,
    pool: context?.poolScope ? context.pool : null,
  };
}

/** What the live run has found for this user; without it nothing is routed. */
function thresholdsOf(
  context: LiveContext | null,
  read: (key: string) => object | false,
  user: Parameters<typeof liveCellKey>[0],
): Thresholds {
  if (context === null) return NO_THRESHOLDS;
  const cell = read(liveCellKey(user, hybridName(context.live.share)));
  return cell === false ? NO_THRESHOLDS : { ...NO_THRESHOLDS, ...((cell as Cell).options as Thresholds) };
}

interface LoadPlace {
  start: () => ReturnType<typeof startEdge>;
  load: BenchLoad;
  prompts: readonly string[];
  seed: number;
  signal: AbortSignal;
  onProgress: (cell: PlannedLoad, done: number, total: number) => void;
}

/** All patterns on one server. @returns why it could not be, for a device that is too small */
async function loadPlace(
  cells: readonly PlannedLoad[],
  onCell: (cell: LoadCell) => void,
  { start, load, prompts, seed, signal, onProgress }: LoadPlace,
): Promise<string | null> {
  let edge: Awaited<ReturnType<typeof startEdge>> | undefined;
  try {
    edge = await start();
    for (const cell of cells) {
      const { key, device, network, pattern } = cell;
      const measured = await runLoad({
        plan: planOf(load, pattern, seed),
        prompts,
        ask: asker(edge.client, { maxTokens: load.max_tokens, mode: load.mode }),
        clock: preciseClock,
        signal: AbortSignal.any([signal, edge.server.failed]),
        labels: { key, device, network },
        onProgress: ({ done }) => onProgress(cell, done, load.requests ?? Number.POSITIVE_INFINITY),
      });
      onCell(measured);
    }
    return null;
  } catch (error) {
    const reason: unknown = edge?.server.failed.aborted ? edge.server.failed.reason : error;
    if (isCrayonError(reason, 'out-of-memory') && cells[0]!.device !== 'default')
      return (reason as CrayonError).message;
    throw reason;
  } finally {
    await edge?.stop();
  }
}
