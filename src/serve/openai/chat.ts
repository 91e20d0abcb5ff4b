/** chat.completion and chat.completion.chunk, field by field as OpenAI sends them. */

import type { TokenProbability } from '../../engine/types.js';
import { type AnswerFormat, type AnswerHead, detailOf, type TokenEvent, usageField } from './answer.js';

/**
 * @param logprobs whether they were asked for
 * @param includeUsage whether a chunk with the usage comes last; the others then say `usage: null`
 */
export function chatFormat(head: AnswerHead, logprobs: boolean, includeUsage: boolean): AnswerFormat {
  const { id, created, model, crayon } = head;
  const nullUsage = includeUsage ? { usage: null } : {};
  const chunk = (delta: object, logprobsField: object | null, finishReason: string | null, extra: object = {}) => ({
    id,
    object: 'chat.completion.chunk',
    created,
    model,
    choices: [{ index: 0, delta, logprobs: logprobsField, finish_reason: finishReason }],
    ...nullUsage,
    ...extra,
  });
  return {
    opening: () => [chunk({ role: 'assistant', content: '' }, null, null, { crayon })],
    token: (event) => {
      const content = logprobs ? logprobsOf([event]) : null;
      if (event.text === '' && content === null) return null;
      return chunk({ content: event.text }, content, null);
    },
    closing: (text, finishReason) => [
      ...(text === '' ? [] : [chunk({ content: text }, null, null)]),
      chunk({}, null, finishReason, { crayon }),
    ],
    usage: (usage) => ({
      id,
      object: 'chat.completion.chunk',
      created,
      model,
      choices: [],
      usage: usageField(usage),
    }),
    whole: ({ text, tokens, finishReason, usage }) => ({
      id,
      object: 'chat.completion',
      created,
      model,
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: text, refusal: null },
          logprobs: logprobs ? (logprobsOf(tokens) ?? { content: [], refusal: null }) : null,
          finish_reason: finishReason,
        },
      ],
      usage: usageField(usage),
      crayon,
    }),
  };
}

/** null where the engine gave none for any of the tokens. */
function logprobsOf(tokens: readonly TokenEvent[]): object | null {
  const content = tokens.flatMap((event) => {
    const detail = detailOf(event);
    return detail === null ? [] : [{ ...entry(detail), top_logprobs: detail.top.map(entry) }];
  });
  return content.length === 0 ? null : { content, refusal: null };
}

const entry = ({ token, logprob, bytes }: TokenProbability) => ({ token, logprob, bytes });
