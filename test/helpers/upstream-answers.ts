/** Right answers of a scripted upstream, in all the shapes that real servers send them. */

import type { Exchange, Reply } from './scripted-upstream.js';

export interface AnswerOptions {
  /** default: the usage below, when asked for; `never`, `always`, or repeated in every chunk */
  usage?: 'asked' | 'never' | 'always' | 'each-chunk';
  promptTokens?: number;
  completionTokens?: number;
  cachedTokens?: number;
  /** default `stop`; null: never sent */
  finishReason?: string | null;
  /** default true: `data: [DONE]` at the end */
  done?: boolean;
  /** default true: the first chunk of a chat holds only the role */
  roleChunk?: boolean;
  /** a comment before each chunk */
  comments?: boolean;
  /** an additional chunk without choices comes first */
  emptyChoices?: boolean;
  crlf?: boolean;
  /** the stream is cut into pieces of this many bytes, each a packet of its own */
  pieceBytes?: number;
  /** probability by token, sent as log-probabilities when they are asked for */
  probability?: number;
  /** waits this long before each token */
  tokenDelayMs?: number;
  /** what is called before each token: holds the answer without a clock */
  beforeToken?: (index: number) => Promise<void> | void;
}

/** Waits, or less long when the client goes. */
export function pause(ms: number, gone: AbortSignal): Promise<void> {
  if (gone.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      gone.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    gone.addEventListener('abort', end);
  });
}

const isChat = ({ request }: Exchange): boolean => request.path.includes('/chat/completions');

function usageOf(tokens: readonly string[], options: AnswerOptions) {
  const prompt_tokens = options.promptTokens ?? 7;
  const completion_tokens = options.completionTokens ?? tokens.length;
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    ...(options.cachedTokens === undefined ? {} : { prompt_tokens_details: { cached_tokens: options.cachedTokens } }),
  };
}

function logprobsOf(exchange: Exchange, tokens: readonly string[], probability: number) {
  const { logprobs } = exchange.request.body;
  if (logprobs === undefined || logprobs === false || logprobs === null) return null;
  const logprob = Math.log(probability);
  if (!isChat(exchange)) {
    return {
      tokens,
      token_logprobs: tokens.map(() => logprob),
      top_logprobs: tokens.map((token) => ({ [token]: logprob, other: Math.log(1 - probability) })),
      text_offset: tokens.map(() => 0),
    };
  }
  const one = (token: string, value: number) => ({ token, logprob: value, bytes: [...Buffer.from(token)] });
  const count = Number(exchange.request.body.top_logprobs ?? 0);
  return {
    content: tokens.map((token) => ({
      ...one(token, logprob),
      top_logprobs: [one(token, logprob), one('other', Math.log(1 - probability))].slice(0, count),
    })),
  };
}

/** One chunk of a stream, as the path asks for it. */
export function chunkOf(exchange: Exchange, choice: Record<string, unknown> | null, more: object = {}): string {
  const chat = isChat(exchange);
  const head = { id: chat ? 'chatcmpl-1' : 'cmpl-1', object: chat ? 'chat.completion.chunk' : 'text_completion' };
  const choices = choice === null ? [] : [{ index: 0, finish_reason: null, ...choice }];
  return JSON.stringify({ ...head, created: 1, model: exchange.request.body.model, choices, ...more });
}

export const tokenChoice = (exchange: Exchange, token: string, probability: number) => ({
  ...(isChat(exchange) ? { delta: { content: token } } : { text: token }),
  logprobs: logprobsOf(exchange, [token], probability),
});

export function beginStream({ response }: Exchange): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
  response.flushHeaders();
}

async function stream(exchange: Exchange, tokens: readonly string[], options: AnswerOptions): Promise<void> {
  const { request, response, gone } = exchange;
  const { probability = 0.5, finishReason = 'stop', usage: when = 'asked' } = options;
  const newline = options.crlf ? '\r\n' : '\n';
  const usage = usageOf(tokens, options);
  const asked = (request.body.stream_options as { include_usage?: boolean } | undefined)?.include_usage === true;
  const more = when === 'each-chunk' ? { usage } : asked && when === 'asked' ? { usage: null } : {};
  const send = async (data: string): Promise<void> => {
    const comment = options.comments ? `: keep-alive${newline}${newline}` : '';
    const bytes = Buffer.from(`${comment}data: ${data}${newline}${newline}`);
    const size = options.pieceBytes ?? bytes.length;
    for (let at = 0; at < bytes.length && !gone.aborted; at += size) {
      // The next piece only once this one has left, so that they arrive apart.
      await new Promise((resolve) => response.write(bytes.subarray(at, at + size), resolve));
      if (options.pieceBytes !== undefined) await new Promise((resolve) => setImmediate(resolve));
    }
  };

  response.socket?.setNoDelay(true);
  beginStream(exchange);
  if (options.emptyChoices) await send(chunkOf(exchange, null, more));
  if (isChat(exchange) && options.roleChunk !== false) {
    await send(chunkOf(exchange, { delta: { role: 'assistant', content: '' } }, more));
  }
  for (const [index, token] of tokens.entries()) {
    if (options.tokenDelayMs !== undefined) await pause(options.tokenDelayMs, gone);
    await options.beforeToken?.(index);
    if (gone.aborted) return;
    await send(chunkOf(exchange, tokenChoice(exchange, token, probability), more));
  }
  if (finishReason !== null) {
    const last = isChat(exchange) ? { delta: {} } : { text: '' };
    await send(chunkOf(exchange, { ...last, finish_reason: finishReason }, more));
  }
  if (when === 'always' || (when === 'asked' && asked)) await send(chunkOf(exchange, null, { usage }));
  if (options.done !== false) await send('[DONE]');
  response.end();
}

function json(exchange: Exchange, tokens: readonly string[], options: AnswerOptions): void {
  const { response, request } = exchange;
  const text = tokens.join('');
  const chat = isChat(exchange);
  const choice = {
    index: 0,
    ...(chat ? { message: { role: 'assistant', content: text } } : { text }),
    logprobs: logprobsOf(exchange, tokens, options.probability ?? 0.5),
    finish_reason: options.finishReason === undefined ? 'stop' : options.finishReason,
  };
  const usage = options.usage === 'never' ? {} : { usage: usageOf(tokens, options) };
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(
    JSON.stringify({
      id: chat ? 'chatcmpl-1' : 'cmpl-1',
      object: chat ? 'chat.completion' : 'text_completion',
      created: 1,
      model: request.body.model,
      choices: [choice],
      ...usage,
    }),
  );
}

export const answers = {
  /** The right answer: chat or completion by the path, a stream or one document as the request asks. */
  answer:
    (tokens: readonly string[], options: AnswerOptions = {}): Reply =>
    (exchange) =>
      exchange.request.body.stream === true ? stream(exchange, tokens, options) : json(exchange, tokens, options),
  /** One JSON document although a stream was asked for. */
  document:
    (tokens: readonly string[], options: AnswerOptions = {}): Reply =>
    (exchange) =>
      json(exchange, tokens, options),
  /** A server that refuses a request holding this parameter, and answers all others. */
  refusing:
    (parameter: string, tokens: readonly string[], options: AnswerOptions = {}): Reply =>
    (exchange) => {
      if (!(parameter in exchange.request.body)) return answers.answer(tokens, options)(exchange);
      exchange.response.writeHead(400, { 'content-type': 'application/json' });
      const message = `Unsupported parameter: '${parameter}' is not supported with this model.`;
      exchange.response.end(JSON.stringify({ error: { message, type: 'invalid_request_error', param: parameter } }));
    },
  /** Waits, then replies. */
  after:
    (ms: number, next: Reply): Reply =>
    async (exchange) => {
      await pause(ms, exchange.gone);
      if (!exchange.gone.aborted) await next(exchange);
    },
  /** Waits for a promise, then replies. */
  when:
    (gate: Promise<unknown>, next: Reply): Reply =>
    async (exchange) => {
      await gate;
      if (!exchange.gone.aborted) await next(exchange);
    },
};
