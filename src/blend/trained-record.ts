/** What crayon.json keeps of a LoRA that was trained from the blend on (from-blend.ts); the blend's coefficients stand beside it. */

import * as z from 'zod';
import { notNegative, whole } from '../files/schema.js';

export const TRAINED_RECORD = z.object({
  rank: whole(1),
  steps: whole(1),
  /** the highest of its schedule */
  learningRate: notNegative,
  batchSize: whole(1),
  /** weight decay towards the blend */
  pull: notNegative,
  seed: whole(0),
  /** the largest relative error of a module where the training began: the blend at this rank, against the exact sum */
  startError: notNegative,
  /** loss of the examples before and after, nats a token */
  before: z.number(),
  after: z.number(),
});
export type TrainedRecord = z.output<typeof TRAINED_RECORD>;
