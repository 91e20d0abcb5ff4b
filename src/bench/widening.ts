/** What a run that goes on may ask for beside what it was begun with: more cells of the same users; and keys that came since. */

import { isJsonObject, type JsonObject } from '../files/json.js';
import { BENCH_SCHEMA } from './settings.js';

/** Keys that say which cells there are, and nothing of what is in one. */
const OF_CELLS = ['strategies', 'seeds', 'ablation'] as const;

/**
 * The configuration that a run was begun with, as far as it may not change: where one of these keys now asks for all that it asked for
 * then, and more, it has its value of now.
 */
export function asWidened(begun: JsonObject, now: JsonObject): JsonObject {
  const wider = OF_CELLS.filter((key) => begun[key] !== undefined && covers(now[key], begun[key]));
  return { ...withNewKeys(begun), ...Object.fromEntries(wider.map((key) => [key, now[key]])) };
}

function covers(now: unknown, begun: unknown): boolean {
  if (begun === null) return true;
  if (Array.isArray(begun)) return Array.isArray(now) && begun.every((item) => now.includes(item));
  if (isJsonObject(begun)) return isJsonObject(now) && Object.keys(begun).every((key) => covers(now[key], begun[key]));
  return now === begun;
}

/** With the defaults of keys that the run's configuration lacks: what a run did before a key was there is what it does by its default. */
function withNewKeys(begun: JsonObject): JsonObject {
  const { training, prompt, ...config } = begun;
  const read = BENCH_SCHEMA.safeParse(config);
  return read.success ? { ...read.data, training, prompt } : begun;
}
