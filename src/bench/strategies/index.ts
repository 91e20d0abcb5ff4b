/** All ways of customising, in the order of the tables. A line here is all that a new one needs beside its file. */

import { crayon, nearest, random, uniform } from './blends.js';
import { fewShotLora } from './few-shot-lora.js';
import { examplesInContext } from './in-context.js';
import { loraHub, loraHubDelta } from './lorahub.js';
import { oneLora, oneLoraTotal } from './one-lora.js';
import { perQuery } from './per-query.js';
import { base, server } from './plain.js';
import type { Strategy } from './strategy.js';

export const STRATEGIES: readonly Strategy[] = [
  base,
  examplesInContext,
  uniform,
  random,
  nearest,
  oneLora,
  oneLoraTotal,
  fewShotLora,
  loraHub,
  loraHubDelta,
  crayon,
  perQuery,
  server,
];

/** @param name one that a checked configuration has */
export function strategyNamed(name: string): Strategy {
  return STRATEGIES.find((strategy) => strategy.name === name)!;
}
