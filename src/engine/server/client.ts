/**
 * A server that speaks OpenAI's wire form: a request as it wants it. Servers differ in what they take, so what one refuses is
 * learnt once and remembered.
 */

import type { GenerateRequest } from '../types.js';
import { Attempt } from './attempt.js';
import { Deadline, timeoutError } from './deadline.js';
import { quoter, serverError, serverErrorOf } from './error.js';
import { type OpenAiOptions, resolveOptions, type ServerContext, type Settings } from './options.js';

/** What this server has turned out not to take. */
export interface Dialect {
  /** older servers refuse stream_options */
  streamOptions: boolean;
  /** OpenAI's reasoning models take the new name only, most other servers know the old one */
  maxTokensKey: 'max_tokens' | 'max_completion_tokens';
}

export const FIRST_DIALECT: Dialect = { streamOptions: true, maxTokensKey: 'max_tokens' };

export class ServerClient implements ServerContext {
  readonly settings: Settings;
  readonly server: string;
  readonly quote: ServerContext['quote'];
  #dialect = FIRST_DIALECT;

  /** @throws CrayonError `config-invalid` */
  constructor(options: OpenAiOptions) {
    this.settings = resolveOptions(options);
    const { name, url, apiKey } = this.settings;
    this.server = `server ${name} at ${url.origin}${url.pathname}`;
    this.quote = quoter(apiKey);
  }

  readonly failure: ServerContext['failure'] = (code, what, details) => {
    return serverError(code, `${this.server}: ${what}`, details);
  };

  /** The time that a whole call has: it ends with the signal too. To be disposed of. */
  call(signal: AbortSignal): Deadline {
    const { clock, timeouts } = this.settings;
    const call = new Deadline(signal);
    call.limit(clock, timeouts.totalMs, () => timeoutError(this.server, 'total', timeouts.totalMs));
    return call;
  }

  /**
   * Sends a request, again where the server takes it in another dialect only.
   *
   * @param fields go into the body as they are
   * @returns the attempt whose answer has begun
   * @throws CrayonError as Attempt.send does
   */
  async send(request: GenerateRequest, call: Deadline, fields: object = {}): Promise<Attempt> {
    const path = request.query.prompt.kind === 'chat' ? '/chat/completions' : '/completions';
    for (;;) {
      const tried = this.#dialect;
      const attempt = new Attempt(this, call);
      try {
        await attempt.send(path, { ...requestBody(this.settings.model, request, tried), ...fields });
        return attempt;
      } catch (error) {
        attempt.abandon();
        const status = serverErrorOf(error)?.status;
        const next = status === 400 || status === 422 ? adaptDialect(tried, (error as Error).message) : null;
        if (next === null) throw error;
        this.#dialect = next;
      }
    }
  }
}

/** The body, to be sent as JSON. Nothing but the request's own fields is in it. */
function requestBody(model: string, request: GenerateRequest, dialect: Dialect): Record<string, unknown> {
  const { topLogprobs, seed, stop } = request;
  const { prompt } = request.query;
  const chat = prompt.kind === 'chat';
  const messages =
    chat && prompt.messages.map(({ role, content, name }) => ({ role, content, ...(name !== undefined && { name }) }));
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
