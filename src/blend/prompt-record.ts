/** In which form an adapter wants its prompts: what its directory says, and whether this model can give them so. */

import { join } from 'node:path';
import * as z from 'zod';
import { exists, isDirectory } from '../files/io.js';
import { readJsonObject } from '../files/json.js';
import { checked } from '../files/schema.js';
import { type AdapterPrompt, readAdapterPrompt } from '../gguf/adapter.js';
import { isGgufPath } from '../gguf/read.js';
import {
  choosePromptForm,
  PROMPT_RECORD,
  type PromptForm,
  type PromptRecord,
  recordedForm,
  refuseOtherForm,
  templateDigest,
  type WantedForm,
} from '../hf/prompt-form.js';
import { readChatTemplate } from '../hf/tokenizer.js';
import { isPoolDirectory, openPool } from '../pool/pool.js';
import { BLEND_FILE } from './blend.js';

const BLEND = z.object({ format: z.literal('crayon-blend'), prompt: PROMPT_RECORD.optional() });
/** What is known of an adapter's prompts: the record, null where there is none, and a chat template of its own. */
interface Known {
  record: PromptRecord | null;
  template: string | null;
}

const PLAIN_RECORD: PromptRecord = { form: 'plain' };

/** @throws CrayonError `adapter-invalid` for a crayon.json that is none, `gguf-invalid` */
function knownOf(adapter: string): Known {
  if (isDirectory(adapter)) return { record: recordOf(adapter), template: readChatTemplate(adapter) };
  if (!isGgufPath(adapter)) return { record: null, template: null }; // whoever opens it says what is wrong with it
  const { template, system } = readAdapterPrompt(adapter) ?? {};
  if (template === undefined) return { record: null, template: null };
  return { record: { form: 'chat', templateSha256: templateDigest(template), system }, template };
}

/**
 * What is recorded in an adapter's directory, by the blend or by the pool that it is a member of; null for an adapter of another
 * program. Blends of before there was a choice are plain.
 */
function recordOf(adapter: string): PromptRecord | null {
  const path = join(adapter, BLEND_FILE);
  if (exists(path)) {
    return checked(BLEND, readJsonObject(path), { where: path, code: 'adapter-invalid' }).prompt ?? PLAIN_RECORD;
  }
  const pool = join(adapter, '..', '..');
  return isPoolDirectory(pool) ? (openPool(pool).manifest.prompt ?? PLAIN_RECORD) : null;
}

/** The chat form that an adapter's directory records, as a GGUF LoRA keeps it; undefined for another, or none. */
export function chatPromptOf(adapter: string): AdapterPrompt | undefined {
  const { record, template } = knownOf(adapter);
  return record?.form === 'chat' && template !== null ? { template, system: record.system } : undefined;
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
  const { record, template } = knownOf(adapter);
  const chatTemplate = template ?? own;
  if (record === null) {
    return { form: choosePromptForm({ chatTemplate }, wanted, model), chatTemplate, isRecorded: false };
  }
  const form = recordedForm(record, { chatTemplate }, { what: adapter, model, code: 'adapter-mismatch' });
  refuseOtherForm(form, wanted, adapter, 'adapter-mismatch');
  return { form, chatTemplate, isRecorded: true };
}
