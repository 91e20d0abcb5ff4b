/**
 * How sure the device is of its own answer, from the probabilities of the tokens it chose, gathered while they come. Larger
 * is surer, for every measure.
 */

import * as z from 'zod';
import type { GenerateEvent } from '../../engine/types.js';
import type { ConfidenceMeasure, Signal } from './signal.js';

export const confidence = {
  name: 'confidence',
  description: 'In the unit of the measure: below it, the server.',
  stage: 'after-tokens',
  toServer: 'below',
  threshold: z.number(),
  read: (evidence) => ({ confidence: evidence.confidence }),
  title: 'confidence',
  unit: ({ confidence: { measure, tokens } }) => `${measure} of ${tokens ?? 'all'} tokens`,
  doubt: "the device's model is unsure of its answer",
  meaning: (cut) => `confidence is below ${cut}`,
  sendsNothing: -1e9,
  features: {
    confidence: (value: number) => value,
    probability: (value: number, measure: ConfidenceMeasure) =>
      measure === 'mean-logprob' || measure === 'negative-entropy' ? Math.exp(value) : value,
  },
} as const satisfies Signal;

export type TokenEvent = Extract<GenerateEvent, { type: 'token' }>;

/** Whether the measure needs the whole distribution of each token (`GenerateRequest.distribution`), which is slower. */
export function needsDistribution(measure: ConfidenceMeasure): boolean {
  return measure === 'margin' || measure === 'negative-entropy';
}

/** Gathers one answer's confidence. */
export class ConfidenceTracker {
  #seen = 0;
  #sum = 0;
  #smallest = Number.POSITIVE_INFINITY;

  /** @param tokens how many tokens are looked at; null is the whole answer */
  constructor(
    readonly measure: ConfidenceMeasure,
    readonly tokens: number | null,
  ) {}

  /** True when further tokens change nothing. Never, for the whole answer: it is complete when it ends. */
  get complete(): boolean {
    return this.tokens !== null && this.#seen >= this.tokens;
  }

  add(event: TokenEvent): void {
    if (this.complete) return;
    const x = numberOf(event, this.measure);
    this.#seen++;
    this.#sum += x;
    // Math.min keeps a NaN, so one token without a number makes the whole without one.
    this.#smallest = Math.min(this.#smallest, x);
  }

  /**
   * The confidence so far: mean log-probability in nats, smallest probability, mean margin, or mean negative entropy in nats.
   * NaN when a token came without the number that the measure needs. An answer without a token is no answer to be sure of:
   * -Infinity.
   */
  value(): number {
    if (this.#seen === 0) return Number.NEGATIVE_INFINITY;
    return this.measure === 'min-probability' ? Math.exp(this.#smallest) : this.#sum / this.#seen;
  }
}

function numberOf({ logprob, margin, entropy }: TokenEvent, measure: ConfidenceMeasure): number {
  switch (measure) {
    case 'mean-logprob':
    case 'min-probability':
      return logprob ?? Number.NaN;
    case 'margin':
      return margin ?? Number.NaN;
    case 'negative-entropy':
      return entropy === undefined ? Number.NaN : -entropy;
  }
}
