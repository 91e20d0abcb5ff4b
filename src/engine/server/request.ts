/** A request in OpenAI's wire form, and what servers that refuse parts of it make of that. */

import type { GenerateRequest, Prompt } from '../types.js';
import { promptText } from '../types.js';

/** What this server has turned out not to take. */
export interface Dialect {
  /** older servers refuse stream_options */
  streamOptions: boolean;
  /** OpenAI's reasoning models take the new name only, most other servers know the old one */
  maxTokensKey: 'max_tokens' | 'max_completion_tokens';
}

export const FIRST_DIALECT: Dialect = { streamOptions: true, maxTokensKey: 'max_tokens' };

export function requestPath(prompt: Prompt): string {
  return prompt.kind === 'chat' ? '/chat/completions' : '/completions';
}

/** The body, to be sent as JSON. Nothing but the request's own fields is in it. */
export function requestBody(model: string, request: GenerateRequest, dialect: Dialect): Record<string, unknown> {
  const { prompt, topLogprobs, seed, stop } = request;
  const chat = prompt.kind === 'chat';
  const messages = chat && prompt.messages.map(({ role, content }) => ({ role, content }));
  const logprobs = chat ? { logprobs: true, top_logprobs: topLogprobs } : { logprobs: topLogprobs };
  return {
    model,
    ...(chat ? { messages } : { prompt: prompt.text }),
    [chat ? dialect.maxTokensKey : 'max_tokens']: request.maxTokens,
    temperature: request.temperature,
    top_p: request.topP,
    ...(seed === null ? {} : { seed }),
    ...(stop.length === 0 ? {} : { stop }),
    ...(topLogprobs === null ? {} : logprobs),
    stream: true,
    ...(dialect.streamOptions ? { stream_options: { include_usage: true } } : {}),
  };
}

/**
 * What to try next when a server answers 400 or 422 to a request in this dialect.
 *
 * @param message the server's own
 * @returns null where the refusal is about something else
 */
export function adaptDialect(dialect: Dialect, message: string): Dialect | null {
  if (dialect.streamOptions && /stream_options|include_usage/.test(message)) {
    return { ...dialect, streamOptions: false };
  }
  if (
    dialect.maxTokensKey === 'max_tokens' &&
    /\bmax_completion_tokens\b|'max_tokens' is not supported/.test(message)
  ) {
    return { ...dialect, maxTokensKey: 'max_completion_tokens' };
  }
  return null;
}

/** About how many tokens a prompt has: four bytes each, and a few for what a chat template puts around a message. */
export function estimatePromptTokens(prompt: Prompt): number {
  const around = prompt.kind === 'chat' ? 4 * prompt.messages.length : 1;
  return Math.ceil(Buffer.byteLength(promptText(prompt)) / 4) + around;
}
