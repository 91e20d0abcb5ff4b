/**
 * Conversations as the text that a model was trained to see: its chat template, through @huggingface/jinja, as transformers renders
 * it through Python's jinja2 (`chat_template_utils.py`). Whatever a template does, it does: bounded-chat.ts sets it bounds.
 */

import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { CrayonError, messageOf, reasonOf } from '../core/errors.js';
import { pythonFunctions, pythonised, setPythonSemantics, strftime } from './chat-template-python.js';
import type { RenderChat } from './chat-text.js';

/** The special tokens that a chat template may write; those that a model does not have are undefined in it. */
export const SPECIAL_NAMES = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
];

/** What a template's `raise_exception` throws. */
class Refusal extends Error {}

/**
 * A renderer of conversations from a template's source.
 *
 * Where JavaScript's jinja does something else than Python's, Python's way is taken (chat-template-python.ts), or the template is
 * refused. A template that writes the day's date (`strftime_now`) writes today's, as transformers does.
 *
 * @param specialToken the text of `bos_token` and the like
 * @param where names the template in errors
 */
export function chatRenderer(
  source: string,
  specialToken: (name: string) => string | null,
  where: string,
  now: () => Date = () => new Date(),
): RenderChat {
  let template: Template | undefined; // parsed when first used: most runs never render a chat
  const parsed = (): Template['parsed'] => {
    if (template === undefined) {
      template = new Template(source.replaceAll(/\r\n?/g, '\n')); // as jinja2 reads it
      pythonised(template.parsed);
    }
    return template.parsed;
  };
  return (messages, { addGenerationPrompt = true } = {}) => {
    try {
      const environment = new Environment();
      const constants = { true: true, false: false, none: null, True: true, False: false, None: null };
      const special = SPECIAL_NAMES.flatMap((name) => {
        const text = specialToken(name);
        return text === null ? [] : [[name, text] as const];
      });
      const variables = {
        ...constants,
        ...pythonFunctions,
        ...Object.fromEntries(special),
        raise_exception: (message: unknown): never => {
          throw new Refusal(String(message));
        },
        strftime_now: (format: unknown) => strftime(now(), String(format)),
        messages: messages.map((message) => ({ ...message })),
        tools: null,
        documents: null,
        add_generation_prompt: addGenerationPrompt,
      };
      for (const [name, value] of Object.entries(variables)) environment.set(name, value);
      setPythonSemantics(environment);
      return String(new Interpreter(environment).run(parsed()).value);
    } catch (error) {
      if (error instanceof Refusal) {
        throw new CrayonError('example-invalid', `the chat template refuses this conversation: ${messageOf(error)}`, {
          hint: "It is the model's own rule: bring the messages into the order and the roles that it knows.",
          cause: error,
        });
      }
      throw new CrayonError(
        'tokenizer-unsupported',
        `${where}: the chat template cannot be rendered (${reasonOf(error)})`,
        {
          cause: error,
        },
      );
    }
  };
}
