/** How much the prompt surprises the device's model: its mean negative log-likelihood, nats a token. */

import * as z from 'zod';
import type { Signal } from './signal.js';

export const complexity = {
  name: 'complexity',
  description: 'Mean negative log-likelihood of the prompt, nats a token: above it, the server.',
  stage: 'after-prompt',
  toServer: 'above',
  threshold: z.number(),
  read: ({ promptNll }) => ({ complexity: promptNll }),
  title: 'complexity',
  unit: () => 'nats a prompt token',
  doubt: "the prompt surprises the device's model",
  told: (value) => `${value} nats a token`,
  meaning: (cut) => `the prompt's mean negative log-likelihood is above ${cut} nats a token`,
  sendsNothing: 1e9,
  sendsAll: 0,
  features: { complexity: (nats: number) => nats },
} as const satisfies Signal;
