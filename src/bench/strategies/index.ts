/**
 * All ways of customising, in the order of the tables, and what tables say of them. A line in STRATEGIES is all that a new one
 * needs beside its file.
 */

import { crayon, labelEvidence, loraFromBlend, meanGate, nearest, perQuery, random, uniform } from './blends.js';
import { chosen } from './chosen.js';
import { loraHub, loraHubDelta } from './lorahub.js';
import { oneLora, oneLoraTotal } from './one-lora.js';
import { oracle } from './oracle.js';
import { base, examplesInContext, server } from './plain.js';
import { randomValues } from './random-values.js';
import { retrieved } from './retrieved.js';
import type { Strategy } from './strategy.js';
import { fewShotLora } from './trained.js';
import { wrongUser } from './wrong-user.js';

export const STRATEGIES: readonly Strategy[] = [
  base,
  examplesInContext,
  retrieved,
  uniform,
  random,
  randomValues,
  nearest,
  oneLora,
  oneLoraTotal,
  fewShotLora,
  loraFromBlend,
  loraHub,
  loraHubDelta,
  crayon,
  meanGate,
  labelEvidence,
  wrongUser,
  oracle,
  perQuery,
  chosen,
  server,
];

const known = new Map(STRATEGIES.map((strategy) => [strategy.name, strategy]));

/** @param name one that a checked configuration has */
export function strategyNamed(name: string): Strategy {
  return known.get(name)!;
}

/** Those of the live run. */
const LIVE_TITLES = new Map([
  ['edge-live', 'Device only, over HTTP'],
  ['server-live', 'Server only, over HTTP'],
]);

export function strategyTitle(strategy: string): string {
  return known.get(strategy)?.title ?? LIVE_TITLES.get(strategy) ?? strategy;
}

/** What Crayon is measured against; one LoRA trained on everything in any of its sizes, those of earlier runs too. */
export function isReference(strategy: string): boolean {
  return known.get(strategy)?.role === 'reference' || strategy.startsWith('one-lora-');
}

/** One LoRA before LoraHub, each in the order of its sizes. */
export function compareReferences(a: string, b: string): number {
  const names = [...known.keys()];
  const place = (name: string) => (known.has(name) ? names.indexOf(name) : names.length);
  return place(a) - place(b) || (a < b ? -1 : 1);
}

/** The strategy of the larger model alone. */
export const SERVER = 'server';

/** Strategies whose hybrid curves are drawn when their answers carry routing signals, the first being the headline. */
export const EDGES: readonly string[] = ['crayon', 'per-query', 'base'];

/** Drawn with emphasis. */
export function isCrayon(strategy: string): boolean {
  return known.get(strategy)?.role === 'crayon';
}
