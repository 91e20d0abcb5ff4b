/** One HTTP request to the server: sent, its status judged, its body handed out document by document, within its time-outs. */

import { randomUUID } from 'node:crypto';
import { isCrayonError } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { jsonValue } from '../../files/json.js';
import type { Clock } from '../clock.js';
import { errorMessage, eventStream, utf8Decoder } from './answer.js';
import { type Deadline, onHeadersSent, REQUEST_ID_HEADER, timeoutError } from './deadline.js';
import { namedParameters } from './dialect.js';
import { parseRetryAfter, serverError } from './error.js';
import { networkError } from './network-error.js';
import type { ServerContext } from './options.js';

type Body = ReadableStreamDefaultReader<Uint8Array>;

export class Attempt {
  /** of the answer; null until it has begun */
  headers: Headers | null = null;
  /** by the clock of the settings */
  readonly startedAt: number;
  readonly #context: ServerContext;
  readonly #deadline: Deadline;
  readonly #clock: Clock;
  #body: Body | null = null;
  #isStream = true;
  #draining = false;
  #bytes = 0;

  /** @param call the whole call, which this attempt is a part of */
  constructor(context: ServerContext, call: Deadline) {
    this.#context = context;
    this.#deadline = call.part();
    this.#clock = context.settings.clock;
    this.startedAt = this.#clock.now();
  }

  /**
   * Sends the request and waits for the answer's status.
   *
   * @throws CrayonError `server-unreachable`, `server-timeout`, `server-refused`, `server-failed`, `server-invalid`
   */
  async send(path: string, body: Record<string, unknown>): Promise<void> {
    const { settings, quote, failure } = this.#context;
    const { apiKey, timeouts } = settings;
    const requestId = randomUUID(); // only a name: no choice of crayon's depends on it
    const url = new URL(settings.url);
    url.pathname += path;
    const waitForAnswer = (): void => this.#limit('first-byte', timeouts.firstByteMs);
    // Another fetch than node's does not tell when it is connected; its connecting counts as waiting for the answer.
    let forget = (): void => {};
    if (settings.fetch === undefined) {
      this.#limit('connect', timeouts.connectMs);
      forget = onHeadersSent(requestId, waitForAnswer);
    } else waitForAnswer();

    let response: Response;
    try {
      response = await this.#deadline.guard(
        (settings.fetch ?? fetch)(url, {
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            accept: 'text/event-stream, application/json',
            [REQUEST_ID_HEADER]: requestId,
            ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
          },
          body: JSON.stringify(body),
          redirect: 'manual', // the key is for this server only
          signal: this.#deadline.signal,
        }),
      );
    } catch (error) {
      throw this.#networkError(error);
    } finally {
      forget();
    }
    this.headers = response.headers;
    this.#body = response.body === null ? null : (response.body.getReader() as Body);
    if (response.status < 200 || response.status >= 300) throw await this.#statusError(response);
    const type = response.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
    this.#isStream = type === 'text/event-stream';
    if (!this.#isStream && type !== 'application/json') {
      throw failure('server-invalid', `answered with content type "${quote(type)}", expected text/event-stream`, {
        status: response.status,
        hint: 'Check that the base URL is that of an OpenAI-compatible API, up to /v1.',
      });
    }
  }

  /**
   * The answer's JSON documents: each chunk of a stream, or the one of an answer that is none. Ends with `[DONE]` or the body.
   *
   * @param isComplete whether what was read so far is a whole answer: then neither silence nor a cut is a failure any more
   * @throws CrayonError `server-timeout`, `server-failed` for a connection that breaks, `server-invalid`
   */
  async *documents(isComplete: () => boolean): AsyncGenerator<unknown, void> {
    if (!this.#isStream) {
      const decode = utf8Decoder(this.#context.failure);
      let text = '';
      for await (const bytes of this.#bytesOf()) text += decode(bytes);
      yield this.#parse(text + decode());
      return;
    }
    const stream = eventStream(this.#context);
    for (;;) {
      const bytes = await this.#next(isComplete);
      const events = bytes === null ? stream.end() : stream.feed(bytes);
      for (const data of events) {
        if (data.trim() === '[DONE]') {
          this.#drain();
          return;
        }
        if (data.trim() === '') continue;
        // The last event of a body that ends within it is a cut, not bad JSON.
        if (bytes === null && jsonOf(data) === undefined) break;
        yield this.#parse(data);
      }
      if (bytes === null) {
        if (isComplete()) return;
        throw this.#context.failure('server-failed', 'the answer broke off before its end');
      }
    }
  }

  /** Gives up the connection, unless the answer was read to its end, and lets go of the timers. */
  abandon(): void {
    if (this.#draining) return; // it ends by itself
    if (this.#body !== null) this.#deadline.end(serverError('server-failed', 'no longer wanted'));
    this.#deadline.dispose();
  }

  #limit(phase: 'connect' | 'first-byte' | 'idle', ms: number): void {
    this.#deadline.limit(this.#clock, ms, () => timeoutError(this.#context.server, phase, ms));
  }

  /** The body's next bytes, null at its end. */
  async #next(isComplete: () => boolean): Promise<Uint8Array | null> {
    const { settings, failure } = this.#context;
    if (this.#body === null) return null;
    const complete = isComplete();
    // The time-out for the first byte has been running since the request was sent.
    if (complete) this.#limit('idle', Math.min(LIMITS.tailMs, settings.timeouts.idleMs));
    else if (this.#bytes > 0) this.#limit('idle', settings.timeouts.idleMs);
    try {
      const { value, done } = await this.#deadline.guard(this.#body.read());
      this.#deadline.unlimit();
      if (done) {
        this.#body = null;
        return null;
      }
      this.#bytes += value.length;
      if (this.#bytes > settings.maxAnswerBytes) {
        throw failure('server-invalid', `sent more than ${settings.maxAnswerBytes} bytes`);
      }
      return value;
    } catch (error) {
      if (complete && !isCrayonError(error, 'interrupted')) return null;
      throw this.#networkError(error);
    }
  }

  /** The body to its end. */
  async *#bytesOf(): AsyncGenerator<Uint8Array, void> {
    for (let bytes = await this.#next(() => false); bytes !== null; bytes = await this.#next(() => false)) yield bytes;
  }

  #parse(data: string): unknown {
    const document = jsonOf(data);
    if (document !== undefined) return document;
    const { quote, failure } = this.#context;
    throw failure('server-invalid', `sent something that is no JSON: ${quote(data.slice(0, 80))}`);
  }

  /** Reads what follows the end, so that the connection can serve the next request. */
  #drain(): void {
    const body = this.#body;
    this.#body = null;
    if (body === null) return;
    this.#draining = true;
    const deadline = this.#deadline;
    deadline.limit(this.#clock, LIMITS.tailMs, () => serverError('server-failed', 'no end of the body'));
    const readOn = (): Promise<void> => body.read().then(({ done }) => (done ? undefined : readOn()));
    const release = (): void => deadline.dispose();
    readOn().then(release, release);
  }

  async #statusError(response: Response): Promise<Error> {
    const { status, headers } = response;
    const { quote, failure } = this.#context;
    if (status >= 300 && status < 400) {
      const target = headers.get('location') ?? '';
      const where = URL.canParse(target, response.url) ? new URL(target, response.url).origin : 'another place';
      return failure('server-refused', `redirects to ${quote(where)}, which is not followed`, {
        status,
        hint: 'Give the address that it redirects to as base URL, if you trust it with the key.',
      });
    }
    const text = await this.#errorText();
    const document = jsonOf(text);
    const said = quote(errorMessage(document) ?? text);
    const message = `answered ${status}${said === '' ? '' : `: ${said}`}`;
    const retryAfterMs = parseRetryAfter(headers, this.#clock.now());
    if (status === 408 || status === 429 || status >= 500) {
      return failure('server-failed', message, { status, retryAfterMs, retryable: true });
    }
    const named = namedParameters(document);
    return failure('server-refused', message, { status, retryAfterMs, named, hint: STATUS_HINTS[status] });
  }

  /** What the server says about its refusal, bounded; of a body that breaks off, what there is. */
  async #errorText(): Promise<string> {
    const decoder = new TextDecoder();
    let text = '';
    try {
      for await (const bytes of this.#bytesOf()) {
        text += decoder.decode(bytes, { stream: true });
        if (this.#bytes > LIMITS.errorBytes) break;
      }
    } catch (error) {
      if (isCrayonError(error, 'interrupted')) throw error;
    }
    return text;
  }

  /** What fetch or its body throws, in our terms. */
  #networkError(error: unknown): unknown {
    return networkError(error, this.#context, this.#body !== null);
  }
}

const STATUS_HINTS: Record<number, string> = {
  401: 'Check the API key of the server.',
  403: 'Check what the API key of the server may do.',
  404: 'Check the model name and that the base URL ends in /v1.',
};

/** undefined for what is no JSON */
function jsonOf(text: string): unknown {
  try {
    return jsonValue(text);
  } catch {
    return undefined;
  }
}
