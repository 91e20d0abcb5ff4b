/**
 * Whether an adapter that was trained elsewhere can be a member of a pool, and its directory there: weights byte for byte, a
 * configuration that names the pool's base model and no place of somebody's machine, and the form of the pool's prompts beside them.
 */

import { join } from 'node:path';
import { CrayonError } from '../../core/errors.js';
import { ensureDirectory, writeFileAtomic } from '../../files/atomic.js';
import { copyTree } from '../../files/copy-tree.js';
import { exists } from '../../files/io.js';
import { readJsonObject, writeJson } from '../../files/json.js';
import { checked } from '../../files/schema.js';
import {
  ADAPTER_RECORD,
  ADAPTER_RECORD_FILE,
  adapterRecordText,
  baseRecord,
  isOfBase,
} from '../../hf/adapter-record.js';
import type { BaseModel } from '../../hf/base-model.js';
import { isCalled, nameForOthers } from '../../hf/base-name.js';
import { type PromptRecord, templateDigest } from '../../hf/prompt-form.js';
import { CHAT_TEMPLATE, readChatTemplate } from '../../hf/tokenizer.js';
import { ADAPTER_CONFIG } from '../../peft/config.js';
import { ADAPTER_WEIGHTS, openPeftAdapter, type PeftAdapter } from '../../peft/read.js';
import { writePeftAdapter } from '../../peft/write.js';
import { fittingModules } from '../../train/adapter-lora.js';
import type { PoolManifest } from '../pool.js';

/** What a pool wants of its members. */
export interface Admission {
  base: BaseModel;
  /** as the manifest names it */
  baseName: string;
  prompt: PromptRecord | undefined;
  /** of form chat */
  template: string | null;
  anyBase?: boolean | undefined;
}

export interface Admitted {
  /** open; the caller closes it */
  adapter: PeftAdapter;
  /** what is not refused and should be known */
  notices: string[];
  put(dir: string): void;
}

/**
 * @throws CrayonError what opening a PEFT directory throws (DoRA, biases, other initialisations and tensors by name), `adapter-mismatch`
 *   for modules or shapes that the base model does not have, another base model, tokenizer or prompt form, `adapter-unsupported` for
 *   trained weights beside the LoRA, `tensor-not-finite`
 */
export function admitAdapter(dir: string, wanted: Admission): Admitted {
  const adapter = openPeftAdapter(dir, { copies: 'later' });
  try {
    adapter.compareCopies(wanted.base);
    fittingModules([adapter], wanted.base);
    adapter.validate();
    const notices = [...baseNotices(adapter, wanted), ...formNotices(dir, wanted)];
    return { adapter, notices, put: (to) => putAdapter(adapter, to, wanted) };
  } catch (error) {
    adapter.close();
    throw error;
  }
}

function recordOf(dir: string) {
  const path = join(dir, ADAPTER_RECORD_FILE);
  if (!exists(path)) return null;
  return checked(ADAPTER_RECORD, readJsonObject(path), { where: path, code: 'adapter-invalid' });
}

/** By its digest where crayon made it, else by the name that its trainer gave the base model. */
function baseNotices({ dir, config }: PeftAdapter, { base, anyBase = false }: Admission): string[] {
  const record = recordOf(dir)?.base;
  const found = record === undefined ? null : isOfBase(record, base);
  if (found === 'same') return [];
  if (found !== null) {
    const problem = `${dir}: was trained on another ${found === 'other tokenizer' ? 'tokenizer' : 'base model'} than ${base.path}`;
    if (anyBase) return [`${problem}; it is taken all the same (any base was asked for).`];
    throw new CrayonError('adapter-mismatch', problem, {
      hint: 'Only adapters of one base model can be mixed. Where it is the same model stored in another way, --any-base takes it.',
    });
  }
  const { baseModel } = config;
  if (baseModel === null || isCalled(base, baseModel)) return [];
  const called = JSON.stringify(nameForOthers(baseModel));
  return [
    `${dir}: was trained on a base model called ${called}, which ${base.path} is not called; its shapes fit. If it is another model, ` +
      'its blends are mixtures that nobody trained.',
  ];
}

function formNotices(dir: string, { prompt }: Admission): string[] {
  const record = recordOf(dir);
  const wanted = prompt?.form ?? 'plain';
  const template = readChatTemplate(dir);
  const found = record?.prompt?.form ?? (record !== null ? 'plain' : template !== null ? 'chat' : null);
  if (found === null) {
    return [`${dir}: does not say in which form its prompts were; it is taken for the pool's, ${wanted}.`];
  }
  const isOtherTemplate = found === 'chat' && template !== null && templateDigest(template) !== prompt?.templateSha256;
  if (found === wanted && !isOtherTemplate) return [];
  const what = found === wanted ? 'through another chat template' : `on ${found} prompts`;
  throw new CrayonError('adapter-mismatch', `${dir}: was trained ${what}, the pool has form ${wanted}`, {
    hint: 'What was trained in one form is not given prompts in another: put it into a pool of its own form.',
  });
}

function putAdapter(adapter: PeftAdapter, to: string, { base, baseName, prompt, template }: Admission): void {
  const { dir, config, modules, copies } = adapter;
  const record = adapterRecordText(baseName, baseRecord(digestsOf(base)), prompt);
  if (copies.length > 0) {
    // copies of the base's own weights, which no reader of a pool's members wants
    writePeftAdapter(to, {
      baseModel: baseName,
      r: config.r,
      loraAlpha: config.loraAlpha,
      targetModules: modules.map(({ name }) => name),
      rankPattern: Object.fromEntries(modules.map(({ name, r }) => [name, r])),
      alphaPattern: Object.fromEntries(modules.map(({ name, r, scale }) => [name, r * scale])),
      modules: modules.map((module) => ({
        ...module,
        a: () => adapter.readA(module),
        b: () => adapter.readB(module),
      })),
    });
  } else {
    ensureDirectory(to);
    copyTree(join(dir, ADAPTER_WEIGHTS), join(to, ADAPTER_WEIGHTS));
    writeJson(join(to, ADAPTER_CONFIG), {
      ...readJsonObject(join(dir, ADAPTER_CONFIG)),
      base_model_name_or_path: baseName,
    });
  }
  writeFileAtomic(join(to, ADAPTER_RECORD_FILE), record);
  if (template !== null) writeFileAtomic(join(to, CHAT_TEMPLATE), template);
}

export const digestsOf = (base: BaseModel) => ({
  digest: base.digest(),
  tokenizerDigest: base.tokenizerDigest(),
  format: base.format,
});

/** Of a pool that is there. */
export function admissionOf(
  { base: { name }, prompt }: Pick<PoolManifest, 'base' | 'prompt'>,
  base: BaseModel,
  template: string | null,
  anyBase: boolean | undefined,
): Admission {
  return { base, baseName: name, prompt, template, anyBase };
}
