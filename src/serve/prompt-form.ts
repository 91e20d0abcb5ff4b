/** In which form the server gives the model its prompts: as adapter and pool were trained, or as the configuration says. */

import { adapterForm } from '../blend/prompt-record.js';
import { CrayonError } from '../core/errors.js';
import { choosePromptForm, formText, isSameForm, PLAIN, type PromptForm, refuseOtherForm } from '../hf/prompt-form.js';
import { type Pool, poolForm } from '../pool/pool.js';
import type { EdgeConfig } from './config.js';

export interface ServedForm {
  form: PromptForm;
  /** what the engine puts conversations into: a Jinja template's source, or `plain` */
  chatTemplate: string;
  /** whether the training, or the configuration, says so: else it is what a model like this would be trained in today */
  isKnown: boolean;
  /** first message of conversations without a system message */
  system: string | undefined;
}

/**
 * @param own the model's template, which it is unless the adapter has its own; null where it has none
 * @throws CrayonError `adapter-mismatch` or `pool-mismatch` where they were trained in another form than is asked for or than the
 *   model's template gives, `config-invalid` where adapter and pool differ, `bad-option` for chat without a template
 */
export function servedForm(
  { adapter, model, promptForm: asked }: Pick<EdgeConfig, 'adapter' | 'model' | 'promptForm'>,
  own: string | null,
  pool: Pool | null,
): ServedForm {
  const wanted = { promptForm: asked ?? undefined };
  const ofPool = pool === null ? null : poolForm(pool, { chatTemplate: own }, model);
  if (pool !== null) refuseOtherForm(ofPool!, wanted, pool.dir, 'pool-mismatch');
  if (adapter === null) {
    const form = ofPool ?? choosePromptForm({ chatTemplate: own }, wanted, model);
    return served(form, own);
  }
  const found = adapterForm(adapter, model, own, wanted);
  const { form, chatTemplate, isRecorded } = found;
  if (ofPool === null || isSameForm(form, ofPool))
    return { ...served(form, chatTemplate), isKnown: isRecorded || asked !== null || chatTemplate !== own };
  // One that says nothing of its form and has no template of its own is taken for one of the pool's.
  if (!found.isRecorded && found.chatTemplate === own) return served(ofPool, own);
  throw new CrayonError(
    'config-invalid',
    `adapter ${adapter} wants prompts in form ${formText(found.form)}, pool ${pool!.dir} in ${formText(ofPool)}`,
    { hint: 'One server has one form: leave out adapter or pool, or blend the adapter anew from this pool.' },
  );
}

function served(form: PromptForm, chatTemplate: string | null): ServedForm {
  if (form.kind === 'plain') return { form: PLAIN, chatTemplate: 'plain', isKnown: true, system: undefined };
  return { form, chatTemplate: chatTemplate!, isKnown: true, system: form.system };
}
