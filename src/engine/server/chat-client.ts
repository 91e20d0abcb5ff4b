/**
 * A client that times answers: what `crayon bench` asks running servers with. One request is one HTTP request, never
 * repeated, so that a failure is counted as one and a time is that of one answer.
 */

import { isJsonObject, type JsonObject } from '../../files/json.js';
import { type Clock, systemClock } from '../clock.js';
import type { FinishReason, GenerateRequest, TokenDetail, Usage } from '../types.js';
import { AnswerReader, type TokenEvent } from './answer.js';
import { Attempt } from './attempt.js';
import { Scope, timeoutError } from './deadline.js';
import { createRedactor, serverError, serverErrorOf } from './error.js';
import { resolveOptions, type ServerTimeouts } from './options.js';
import { adaptDialect, type Dialect, FIRST_DIALECT, requestBody, requestPath } from './request.js';

/** The system's time in fractions of a millisecond. */
export const preciseClock: Clock = { ...systemClock, now: () => performance.timeOrigin + performance.now() };

export interface ChatClientOptions {
  /** up to /v1 */
  baseUrl: string;
  model: string;
  apiKey?: string | null;
  timeouts?: Partial<ServerTimeouts>;
  /** default `preciseClock` */
  clock?: Clock;
  fetch?: typeof globalThis.fetch;
}

/** Milliseconds from the moment of the request. */
export interface AnswerTimes {
  /** each piece of the stream that had text, in order; the first is the TTFT */
  piecesMs: number[];
  /** the answer's end */
  endMs: number;
}

/** Who answered, as crayon's servers say; others say nothing. */
export interface AnswerOrigin {
  source: 'on_device' | 'in_cloud' | null;
  reason: string | null;
  signals: Record<string, number>;
}

export interface TimedAnswer extends AnswerTimes, AnswerOrigin {
  text: string;
  finishReason: FinishReason | null;
  /** null where the server does not count */
  usage: Usage | null;
  /** of the tokens in order, where log-probabilities were asked for and given */
  details: TokenDetail[];
}

/** A request, less the signal; `fields` go into the body as they are (crayon's own `crayon: {mode}`). */
export type ChatQuestion = Omit<GenerateRequest, 'signal' | 'adapters' | 'distribution'> & { fields?: JsonObject };

export interface ChatClient {
  readonly model: string;
  /**
   * Asks and reads the answer to its end.
   *
   * @throws CrayonError `server-unreachable`, `server-timeout`, `server-refused`, `server-failed`, `server-invalid`,
   *   `interrupted`
   */
  ask(question: ChatQuestion, signal: AbortSignal): Promise<TimedAnswer>;
}

/**
 * @example
 * const client = openChatClient({ baseUrl: 'http://127.0.0.1:8080/v1', model: 'crayon-edge' });
 * const { piecesMs, source } = await client.ask(question, signal);
 *
 * @throws CrayonError `config-invalid`
 */
export function openChatClient(options: ChatClientOptions): ChatClient {
  const { clock = preciseClock, ...rest } = options;
  const settings = resolveOptions({ ...rest, clock });
  const server = `server ${settings.name} at ${settings.url.origin}${settings.url.pathname}`;
  const context = { settings, server, redact: createRedactor(settings.apiKey) };
  let dialect: Dialect = FIRST_DIALECT;

  async function once(question: ChatQuestion, call: Scope, tried: Dialect): Promise<TimedAnswer> {
    const { fields = {}, ...plain } = question;
    const request: GenerateRequest = { ...plain, signal: call.signal };
    const reader = new AnswerReader(server, request, context.redact);
    const attempt = new Attempt(context, call);
    const started = clock.now();
    const found = { text: '', piecesMs: [] as number[], details: [] as TokenDetail[] };
    let origin: AnswerOrigin = { source: null, reason: null, signals: {} };
    try {
      await attempt.send(requestPath(request.prompt), { ...requestBody(settings.model, request, tried), ...fields });
      origin = originOf(attempt.headers, null) ?? origin;
      for await (const document of attempt.documents(() => reader.finishReason !== null)) {
        const at = clock.now() - started;
        origin = originOf(null, document) ?? origin;
        const events: TokenEvent[] = reader.read(document);
        const text = events.map((event) => event.text).join('');
        if (text !== '') found.piecesMs.push(at);
        found.text += text;
        for (const { detail } of events) if (detail !== undefined) found.details.push(detail);
      }
      if (!reader.sawChoice) throw serverError('server-invalid', `${server}: sent an answer without any choice`);
      return {
        ...found,
        ...origin,
        endMs: clock.now() - started,
        finishReason: reader.finishReason,
        usage: reader.usage,
      };
    } finally {
      attempt.abandon();
    }
  }

  async function ask(question: ChatQuestion, signal: AbortSignal): Promise<TimedAnswer> {
    const call = Scope.forCall(signal);
    const { totalMs } = settings.timeouts;
    call.limit(clock, totalMs, () => timeoutError(server, 'total', totalMs));
    try {
      for (;;) {
        const tried = dialect;
        try {
          return await once(question, call, tried);
        } catch (error) {
          // A server that knows other names for the request's fields is learnt once; its refusal is no failure of it.
          const status = serverErrorOf(error)?.status;
          const next = status === 400 || status === 422 ? adaptDialect(tried, (error as Error).message) : null;
          if (next === null) throw call.signal.aborted ? call.signal.reason : error;
          dialect = next;
        }
      }
    } finally {
      call.dispose();
    }
  }

  return { model: settings.model, ask };
}

/** From crayon's headers, or the field `crayon` of a document; null where neither is there. */
function originOf(headers: Headers | null, document: unknown): AnswerOrigin | null {
  const field = isJsonObject(document) && isJsonObject(document.crayon) ? document.crayon : null;
  const source = field?.source ?? headers?.get('x-crayon-source');
  if (source !== 'on_device' && source !== 'in_cloud') return null;
  const reason = field?.reason ?? headers?.get('x-crayon-reason');
  const signals = isJsonObject(field?.signals) ? Object.entries(field.signals) : [];
  return {
    source,
    reason: typeof reason === 'string' ? reason : null,
    signals: Object.fromEntries(signals.filter((pair): pair is [string, number] => Number.isFinite(pair[1]))),
  };
}
