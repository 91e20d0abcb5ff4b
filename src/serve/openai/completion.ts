/** text_completion, whole and in chunks, as OpenAI's legacy route sends it. */

import { type AnswerFormat, type AnswerHead, detailOf, type TokenEvent, usageField } from './answer.js';

/** @param logprobs and @param includeUsage as for chatFormat */
export function completionFormat(head: AnswerHead, logprobs: boolean, includeUsage: boolean): AnswerFormat {
  const { id, created, model, crayon } = head;
  const nullUsage = includeUsage ? { usage: null } : {};
  let offset = 0; // characters sent so far, for text_offset
  const frame = (text: string, logprobsField: object | null, finishReason: string | null) => ({
    id,
    object: 'text_completion',
    created,
    model,
    choices: [{ index: 0, text, logprobs: logprobsField, finish_reason: finishReason }],
  });
  return {
    opening: () => [],
    token: (event) => {
      const field = logprobs ? logprobsOf([event], offset) : null;
      offset += event.text.length;
      if (event.text === '' && field === null) return null;
      return { ...frame(event.text, field, null), ...nullUsage };
    },
    closing: (text, finishReason) => [{ ...frame(text, null, finishReason), ...nullUsage, crayon }],
    usage: (usage) => ({ id, object: 'text_completion', created, model, choices: [], usage: usageField(usage) }),
    whole: ({ text, tokens, finishReason, usage }) => ({
      ...frame(text, logprobs ? logprobsOf(tokens, 0) : null, finishReason),
      usage: usageField(usage),
      crayon,
    }),
  };
}

/** Parallel lists, one entry a token. @param start characters before the first token */
function logprobsOf(tokens: readonly TokenEvent[], start: number): object | null {
  const field = {
    tokens: [] as string[],
    token_logprobs: [] as number[],
    top_logprobs: [] as Array<Record<string, number>>,
    text_offset: [] as number[],
  };
  let offset = start;
  for (const event of tokens) {
    const detail = detailOf(event);
    if (detail !== null) {
      field.tokens.push(detail.token);
      field.token_logprobs.push(detail.logprob);
      field.top_logprobs.push(Object.fromEntries(detail.top.map(({ token, logprob }) => [token, logprob])));
      field.text_offset.push(offset);
    }
    offset += event.text.length;
  }
  return field.tokens.length === 0 ? null : field;
}
