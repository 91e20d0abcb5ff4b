/**
 * A client that times answers: what `crayon bench` asks running servers with. One request is one HTTP request, never
 * repeated, so that a failure is counted as one and a time is that of one answer.
 */

import { isJsonObject, type JsonObject } from '../../files/json.js';
import { preciseClock } from '../clock.js';
import { type FinishReason, type GenerateRequest, type Prompt, Query, type TokenDetail, type Usage } from '../types.js';
import { AnswerReader } from './answer.js';
import type { Attempt } from './attempt.js';
import { ServerClient } from './client.js';
import { warnOfChanges } from './dialect.js';
import type { OpenAiOptions } from './options.js';

/** As an engine's; the clock is `preciseClock` by default. */
export type ChatClientOptions = Pick<OpenAiOptions, 'baseUrl' | 'model' | 'apiKey' | 'timeouts' | 'clock' | 'fetch'>;

/** Who answered, as crayon's servers say; others say nothing. */
export interface AnswerOrigin {
  source: 'on_device' | 'in_cloud' | null;
  reason: string | null;
  signals: Record<string, number>;
}

/** Times are milliseconds from the moment of the request. */
export interface TimedAnswer extends AnswerOrigin {
  /** each piece of the stream that had text, in order; the first is the TTFT */
  piecesMs: number[];
  /** the answer's end */
  endMs: number;
  text: string;
  finishReason: FinishReason | null;
  /** null where the server does not count */
  usage: Usage | null;
  /** of the tokens in order, where log-probabilities were asked for and given */
  details: TokenDetail[];
}

/** A request, less the signal; `fields` go into the body as they are (crayon's own `crayon: {mode}`). */
export type ChatQuestion = Omit<GenerateRequest, 'query' | 'signal' | 'adapters' | 'distribution'> & {
  prompt: Prompt;
  fields?: JsonObject;
};

export type ChatClient = ReturnType<typeof openChatClient>;

/**
 * @example
 * const client = openChatClient({ baseUrl: 'http://127.0.0.1:8080/v1', model: 'crayon-edge' });
 * const { piecesMs, source } = await client.ask(question, signal);
 *
 * @throws CrayonError `config-invalid`
 */
export function openChatClient(options: ChatClientOptions) {
  const { clock = preciseClock } = options;
  const onEvent = warnOfChanges(`The server at ${options.baseUrl}`);
  const client = new ServerClient({ ...options, clock, onEvent });

  /**
   * Asks and reads the answer to its end.
   *
   * @throws CrayonError `server-unreachable`, `server-timeout`, `server-refused`, `server-failed`, `server-invalid`,
   *   `interrupted`
   */
  async function ask({ prompt, fields, ...plain }: ChatQuestion, signal: AbortSignal): Promise<TimedAnswer> {
    const call = client.call(signal);
    const request: GenerateRequest = { ...plain, query: new Query(prompt), signal: call.signal };
    const reader = new AnswerReader(client, request);
    const found = { text: '', piecesMs: [] as number[], details: [] as TokenDetail[] };
    let attempt: Attempt | null = null;
    try {
      attempt = await client.send(request, call, fields);
      const { headers, startedAt } = attempt;
      let origin = originOf(headers, null);
      for await (const document of attempt.documents(() => reader.finishReason !== null)) {
        const at = clock.now() - startedAt;
        origin = originOf(null, document) ?? origin;
        const events = reader.read(document);
        const text = events.map((event) => event.text).join('');
        if (text !== '') found.piecesMs.push(at);
        found.text += text;
        for (const { detail } of events) if (detail !== undefined) found.details.push(detail);
      }
      reader.end();
      const endMs = clock.now() - startedAt;
      const { finishReason, usage } = reader;
      return { ...found, ...(origin ?? NO_ORIGIN), endMs, finishReason, usage };
    } catch (error) {
      throw call.reasonFor(error);
    } finally {
      attempt?.abandon();
      call.dispose();
    }
  }

  return { model: options.model, ask };
}

const NO_ORIGIN: AnswerOrigin = { source: null, reason: null, signals: {} };

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
