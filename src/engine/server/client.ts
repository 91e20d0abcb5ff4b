/**
 * A server that speaks OpenAI's wire form: a request as it wants it. Servers differ in what they take, so what one refuses is
 * learnt once and remembered.
 */

import type { ChatMessage, GenerateRequest } from '../types.js';
import { Attempt } from './attempt.js';
import { Deadline, timeoutError } from './deadline.js';
import { adapted, type Dialect, parametersOf, spoken } from './dialect.js';
import { quoter, serverError, serverErrorOf } from './error.js';
import { type OpenAiOptions, resolveOptions, type ServerContext, type Settings } from './options.js';

export class ServerClient implements ServerContext {
  readonly settings: Settings;
  readonly server: string;
  readonly quote: ServerContext['quote'];
  /** by path: a server's chat may take what its completions do not */
  readonly #dialects = new Map<string, Dialect>();

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
   * Sends a request; where the server refuses a parameter, again without it or by its other name, as dialect.ts says.
   *
   * @param fields go into the body as they are
   * @returns the attempt whose answer has begun
   * @throws CrayonError as Attempt.send does
   */
  async send(request: GenerateRequest, call: Deadline, fields: object = {}): Promise<Attempt> {
    const { model, budget } = this.settings;
    const { prompt } = request.query;
    const path = prompt.kind === 'chat' ? '/chat/completions' : '/completions';
    const asked = prompt.kind === 'chat' ? { messages: messagesOf(prompt.messages) } : { prompt: prompt.text };
    const parameters = parametersOf(request, budget.tokensPerDay !== null || budget.moneyPerDay !== null);
    let dialect = this.#dialects.get(path) ?? NOTHING_LEARNT;
    const refused = new Set<string>();
    let attempts = 0;
    for (;;) {
      const attempt = new Attempt(this, call);
      try {
        await attempt.send(path, { model, ...asked, ...spoken(parameters.values, dialect), stream: true, ...fields });
        this.#learn(path, dialect);
        return attempt;
      } catch (error) {
        attempt.abandon();
        const { status, named = [] } = serverErrorOf(error) ?? {};
        if (status !== 400 && status !== 422) throw error;
        const message = (error as Error).message.slice(this.server.length);
        const isEnough = ++attempts > MOST_ATTEMPTS;
        const next = isEnough ? null : adapted(dialect, parameters, refused, { message, named });
        if (next === null) throw error;
        if ('kept' in next) throw this.#refusal(error as Error, next.kept);
        dialect = next;
      }
    }
  }

  /** Only what a server has then taken is remembered: a refusal may quote a prompt, and a prompt may say anything. */
  #learn(path: string, dialect: Dialect): void {
    const known = this.#dialects.get(path) ?? NOTHING_LEARNT;
    if (dialect === known) return;
    const more = [...dialect].filter(([name, change]) => known.get(name) !== change);
    this.#dialects.set(path, new Map([...known, ...more]));
    for (const [parameter, change] of more) this.settings.onEvent({ type: 'adapted', parameter, ...change });
  }

  #refusal(error: Error, parameter: string): Error {
    const { status = null } = serverErrorOf(error) ?? {};
    const what = `does not take ${parameter}, which the request asks for and the answer depends on`;
    return this.failure('server-refused', `${what} (${error.message.slice(this.server.length + 2)})`, {
      status,
      hint: `Leave ${parameter} out of the request, or let the device answer.`,
    });
  }
}

const NOTHING_LEARNT: Dialect = new Map();
/** Each leaves out or renames a parameter, of which a request has some. */
const MOST_ATTEMPTS = 20;

const messagesOf = (messages: readonly ChatMessage[]): object[] =>
  messages.map(({ role, content, name, toolCalls, toolCallId }) => ({
    role,
    content: toolCalls !== undefined && content === '' ? null : content,
    ...(name !== undefined && { name }),
    ...(toolCalls !== undefined && { tool_calls: toolCalls }),
    ...(toolCallId !== undefined && { tool_call_id: toolCallId }),
  }));
