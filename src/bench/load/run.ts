/**
 * The load part of a bench run: patterns of load on a device's server, on devices and over networks. It is that of the first
 * live user, with its blend and the thresholds that were found for it, and is asked that user's prompts; without a live run it
 * is the base model alone.
 */

import { join } from 'node:path';
import { groupBy } from '../../core/stats.js';
import { preciseClock } from '../../engine/clock.js';
import type { ChatClient } from '../../engine/server/chat-client.js';
import { ensureDirectory } from '../../files/atomic.js';
import { NO_THRESHOLDS, type Thresholds } from '../../routing/signals/index.js';
import { isTooSmall, withEdge } from '../live/edge.js';
import { greedyQuestion } from '../live/endpoint.js';
import { hybridName, liveUsers, type Place } from '../live/plan.js';
import { type LiveRunOptions, withUpstream } from '../live/run.js';
import type { BenchLoad } from '../live/settings.js';
import { prepareUser } from '../live/user.js';
import { cellKey, fileName } from '../run-directory.js';
import { type LoadOptions, type LoadPattern, type LoadPlan, patternName, runLoad } from './load.js';

export interface PlannedLoad extends Place {
  key: string;
  pattern: LoadPattern;
}

/** Devices, then networks, then patterns: those of one place share a server. */
export function planLoad(load: BenchLoad): PlannedLoad[] {
  return load.devices.flatMap((device) =>
    load.networks.flatMap((network) =>
      patternsOf(load).map((pattern) => ({ key: loadKey(device, network, pattern), device, network, pattern })),
    ),
  );
}

export function patternsOf({ clients, rates, burstiness }: BenchLoad): LoadPattern[] {
  return [
    ...clients.map((n) => ({ kind: 'closed' as const, clients: n })),
    ...rates.map((rate) => ({ kind: 'open' as const, rate, burstiness })),
  ];
}

export function loadKey(device: string, network: string, pattern: LoadPattern): string {
  const text = pattern.kind === 'closed' ? `closed-${pattern.clients}` : `open-${pattern.rate}-${pattern.burstiness}`;
  return fileName(`${device}--${network}--${text}`);
}

export function planOf(load: BenchLoad, pattern: LoadPattern, seed: number): LoadPlan {
  const { requests, seconds, warmup, goodput } = load;
  return { pattern, requests, durationMs: seconds === null ? null : 1000 * seconds, warmup, seed, limits: goodput };
}

/** Asks a prompt as one user's message. */
export function asker(client: ChatClient, { max_tokens: maxTokens, mode }: BenchLoad): LoadOptions['ask'] {
  const fields = mode === null ? undefined : { crayon: { mode } };
  return (prompt, signal) => client.ask(greedyQuestion(prompt, { form: 'chat', maxTokens, fields }), signal);
}

/**
 * Makes the load cells that are missing.
 *
 * @returns sentences about those that could not be made
 */
export async function runLoadPart(options: LiveRunOptions): Promise<string[]> {
  const { config, directory, users, onProgress } = options;
  const load = config.load!;
  const planned = planLoad(load);
  const missing = planned.filter(({ key }) => !directory.hasLoad(key));
  const notices: string[] = [];
  if (missing.length === 0) return notices;
  const { user } = users.find((one) => liveUsers(config, [one.user]).length > 0) ?? users[0]!;
  const prompts = [...user.test, ...user.shown].map(({ prompt }) => prompt);
  await withUpstream(options, async (context) => {
    const dir = join(context.cacheDir, 'load');
    ensureDirectory(dir);
    const files = config.live === undefined ? null : await prepareUser(user, context, dir);
    const { adapter = null, examples = null } = files ?? {};
    const pool = files === null ? null : context.scopePool;
    const thresholds = thresholdsOf(options, user.id);
    for (const cells of groupBy(missing, ({ device, network }) => `${device} ${network}`).values()) {
      const { device, network } = cells[0]!;
      try {
        await withEdge(
          context,
          { dir, adapter, examples, pool, thresholds, place: { device, network } },
          async ({ client, signal }) => {
            for (const { key, pattern } of cells) {
              const note = `${patternName(pattern)}, ${device}, ${network}`;
              const before = planned.length - missing.length + missing.findIndex((cell) => cell.key === key);
              const cell = await runLoad({
                plan: planOf(load, pattern, config.seed),
                prompts,
                ask: asker(client, load),
                clock: preciseClock,
                signal,
                labels: { key, device, network },
                onProgress: ({ done }) => {
                  const share = Math.min(1, done / (load.requests ?? Number.POSITIVE_INFINITY));
                  onProgress({ stage: 'load', done: before + share, total: planned.length, note });
                },
              });
              directory.writeLoad(cell);
            }
          },
        );
      } catch (error) {
        if (!isTooSmall(error, device)) throw error;
        notices.push(`Load on ${device}: ${error.message}.`);
      }
    }
  });
  return notices;
}

/** What the live run has found for this user; without it nothing is routed. */
function thresholdsOf({ config, directory }: LiveRunOptions, user: string): Thresholds {
  const key = config.live && cellKey(user, hybridName(config.live.share));
  if (key === undefined || !directory.hasCell(key)) return NO_THRESHOLDS;
  return { ...NO_THRESHOLDS, ...(directory.readCell(key).options as Thresholds) };
}
