/** Answers as lines of a file, by which a stopped calibration goes on. */

import * as z from 'zod';
import { text } from '../../files/schema.js';
import type { CollectedRecord } from '../../routing/calibrate/collect.js';
import { recordedSignals } from '../../routing/signals/index.js';
import { CONFIDENCE_MEASURES } from '../../routing/signals/signal.js';

/** A signal's value, of which `toLine` writes as text what JSON cannot hold. One that is newer than the line is null. */
const measured = z
  .union([z.number(), z.enum(['Infinity', '-Infinity', 'NaN'])])
  .transform(Number)
  .nullable()
  .default(null);

export const RECORD = z.object({
  id: text,
  ...recordedSignals(() => measured),
  clusters: z.array(z.number()).nullable().default(null),
  confidences: z.partialRecord(z.enum(CONFIDENCE_MEASURES), measured).optional(),
  edgeCorrect: z.number(),
  serverCorrect: z.number(),
  tokens: z.object({ edge: z.number(), serverPrompt: z.number(), serverCompletion: z.number() }),
  serverCost: z.number(),
  edgeAnswer: z.string(),
  serverAnswer: z.string(),
});

/** JSON has no infinities: an answer without a token has the confidence "-Infinity". */
export function toLine(record: CollectedRecord): object {
  const plain = (x: number | null) => (x === null || Number.isFinite(x) ? x : String(x));
  const confidences = Object.entries(record.confidences ?? {}).map(([measure, x]) => [measure, plain(x)]);
  return {
    ...record,
    ...recordedSignals((name) => plain(record[name] ?? null)),
    confidences: Object.fromEntries(confidences),
  };
}
