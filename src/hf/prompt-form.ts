/**
 * In which form a model is given its prompts, in training, blending, scoring and serving alike: as plain text, prompt and
 * completion one after the other; or as a conversation through the model's chat template. A pool and every blend of it record
 * theirs; what has no record is plain, as all were before there was a choice.
 */

import * as z from 'zod';
import type { ChatMessage } from '../core/chat.js';
import { CrayonError } from '../core/errors.js';
import { sha256 } from '../files/digest.js';
import { sha256Text, text } from '../files/schema.js';
import type { Tokenizer } from './tokenizer.js';

export const PROMPT_FORMS = ['chat', 'plain'] as const;
export type PromptFormName = (typeof PROMPT_FORMS)[number];

export interface ChatForm {
  kind: 'chat';
  templateSha256: string;
  /** first message of the conversations that have no system message */
  system?: string | undefined;
}

export type PromptForm = { kind: 'plain' } | ChatForm;

export const PLAIN: PromptForm = { kind: 'plain' };

/** A form as a flag or a configuration asks for it; what is absent is left to the record, or the default. */
export interface WantedForm {
  promptForm?: PromptFormName | undefined;
  /** system message of the conversations that have none */
  system?: string | undefined;
}

/** A form as pool.json and crayon.json keep it. */
export const PROMPT_RECORD = z
  .object({
    form: z.enum(PROMPT_FORMS),
    /** of the chat template's source, without a line break at its end, which Jinja drops */
    templateSha256: sha256Text.optional(),
    system: text.optional(),
  })
  .refine(
    ({ form, templateSha256 }) => form === 'plain' || templateSha256 !== undefined,
    'with templateSha256 for chat',
  );
export type PromptRecord = z.output<typeof PROMPT_RECORD>;

/** What is recorded of a form; undefined for plain, so that what was plain before is the same bytes. */
export function promptRecord(form: PromptForm): PromptRecord | undefined {
  if (form.kind === 'plain') return undefined;
  const { templateSha256, system } = form;
  return system === undefined ? { form: 'chat', templateSha256 } : { form: 'chat', templateSha256, system };
}

/** In words, for messages to a user. */
export function formText(form: PromptForm): string {
  if (form.kind === 'plain') return 'plain';
  const system = form.system === undefined ? '' : `, system prompt ${JSON.stringify(form.system.slice(0, 40))}`;
  return `chat (template ${form.templateSha256.slice(0, 12)}${system})`;
}

export function isSameForm(a: PromptForm, b: PromptForm): boolean {
  if (a.kind === 'plain' || b.kind === 'plain') return a.kind === b.kind;
  return a.templateSha256 === b.templateSha256 && a.system === b.system;
}

export function templateDigest(source: string): string {
  return sha256(source.replace(/\n$/, ''));
}

/**
 * The form that was asked for; by default chat where the model has a chat template.
 *
 * @param where names the model in errors
 * @throws CrayonError `bad-option` for chat without a template, or a system prompt in plain form
 */
export function choosePromptForm(
  { chatTemplate }: Pick<Tokenizer, 'chatTemplate'>,
  { promptForm, system }: WantedForm,
  where: string,
): PromptForm {
  const kind = promptForm ?? (chatTemplate === null ? 'plain' : 'chat');
  if (kind === 'plain') {
    if (system === undefined) return PLAIN;
    throw new CrayonError('bad-option', `a system prompt is given, but prompts of ${where} are plain text`, {
      hint: 'Leave out --system, or use --prompt-form chat with a model that has a chat template.',
    });
  }
  if (chatTemplate === null) {
    throw new CrayonError('bad-option', `prompt form chat is asked for, but ${where} has no chat template`, {
      hint: 'Use --prompt-form plain, or put a chat_template.jinja into the model’s directory.',
    });
  }
  if (system?.trim() === '') throw new CrayonError('bad-option', 'the system prompt is empty, expected a text');
  return { kind, templateSha256: templateDigest(chatTemplate), system };
}

/**
 * The form that a pool or an adapter was trained in, where this model can be given prompts in it.
 *
 * @param record undefined for plain
 * @param names `what` was trained (a pool's or an adapter's path) and `model`, for errors
 * @throws CrayonError `pool-mismatch` or `adapter-mismatch` (`names.code`) where the model's chat template is another one, or none
 */
export function recordedForm(
  record: PromptRecord | undefined,
  { chatTemplate }: Pick<Tokenizer, 'chatTemplate'>,
  names: { what: string; model: string; code: 'pool-mismatch' | 'adapter-mismatch' },
): PromptForm {
  if (record === undefined || record.form === 'plain') return PLAIN;
  const { templateSha256, system } = record;
  const found = chatTemplate === null ? null : templateDigest(chatTemplate);
  if (found === templateSha256) return { kind: 'chat', templateSha256, system };
  const has = found === null ? 'has no chat template' : `has another one (${found.slice(0, 12)})`;
  throw new CrayonError(
    names.code,
    `${names.what} was trained through the chat template ${templateSha256!.slice(0, 12)}, ${names.model} ${has}`,
    {
      hint:
        'A changed template is another prompt form: give the model the template of the training ' +
        '(chat_template.jinja in the pool’s adapters), or build the pool again with this one (--prompt-form chat).',
    },
  );
}

/**
 * What was trained in one form is not given prompts in another.
 *
 * @param what was trained: a pool's or an adapter's path
 * @throws CrayonError `code` naming both ways out
 */
export function refuseOtherForm(
  form: PromptForm,
  { promptForm, system }: WantedForm,
  what: string,
  code: 'pool-mismatch' | 'adapter-mismatch',
): void {
  const trained = form.kind === 'chat' ? form.system : undefined;
  const isOtherSystem = system !== undefined && system !== trained;
  if ((promptForm === undefined || promptForm === form.kind) && !isOtherSystem) return;
  const asked = isOtherSystem ? `the system prompt ${JSON.stringify(system.slice(0, 40))}` : `form ${promptForm}`;
  const again = isOtherSystem ? '--system' : `--prompt-form ${promptForm}`;
  throw new CrayonError(code, `${what} was trained in prompt form ${formText(form)}, ${asked} is asked for`, {
    hint: `Leave the prompt form out to go on as it was trained, or build the pool again with ${again} and blend it anew.`,
  });
}

/** A conversation with the form's system message first, where it has none. */
export function withSystem(messages: readonly ChatMessage[], system: string | undefined): readonly ChatMessage[] {
  if (system === undefined || messages.some(({ role }) => role === 'system')) return messages;
  return [{ role: 'system', content: system }, ...messages];
}
