/** The `routing` section of the configuration of `serve-edge`: who answers, by which signals and thresholds. */

import * as z from 'zod';
import { orNull, rate, whole } from '../files/schema.js';
import { THRESHOLD_SHAPE } from '../routing/signals/index.js';
import { CONFIDENCE_MEASURES } from '../routing/signals/signal.js';
import { MODES } from '../routing/types.js';

const weight = z.number().optional();

const correctness = z.strictObject({
  intercept: z.number().default(0).describe('Added to the weighed values.'),
  confidence: weight.describe('Of the confidence as measured.'),
  probability: weight.describe('Of the confidence as a number from 0 to 1.'),
  scope: weight.describe('Of the scope, percentile / 100.'),
  log_scope: weight.describe('Of ln(1 + percentile) of the scope.'),
  success: weight.describe("Of the success rate of the prompt's clusters."),
  complexity: weight.describe('Of the complexity, nats a token.'),
});

const confidence = z.strictObject({
  measure: z
    .enum(CONFIDENCE_MEASURES)
    .default('mean-logprob')
    .describe('How token probabilities become one confidence; larger is surer.'),
  tokens: whole(1)
    .nullable()
    .default(16)
    .describe("The answer's first tokens that are looked at, and held back when streaming. null: the whole answer."),
});

const RISING = 'points of which both numbers rise';
const rises = (knots: number[][]) =>
  knots.every(([x, y], k) => k === 0 || (x! > knots[k - 1]![0]! && y! > knots[k - 1]![1]!));

export const ROUTING_SECTION = z.strictObject({
  mode: z.enum(MODES).default('prefer_on_device').describe('Who answers.'),
  mode_per_request: z
    .boolean()
    .default(true)
    .describe(
      'Whether a request may name another mode (header x-crayon-mode, or "crayon": {"mode": ...} in the body).',
    ),
  thresholds: z
    .strictObject(THRESHOLD_SHAPE)
    .prefault({})
    .describe('null switches a signal off. `crayon calibrate` writes these.'),
  success: orNull(z.array(rate).min(2)).describe(
    'Of each cluster (of `clusters`, else of the pool), in its order, and of queries that are of none, the rate at which the device answers right, 0 to 1. `crayon calibrate` counts them.',
  ),
  server_success: orNull(z.array(rate).min(2)).describe('Likewise, the rate at which the server answers right.'),
  server_shift: z
    .number()
    .default(0)
    .describe('Added to the log-odds of the latter, as correctness_shift to those of the device.'),
  correctness: orNull(correctness).describe(
    'What the probability of a right answer is made of: sigmoid(intercept + weight * value, summed). Weights left out are 0.',
  ),
  correctness_map: orNull(
    z
      .array(z.tuple([rate, rate]))
      .min(2)
      .max(20)
      .refine(rises, RISING),
  ).describe(
    'What that probability is read off: points [by the weights, of a right answer], both rising, joined by lines. null: it stands as it is. `crayon calibrate` fits these.',
  ),
  correctness_shift: z
    .number()
    .default(0)
    .describe(
      'Added to the log-odds of that probability, for a user of whom its calibration has seen nothing. `crayon calibrate --from` fits it.',
    ),
  confidence: confidence.prefault({}).describe('How sure the device is of its own answer.'),
  load: z.boolean().default(true).describe("Send to the server when the device's queue is full."),
  min_free_mb: whole(0)
    .default(0)
    .describe('With load: also while the machine can give less memory than this, in MiB. 0: memory has no say.'),
});
