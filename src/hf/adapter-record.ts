/**
 * crayon.json beside an adapter: which base model it was trained on and in which form its prompts were. Written with every blend
 * and every member of a pool; of adapters of other programs nothing of it is known.
 */

import * as z from 'zod';
import { sha256Text, text } from '../files/schema.js';
import { BASE_FORMATS, type BaseModel } from './base-model.js';
import { PROMPT_RECORD, type PromptRecord } from './prompt-form.js';

export const ADAPTER_RECORD_FILE = 'crayon.json';

/** Which base model: digests are those of `BaseModel`. */
export const BASE_RECORD = z.object({
  digest: sha256Text,
  tokenizerDigest: sha256Text,
  /** How it is stored; a Hugging Face directory where it is left out. */
  format: z.enum(BASE_FORMATS).optional(),
});
export type BaseRecord = z.output<typeof BASE_RECORD>;

/** Files of before there was `base` go on being read. */
export const ADAPTER_RECORD = z.object({
  format: z.enum(['crayon-blend', 'crayon-adapter']),
  /** a name, for messages */
  baseModel: text.optional(),
  base: BASE_RECORD.optional(),
  prompt: PROMPT_RECORD.optional(),
});

/** What is kept of a base model; of a larger record that has these keys too. */
export function baseRecord({ digest, tokenizerDigest, format }: BaseRecord): BaseRecord {
  return { digest, tokenizerDigest, ...(format === undefined || format === 'hf' ? {} : { format }) };
}

/** The text of crayon.json for an adapter that is no blend. */
export function adapterRecordText(baseModel: string, base: BaseRecord, prompt: PromptRecord | undefined): string {
  const record = { format: 'crayon-adapter', version: 1, baseModel, base: baseRecord(base), prompt };
  return `${JSON.stringify(record, null, 2)}\n`;
}

/** Whether a record is of this model; null where it cannot be said, because the model is stored in another format. */
export function isOfBase(record: BaseRecord, model: BaseModel): 'same' | 'other base model' | 'other tokenizer' | null {
  if (model.format !== (record.format ?? 'hf')) return null;
  if (model.digest() !== record.digest) return 'other base model';
  // A GGUF file's digest is of its tokenizer too, whose own takes most of a second for a vocabulary of 262,144.
  if (model.format === 'gguf') return 'same';
  return model.tokenizerDigest() === record.tokenizerDigest ? 'same' : 'other tokenizer';
}
