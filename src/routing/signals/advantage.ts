/**
 * How much more often the server is right than the device about queries like this one, known before any work: of both the clusters
 * have rates (success.ts), and a query's advantage is the difference of their means by its gate. What the device gets wrong is worth
 * sending only where the server gets it right. UniRoute (arXiv 2502.08773) compares the rates of its models likewise.
 */

import * as z from 'zod';
import { shifted } from './shifted.js';
import type { Signal } from './signal.js';
import { expectedRate } from './success.js';

export const DIFFERENCE = 'a difference of two probabilities, from -1 to 1';

/** Less than that between two rates of some dozen answers is no difference, and sending costs something whatever it is. */
export const WORTH_SENDING = 0.02;

export const advantage = {
  name: 'advantage',
  description:
    "Rate at which the server answers the queries of the prompt's clusters right less that of the device, -1 to 1: above it, the server. Needs routing.success, routing.server_success and a pool or clusters.",
  stage: 'before-work',
  toServer: 'above',
  threshold: z.number(DIFFERENCE).min(-1, DIFFERENCE).max(1, DIFFERENCE),
  madeOf: ({ success, serverSuccess }) => (success && serverSuccess ? [] : null),
  read: ({ config: { success, serverSuccess, serverShift = 0 }, clusters }) => {
    const alpha = clusters?.() ?? null;
    if (alpha === null) return null;
    const serverRate = shifted(expectedRate(serverSuccess!, alpha), serverShift);
    return { advantage: serverRate - expectedRate(success!, alpha), serverRate };
  },
  also: { serverRate: "success rate of the server in the prompt's clusters" },
  title: 'advantage of the server',
  unit: () => "its success rate less the device's, in the prompt's clusters",
  doubt: 'the server is right about such queries more often',
  meaning: (cut) => `in its clusters the server is right more often by ${cut} than the device`,
  sendsAll: -1,
  neutral: WORTH_SENDING,
} as const satisfies Signal;
