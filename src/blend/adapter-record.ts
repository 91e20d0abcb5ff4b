/** What is recorded of an adapter, by whoever made it: in crayon.json, in its pool, or in a GGUF LoRA's metadata. */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { warn } from '../core/warning.js';
import { exists, isDirectory } from '../files/io.js';
import { readJsonObject, readOptionalJson } from '../files/json.js';
import { checked } from '../files/schema.js';
import { type AdapterBaseName, type AdapterPrompt, readAdapterMetadata } from '../gguf/adapter.js';
import { isGgufPath } from '../gguf/read.js';
import { ADAPTER_RECORD, ADAPTER_RECORD_FILE, type BaseRecord, baseRecord, isOfBase } from '../hf/adapter-record.js';
import type { BaseModel } from '../hf/base-model.js';
import { isCalled, nameForOthers } from '../hf/base-name.js';
import { type PromptRecord, recordedForm, templateDigest } from '../hf/prompt-form.js';
import { readChatTemplate } from '../hf/tokenizer.js';
import { ADAPTER_CONFIG } from '../peft/config.js';
import { isPoolDirectory, openPool } from '../pool/pool.js';

export interface AdapterRecord {
  /** its prompts; null where nothing is recorded of them */
  prompt: PromptRecord | null;
  /** a chat template of its own */
  template: string | null;
  /** its base model; null where only the name is known, or nothing */
  base: BaseRecord | null;
  /** what its maker calls the base model */
  baseName: string | null;
}

const PLAIN_RECORD: PromptRecord = { form: 'plain' };
const UNKNOWN: AdapterRecord = { prompt: null, template: null, base: null, baseName: null };

/**
 * @param adapter a PEFT directory or a GGUF LoRA
 * @throws CrayonError `adapter-invalid` for a crayon.json that is none, `gguf-invalid`
 */
export function readAdapterRecord(adapter: string): AdapterRecord {
  if (isDirectory(adapter)) return ofDirectory(adapter);
  if (!isGgufPath(adapter)) return UNKNOWN; // whoever opens it says what is wrong with it
  const { prompt, base, baseName } = readAdapterMetadata(adapter);
  const found = { base: base ?? null, baseName: baseName ?? null };
  if (prompt === undefined) return { ...found, prompt: null, template: null };
  const { template, system } = prompt;
  if (template === null) return { ...found, prompt: PLAIN_RECORD, template };
  return { ...found, prompt: { form: 'chat', templateSha256: templateDigest(template), system }, template };
}

/** By the blend or the build that made it, or by the pool that it is a member of. Those of before there was a choice are plain. */
function ofDirectory(adapter: string): AdapterRecord {
  const named = readOptionalJson(join(adapter, ADAPTER_CONFIG))?.base_model_name_or_path;
  const baseName = typeof named === 'string' && named !== '' ? named : null;
  const found = { ...UNKNOWN, template: readChatTemplate(adapter), baseName };
  const path = join(adapter, ADAPTER_RECORD_FILE);
  if (exists(path)) {
    const { prompt = PLAIN_RECORD, base = null } = checked(ADAPTER_RECORD, readJsonObject(path), {
      where: path,
      code: 'adapter-invalid',
    });
    return { ...found, prompt, base };
  }
  const pool = join(adapter, '..', '..');
  if (!isPoolDirectory(pool)) return found;
  const { prompt = PLAIN_RECORD, base } = openPool(pool).manifest;
  return { ...found, prompt, base: baseRecord(base) };
}

/**
 * The form that an adapter's directory records, as a GGUF LoRA keeps it; undefined where it says nothing.
 *
 * @param base where the template is looked for that the adapter does not have beside it
 * @throws CrayonError `adapter-mismatch` where that is another one
 */
export function recordedPrompt(adapter: string, base: BaseModel): AdapterPrompt | undefined {
  const { prompt, template } = readAdapterRecord(adapter);
  if (prompt === null) return template === null ? undefined : { template };
  if (prompt.form === 'plain') return { template: null };
  const chatTemplate = template ?? base.tokenizer().chatTemplate;
  recordedForm(prompt, { chatTemplate }, { what: adapter, model: base.path, code: 'adapter-mismatch' });
  return { template: chatTemplate, system: prompt.system };
}

/** What an adapter's directory records of its base model, as a GGUF LoRA keeps it. */
export function baseNameOf(adapter: string): AdapterBaseName {
  const { base, baseName } = readAdapterRecord(adapter);
  return { base: base ?? undefined, baseName: baseName === null ? undefined : nameForOthers(baseName) };
}

/**
 * An adapter means something on the base model that it was trained on alone. One of ours is known by its digests; one of another
 * program by what it calls its base model, which may be the same one under another name: a warning then. The same weights in
 * another file format have other digests, so only the names can be compared there too.
 *
 * @param anyBase the user knows: a warning in place of the refusal
 * @throws CrayonError `adapter-mismatch` for a base model, or a tokenizer, that is another one by its digest
 */
export function checkAdapterBase(adapter: string, model: BaseModel, anyBase = false): void {
  const { base, baseName } = readAdapterRecord(adapter);
  const found = base === null ? null : isOfBase(base, model);
  if (found === 'same') return;
  if (found === null) {
    if (baseName === null || isCalled(model, baseName)) return;
    const unsure = base === null ? '' : ', in another file format, so that digests cannot be compared';
    warn(
      `${adapter}: was trained on a base model called ${JSON.stringify(nameForOthers(baseName))}, and ${model.path} is not called ` +
        `so${unsure}. If it is another model, the answers are those of a mixture that nobody trained: give the base model ` +
        'of the training.',
    );
    return;
  }
  const what = found === 'other tokenizer' ? 'tokenizer' : 'base model';
  const problem = `${adapter} was made on another ${what} than ${model.path}`;
  if (anyBase) {
    warn(`${problem}; it is used all the same (any base was asked for).`);
    return;
  }
  const digests =
    found === 'other tokenizer' ? '' : ` (digest ${base!.digest.slice(0, 12)}, here ${model.digest().slice(0, 12)})`;
  const name = baseName === null ? '' : ` "${nameForOthers(baseName)}"`;
  throw new CrayonError('adapter-mismatch', `${problem}${digests}`, {
    hint:
      `Give the base model that it was made on${name}. Where that was updated, build the pool on the new one and blend again. ` +
      'Where it is the same model stored in another way (another quantisation, an edited config.json), --any-base (any_base in the YAML) takes it.',
  });
}
