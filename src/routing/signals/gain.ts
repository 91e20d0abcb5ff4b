/**
 * What sending a query is worth, once the device has begun its answer: the probability that the server is right about it, by the rates
 * of its clusters (advantage.ts), less the one that the device is, by its own signals (correctness.ts). Sent first is what gains most;
 * the cut is what a query to the server costs, in right answers.
 */

import * as z from 'zod';
import { advantage, DIFFERENCE, WORTH_SENDING } from './advantage.js';
import { correctness } from './correctness.js';
import { type Signal, shown } from './signal.js';

export const gain = {
  name: 'gain',
  description:
    "Success rate of the server in the prompt's clusters less the probability that the device's answer is right, -1 to 1: above it, the server. Needs what advantage and correctness need.",
  stage: 'after-tokens',
  toServer: 'above',
  threshold: z.number(DIFFERENCE).min(-1, DIFFERENCE).max(1, DIFFERENCE),
  madeOf: (config) => {
    const parts = [advantage.madeOf(config), correctness.madeOf(config)];
    return parts.includes(null) ? null : [...new Set([advantage.name, ...parts[1]!, correctness.name])];
  },
  read: ({ signals: { serverRate, correctness } }) => ({ gain: serverRate! - correctness! }),
  title: 'gain',
  unit: () => "probability that the server is right less that the device's answer is",
  doubt: 'the server is likelier to be right',
  explained: (score, relation, cut, { serverRate, correctness }) =>
    `the server is right with probability ${shown(serverRate)} and the device's answer with ${shown(correctness)}: the difference ${shown(score)} is ${relation} the cut ${cut}`,
  meaning: (cut) => `the server is likelier to be right by more than ${cut}`,
  sendsAll: -1,
  neutral: WORTH_SENDING,
} as const satisfies Signal;
