/** In which form an adapter wants its prompts: what its directory says, and whether this model can give them so. */

import { join } from 'node:path';
import * as z from 'zod';
import { exists, isDirectory } from '../files/io.js';
import { readJsonObject } from '../files/json.js';
import { checked } from '../files/schema.js';
import {
  choosePromptForm,
  PROMPT_RECORD,
  type PromptForm,
  type PromptRecord,
  recordedForm,
  refuseOtherForm,
  type WantedForm,
} from '../hf/prompt-form.js';
import { readChatTemplate } from '../hf/tokenizer.js';
import { isPoolDirectory, openPool } from '../pool/pool.js';
import { BLEND_FILE } from './blend.js';

const BLEND = z.object({ format: z.literal('crayon-blend'), prompt: PROMPT_RECORD.optional() });
const PLAIN_RECORD: PromptRecord = { form: 'plain' };

/**
 * What is recorded of an adapter's prompts, by the blend or by the pool that it is a member of; null for an adapter of another
 * program and for a GGUF LoRA, which say nothing. Blends of before there was a choice are plain.
 *
 * @throws CrayonError `adapter-invalid` for a crayon.json that is none
 */
function recordOf(adapter: string): PromptRecord | null {
  if (!isDirectory(adapter)) return null;
  const path = join(adapter, BLEND_FILE);
  if (exists(path)) {
    return checked(BLEND, readJsonObject(path), { where: path, code: 'adapter-invalid' }).prompt ?? PLAIN_RECORD;
  }
  const pool = join(adapter, '..', '..');
  return isPoolDirectory(pool) ? (openPool(pool).manifest.prompt ?? PLAIN_RECORD) : null;
}

export interface AdapterForm {
  form: PromptForm;
  /** the adapter's own chat template, else the model's; null where neither has one */
  chatTemplate: string | null;
  /** whether the form was recorded, and not chosen now */
  isRecorded: boolean;
}

/**
 * The form for an adapter: as it was trained where it says so, else as asked for, else chat where there is a chat template.
 *
 * @param adapter a PEFT directory or a GGUF LoRA
 * @param model names the model in errors
 * @param own the model's chat template
 * @throws CrayonError `adapter-mismatch` where another form is asked for than it was trained in, or the model has another template
 */
export function adapterForm(adapter: string, model: string, own: string | null, wanted: WantedForm): AdapterForm {
  const record = recordOf(adapter);
  const chatTemplate = (isDirectory(adapter) ? readChatTemplate(adapter) : null) ?? own;
  if (record === null) {
    return { form: choosePromptForm({ chatTemplate }, wanted, model), chatTemplate, isRecorded: false };
  }
  const form = recordedForm(record, { chatTemplate }, { what: adapter, model, code: 'adapter-mismatch' });
  refuseOtherForm(form, wanted, adapter, 'adapter-mismatch');
  return { form, chatTemplate, isRecorded: true };
}
