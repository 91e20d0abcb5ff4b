/** What goes wrong at a scripted upstream. */

import type { Exchange, Reply } from './scripted-upstream.js';
import { beginStream, chunkOf, pause, tokenChoice } from './upstream-answers.js';

const sendTokens = ({ response, ...exchange }: Exchange, tokens: readonly string[]): void => {
  for (const token of tokens) {
    response.write(
      `data: ${chunkOf({ response, ...exchange }, tokenChoice({ response, ...exchange }, token, 0.5))}\n\n`,
    );
  }
};

/** Writes the same piece for as long as the client reads. */
async function writeForever({ response, gone }: Exchange, piece: () => string): Promise<void> {
  const left = new Promise<void>((resolve) => gone.addEventListener('abort', () => resolve()));
  while (!gone.aborted) {
    if (response.write(piece())) await new Promise((resolve) => setImmediate(resolve));
    else await Promise.race([left, new Promise((resolve) => response.once('drain', resolve))]);
  }
}

/** A body of the server's own error shape. */
const errorBody = (message: string, type = 'server_error'): string =>
  JSON.stringify({ error: { message, type, param: null, code: null } });

export const faults = {
  /** An error status. The body is OpenAI's error shape with this message, or the text as given when it is not JSON-like. */
  status:
    (status: number, message = `status ${status}`, headers: Record<string, string> = {}): Reply =>
    ({ response }) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(errorBody(message));
    },
  /** 429; `retryAfter` in seconds or as an HTTP date. */
  rateLimited: (retryAfter?: string): Reply =>
    faults.status(429, 'slow down', retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
  /** Any status, headers and body. */
  raw:
    (status: number, headers: Record<string, string>, body: string | Uint8Array): Reply =>
    ({ response }) => {
      response.writeHead(status, headers);
      response.end(body);
    },
  /** Takes the request and never answers, not even with headers. */
  silent: (): Reply => () => {},
  /** Sends the headers of a stream, then nothing. */
  headersOnly: (): Reply => (exchange) => beginStream(exchange),
  /** Sends these tokens, then nothing; the connection stays open. */
  stall:
    (tokens: readonly string[]): Reply =>
    (exchange) => {
      beginStream(exchange);
      sendTokens(exchange, tokens);
    },
  /** Sends these tokens, then half an event, then the connection breaks. */
  cut:
    (tokens: readonly string[]): Reply =>
    (exchange) => {
      const { response } = exchange;
      beginStream(exchange);
      sendTokens(exchange, tokens);
      const whole = `data: ${chunkOf(exchange, tokenChoice(exchange, 'never seen', 0.5))}\n\n`;
      response.write(whole.slice(0, whole.length / 2), () => response.socket?.destroy());
    },
  /** The same, but the stream ends in good order in the middle of the event. */
  endInEvent:
    (tokens: readonly string[]): Reply =>
    (exchange) => {
      beginStream(exchange);
      sendTokens(exchange, tokens);
      exchange.response.end('data: {"choices":[{"del');
    },
  /** Breaks the connection before anything is answered. */
  reset:
    (): Reply =>
    ({ response }) => {
      response.socket?.destroy();
    },
  /** These tokens, then an event that is no JSON. */
  invalidJson:
    (tokens: readonly string[] = []): Reply =>
    (exchange) => {
      beginStream(exchange);
      sendTokens(exchange, tokens);
      exchange.response.end('data: {"choices": [}\n\n');
    },
  /** A whole answer that claims to be JSON and is not. */
  invalidDocument: (): Reply => faults.raw(200, { 'content-type': 'application/json' }, '{"choices": ['),
  /** A page, as a proxy in the way would send. */
  wrongContentType: (): Reply => faults.raw(200, { 'content-type': 'text/html' }, '<html>Log in first</html>'),
  /** These tokens, then an error event, as vLLM and OpenAI send when generation fails. */
  errorEvent:
    (tokens: readonly string[], message = 'the model crashed'): Reply =>
    (exchange) => {
      beginStream(exchange);
      sendTokens(exchange, tokens);
      exchange.response.end(`data: ${errorBody(message)}\n\n`);
    },
  /** One line that never ends. */
  endlessLine: (): Reply => async (exchange) => {
    beginStream(exchange);
    exchange.response.write('data: ');
    await writeForever(exchange, () => 'x'.repeat(16_384));
  },
  /** A JSON document that never ends. */
  endlessDocument: (): Reply => async (exchange) => {
    exchange.response.writeHead(200, { 'content-type': 'application/json' });
    exchange.response.write('{"choices": "');
    await writeForever(exchange, () => 'x'.repeat(16_384));
  },
  /** Comments without end: the connection lives, no answer comes. */
  endlessComments:
    (everyMs = 5): Reply =>
    async (exchange) => {
      beginStream(exchange);
      while (!exchange.gone.aborted) {
        exchange.response.write(': still thinking\n\n');
        await pause(everyMs, exchange.gone);
      }
    },
  /** Tokens without end, whatever max_tokens says. */
  endlessTokens:
    (token = 'again '): Reply =>
    async (exchange) => {
      beginStream(exchange);
      await writeForever(exchange, () => `data: ${chunkOf(exchange, tokenChoice(exchange, token, 0.5))}\n\n`);
    },
  /** A right answer, one byte at a time with a pause after each. */
  trickle:
    (tokens: readonly string[], everyMs: number): Reply =>
    async (exchange) => {
      const { response, gone } = exchange;
      beginStream(exchange);
      const events = tokens.map((token) => `data: ${chunkOf(exchange, tokenChoice(exchange, token, 0.5))}\n\n`);
      for (const byte of Buffer.from(events.join(''))) {
        if (gone.aborted) return;
        response.write(Buffer.of(byte));
        await pause(everyMs, gone);
      }
      response.end('data: [DONE]\n\n');
    },
  /** To another place, with the method kept. */
  redirect: (location: string, status = 307): Reply => faults.raw(status, { location }, ''),
};
