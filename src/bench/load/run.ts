/**
 * The load part of a bench run: patterns of load on a device's server, on devices and over networks. It is that of the first
 * live user, with its blend and the thresholds that were found for it, and is asked that user's prompts; without a live run it
 * is the base model alone.
 */

import { join } from 'node:path';
import { groupBy } from '../../core/stats.js';
import { ensureDirectory } from '../../files/atomic.js';
import { NO_THRESHOLDS, type Thresholds } from '../../routing/signals/index.js';
import { isTooSmall, withDevice } from '../live/device.js';
import { hybridName, liveUsers, type Place } from '../live/plan.js';
import { type LiveRunOptions, withUpstream } from '../live/run.js';
import type { BenchLoad } from '../live/settings.js';
import { prepareUser } from '../live/user.js';
import { cellKey } from '../run-directory.js';
import { asker, type LoadPattern, loadKey, patternName, patternsOf, runLoad } from './load.js';

export interface PlannedLoad {
  key: string;
  place: Place;
  pattern: LoadPattern;
}

/** Devices, then networks, then patterns: those of one place share a server. */
export function planLoad(load: BenchLoad): PlannedLoad[] {
  const places = load.devices.flatMap((device) => load.networks.map((network): Place => ({ device, network })));
  return places.flatMap((place) =>
    patternsOf(load).map((pattern) => ({ key: loadKey(place, pattern), place, pattern })),
  );
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
  const user = liveUsers(config, users)[0] ?? users[0]!;
  const prompts = [...user.test, ...user.shown].map(({ prompt }) => prompt);
  let done = planned.length - missing.length;
  await withUpstream(options, async (context) => {
    const dir = join(context.cacheDir, 'load');
    ensureDirectory(dir);
    const files = config.live && (await prepareUser(user, context, dir));
    const how = {
      dir,
      blend: { adapter: files?.adapter },
      examples: files?.examples,
      pool: files && context.scopePool,
      thresholds: thresholdsOf(options, user.id),
    };
    for (const cells of groupBy(missing, ({ place }) => `${place.device} ${place.network}`).values()) {
      const { place } = cells[0]!;
      try {
        await withDevice(context, { ...how, place }, async ({ client, signal }) => {
          for (const { pattern } of cells) {
            const note = `${patternName(pattern)}, ${place.device}, ${place.network}`;
            const report = (share: number) =>
              onProgress({ stage: 'load', done: done + Math.min(1, share), total: planned.length, note });
            const cell = await runLoad({
              plan: { ...load, pattern, seed: config.seed },
              prompts,
              ask: asker([client], load, config.seed),
              signal,
              labels: place,
              onProgress: (progress) => report(progress.done / (load.requests ?? Number.POSITIVE_INFINITY)),
            });
            directory.writeLoad(cell);
            done++;
          }
        });
      } catch (error) {
        if (!isTooSmall(error, place.device)) throw error;
        notices.push(`Load on ${place.device}: ${error.message}.`);
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
