/** What the app is told apart from its parts: limits, log, clock. */

import type { EdgeConfig } from '../config.js';
import type { Logger } from '../log.js';
import type { Metrics } from '../metrics.js';
import type { Guard } from './guard.js';

export interface AppSettings {
  guard: Guard;
  limits: EdgeConfig['limits'];
  routing: Pick<EdgeConfig['routing'], 'mode' | 'modePerRequest'>;
  log: Logger;
  /** whether prompts may be logged, where the mode allows */
  logPrompts: boolean;
  metrics: Metrics;
  /** silence after which a stream gets a comment */
  keepAliveMs: number;
  /** milliseconds since 1970 */
  now: () => number;
  newId: () => string;
}
