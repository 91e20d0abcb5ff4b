/** In which form an adapter wants its prompts: what its directory says, and whether this model can give them so. */

import { warn } from '../core/warning.js';
import {
  choosePromptForm,
  type PromptForm,
  recordedForm,
  refuseOtherForm,
  type WantedForm,
} from '../hf/prompt-form.js';
import { readAdapterRecord } from './adapter-record.js';

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
  const { prompt: record, template } = readAdapterRecord(adapter);
  const chatTemplate = template ?? own;
  if (record === null) {
    if (wanted.promptForm === undefined && template === null && chatTemplate !== null) {
      warn(
        `${adapter}: does not say in which form its prompts were; they go through the chat template of ${model}. Where it was ` +
          'trained on plain text give prompt form plain, else chat to settle it (--prompt-form, prompt_form).',
      );
    }
    return { form: choosePromptForm({ chatTemplate }, wanted, model), chatTemplate, isRecorded: false };
  }
  const form = recordedForm(record, { chatTemplate }, { what: adapter, model, code: 'adapter-mismatch' });
  refuseOtherForm(form, wanted, adapter, 'adapter-mismatch');
  return { form, chatTemplate, isRecorded: true };
}
