/** What a long run's results depend on, written beside them: only a run of the same inputs may go on with them. */

import { CrayonError } from '../core/errors.js';
import { isJsonObject, type JsonObject } from './json.js';

/**
 * @param path where the earlier run left its results
 * @param found its fingerprint
 * @param wanted that of the run which would go on
 * @param hint how to get out
 * @throws CrayonError `checkpoint-mismatch` naming every setting that differs, with both values where they are short
 */
export function refuseOtherRun(path: string, found: JsonObject, wanted: JsonObject, hint: string): void {
  const before = flatten(found);
  const now = flatten(wanted);
  const differing = [...new Set([...before.keys(), ...now.keys()])]
    .filter((key) => before.get(key) !== now.get(key))
    .map((key) => `${key}${change(before.get(key), now.get(key))}`);
  if (differing.length === 0) return;
  throw new CrayonError('checkpoint-mismatch', `${path}: left by a run with another ${differing.join(', ')}`, { hint });
}

/** Settings by their paths, `training.epochs`, as the JSON texts they have in a file; what is undefined is left out. */
function flatten(settings: JsonObject, prefix = ''): Map<string, string> {
  const flat = new Map<string, string>();
  for (const [key, value] of Object.entries(settings)) {
    if (isJsonObject(value)) for (const [path, text] of flatten(value, `${prefix}${key}.`)) flat.set(path, text);
    else if (value !== undefined) flat.set(prefix + key, JSON.stringify(value, byName));
  }
  return flat;
}

/** The order in which an object's keys were written says nothing. */
function byName(_key: string, value: unknown): unknown {
  return isJsonObject(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
}

/** ` (0, now 7)`; nothing for digests and other long values, which tell a reader nothing. */
function change(before = 'none', now = 'none'): string {
  return Math.max(before.length, now.length) > 40 ? '' : ` (${before}, now ${now})`;
}
