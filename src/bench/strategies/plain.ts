/** Models as they are: the base model, without and with the user's examples before every prompt, and a larger one in its place. */

import type { Example } from '../../data/dataset.js';
import { asConversation, encodeExample } from '../../hf/encode-example.js';
import { PLAIN } from '../../hf/prompt-form.js';
import type { LoadedModel } from '../answers.js';
import { plain, type Strategy } from './strategy.js';

export const base: Strategy = {
  name: 'base',
  title: 'Base model',
  looksAtExamples: false,
  customise: async (_cell, _user, context) => plain(context.base),
};

export const server: Strategy = {
  name: 'server',
  title: 'Server only',
  looksAtExamples: false,
  customise: async (_cell, _user, context) => plain(context.server()),
};

/** Between two examples, and before the question: lm-evaluation-harness's few-shot delimiter. */
export const EXAMPLE_DELIMITER = '\n\n';

/**
 * Puts as many of the examples as fit before a prompt, the first ones first, as lm-evaluation-harness does: prompt and
 * completion of each, then the question; in form chat each as a user's and an assistant's turn.
 *
 * @param room tokens to keep free for an answer that is generated
 */
export function inContext(
  shown: readonly Example[],
  { source, tokenizer, form = PLAIN }: Pick<LoadedModel, 'source' | 'tokenizer' | 'form'>,
  room: number,
): (example: Example) => Example {
  const maxLength = source.config.maxPositionEmbeddings;
  const asTurns = form.kind === 'chat';
  const texts = shown.map(({ prompt, completion }) => prompt + completion + EXAMPLE_DELIMITER);
  const fits = (example: Example) =>
    [example.completion, ...(example.choices ?? [])].every((completion) => {
      const { ids, promptLength } = encodeExample(tokenizer, { ...example, completion }, form);
      return example.choices === undefined
        ? promptLength + Math.max(room, ids.length - promptLength) <= maxLength
        : ids.length <= maxLength;
    });
  return (example) => {
    // How many fit differs little from prompt to prompt, but a prompt that is cut would lose half an example.
    for (let count = texts.length; count > 0; count--) {
      const asked = asTurns
        ? withTurns(shown.slice(0, count), example)
        : { ...example, prompt: texts.slice(0, count).join('') + example.prompt };
      if (fits(asked)) return asked;
    }
    return example;
  };
}

/** Examples as turns of the conversation before the question. */
function withTurns(shown: readonly Example[], example: Example): Example {
  const turns = shown.map(asConversation).flatMap(({ messages, completion }) => {
    return [...messages.filter(({ role }) => role !== 'system'), { role: 'assistant', content: completion }];
  });
  const asked = asConversation(example);
  const system = asked.messages.filter(({ role }) => role === 'system');
  return { ...asked, messages: [...system, ...turns, ...asked.messages.slice(system.length)] };
}

export const examplesInContext: Strategy = {
  name: 'in-context',
  title: 'Base, examples in context',
  looksAtExamples: true,
  async customise(_cell, { shown }, { base, config }) {
    const asked = inContext(shown, base, config.max_tokens);
    return plain({ ...base, withContext: (examples) => examples.map(asked) });
  },
};
