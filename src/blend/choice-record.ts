/** What crayon.json keeps of a choice by evidence (src/choose): which ways there were, what each was worth, and which was taken. */

import * as z from 'zod';
import { text, whole } from '../files/schema.js';

/** The candidate that adds nothing to the base model. */
export const BARE_MODEL = 'base';

const CANDIDATE = z.object({
  name: text,
  /** mean over the examples, each left out of what its own coefficients were made from; null where time was up before it was tried */
  loss: z.number().nullable(),
  /** mean of the paired differences to the best candidate, and its standard error */
  difference: z.number().nullable(),
  standardError: z.number().nullable(),
  /** examples answered rightly */
  right: whole(0).nullable(),
});

export const CHOICE_RECORD = z.object({
  /** the first, in the order of preference, within one standard error of the best */
  chosenOfAll: text,
  /** written as the adapter: that, or where it weighs the adapters for each prompt the first tie among the others */
  chosen: text,
  /** examples that were left out, one at a time */
  examples: whole(1),
  /** `choices`: -ln of the right one's share of all choices' probability; `tokens`: nats a token of the answer; or some of each */
  evidence: z.enum(['choices', 'tokens', 'both']),
  /** in the order of preference */
  candidates: z.array(CANDIDATE),
});
export type ChoiceRecord = z.output<typeof CHOICE_RECORD>;
