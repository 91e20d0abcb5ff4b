/** The two wires: bytes of clients on the server's socket, and what a server LLM answers to the engine. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { type OpenAiEngine, openOpenAiEngine } from '../../../src/engine/server/engine.js';
import { type Listening, listen } from '../../../src/serve/http/listen.js';
import { collect, generateRequest } from '../../helpers/generate.js';
import { testApp } from '../../serve/helpers.js';
import { Finding, type Target } from '../target.js';
import { files } from './seeds.js';

const request = (line: string, body?: unknown) => {
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = [
    'host: localhost:8080',
    ...(body === undefined ? [] : ['content-type: application/json', `content-length: ${Buffer.byteLength(text)}`]),
  ];
  return files({ 'request.http': `${line} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n${text}` });
};
const MESSAGES = [
  { role: 'system', content: 'Be short.' },
  { role: 'user', content: [{ type: 'text', text: 'one two' }] },
];
const EXAMPLES = [
  { prompt: 'a', completion: 'b' },
  {
    messages: [
      { role: 'user', content: 'q' },
      { role: 'assistant', content: 'a' },
    ],
  },
];

let server: Listening | undefined;

export const httpServer: Target = {
  name: 'http',
  reads: 'every route of the server, as bytes on its socket: headers, chunks, requests one behind the other, bodies',
  weight: 3,
  inMemory: true,
  seeds: () => [
    ...[
      '/health',
      '/v1/models',
      '/v1/models/edge',
      '/metrics',
      '/lora-adapters',
      '/tokenizer_info',
      '/v1/customizations',
      '/v1/customizations/c1',
      '/nowhere',
      '/api/tags',
      '/api/ps',
      '/api/version',
    ].map((path) => request(`GET ${path}`)),
    request('DELETE /v1/customizations/c1'),
    request('POST /v1/chat/completions', {
      model: 'edge',
      messages: MESSAGES,
      max_tokens: 5,
      temperature: 0.5,
      top_p: 0.9,
      seed: 1,
      stop: ['x', 'y'],
      n: 2,
      logprobs: true,
      top_logprobs: 2,
      user: 'u',
    }),
    request('POST /v1/chat/completions', {
      model: 'edge',
      messages: MESSAGES,
      stream: true,
      stream_options: { include_usage: true },
      metadata: { a: 'b' },
      response_format: { type: 'text' },
    }),
    request('POST /v1/chat/completions', {
      model: 'edge',
      messages: [
        ...MESSAGES,
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'a', content: 'r' },
      ],
      tools: [
        {
          type: 'function',
          function: { name: 'f', parameters: { type: 'object', properties: { a: { type: 'string' } } } },
        },
      ],
      tool_choice: { type: 'function', function: { name: 'f' } },
      parallel_tool_calls: false,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'a', schema: { $ref: '#/$defs/a', $defs: { a: { enum: [1] } } } },
      },
      top_k: 4,
      min_p: 0.1,
      repeat_penalty: 1.1,
      logit_bias: { 5: 1 },
    }),
    request('POST /v1/completions', {
      model: 'edge',
      prompt: ['one two', [1, 2, 3]],
      max_tokens: 3,
      logprobs: 2,
      echo: true,
    }),
    request('POST /v1/completions', {
      model: 'edge',
      prompt: 'one',
      stream: true,
      stop: 'two',
      suffix: null,
      best_of: 1,
      presence_penalty: 0,
    }),
    request('POST /v1/responses', {
      model: 'edge',
      instructions: 'Be short.',
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'one two' }] },
        { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c1', output: 'done' },
        { type: 'message', role: 'user', content: 'three' },
      ],
      stream: true,
      max_output_tokens: 5,
      include: ['message.output_text.logprobs'],
      text: { format: { type: 'text' } },
    }),
    request('POST /v1/responses', { model: 'edge', input: 'one', metadata: { a: 'b' }, top_logprobs: 2, store: false }),
    request('POST /api/chat', {
      model: 'edge:latest',
      messages: [
        { role: 'user', content: 'one two', images: [] },
        { role: 'assistant', content: '', tool_calls: [{ function: { name: 'f', arguments: { a: 1 } } }] },
        { role: 'tool', content: 'done', tool_name: 'f' },
      ],
      options: { temperature: 0.5, num_predict: 5, seed: -1, stop: ['x'], num_ctx: 2048 },
      keep_alive: '5m',
    }),
    request('POST /api/chat', {
      model: 'edge',
      messages: MESSAGES.slice(0, 1),
      stream: false,
      logprobs: true,
      format: '',
    }),
    request('POST /api/generate', { model: 'edge', prompt: 'one', system: 'two', stream: false, think: false }),
    request('POST /api/generate', { model: 'edge', prompt: 'one', raw: true, options: { num_predict: -1 } }),
    request('POST /api/show', { model: 'edge', verbose: true }),
    request('POST /api/embed', { model: 'edge', input: ['one', 'two'], truncate: true }),
    request('POST /api/embeddings', { model: 'edge', prompt: 'one' }),
    request('POST /v1/embeddings', { model: 'edge', input: ['one', 'two'], encoding_format: 'base64', dimensions: 4 }),
    request('POST /tokenize', { prompt: 'one two', add_special_tokens: true }),
    request('POST /tokenize', { messages: MESSAGES }),
    request('POST /detokenize', { tokens: [1, 2] }),
    request('POST /lora-adapters', [{ id: 0, scale: 0.5 }]),
    request('POST /v1/customizations', {
      name: 'mine',
      examples: [...EXAMPLES, ...EXAMPLES, ...EXAMPLES],
      combine: 'cat',
      top_k: 2,
    }),
    request('POST /v1/customizations', { coefficients: [0.5, 0.5] }),
  ],
  words: [
    'tools',
    'functions',
    'logit_bias',
    'reasoning_effort',
    'mode',
    'crayon',
    'prefer_in_cloud',
    'min_tokens',
    'ignore_eos',
    'guided_json',
    'image_url',
    'input_text',
    'name',
    'tool_calls',
    'format',
    'think',
    'previous_response_id',
    'reasoning',
  ],
  async open() {
    const { app } = testApp({ config: { limits: { customizations: 4 } }, logLevel: 'silent' });
    server = await listen(app, {
      host: '127.0.0.1',
      port: 0,
      timeouts: { headersMs: 1500, bodyMs: 1500, drainMs: 50 },
    });
    return async () => void (await server?.stop(0));
  },
  async run(_, given) {
    const bytes = given.get('request.http') ?? Buffer.alloc(0);
    const answer = await exchange(server!.port, bytes);
    const heads = [...answer.matchAll(/HTTP\/1\.1 (\d\d\d) [^\r\n]*\r\n/g)].map(([, status]) => status!);
    if (answer !== '' && !answer.startsWith('HTTP/1.1 '))
      throw new Finding('different', `an answer that begins ${JSON.stringify(answer.slice(0, 60))}`);
    const internal = /"code":"internal"|HTTP\/1\.1 500/.exec(answer);
    if (internal !== null) throw new Finding('exception', `500: ${answer.slice(0, 600)}`);
    return `${heads.slice(0, 3).join(' ')} ${/"code":"(\w+)"/.exec(answer)?.[1]} ${/"param":"?(\w+)/.exec(answer)?.[1]}`;
  },
};

/** Sends all bytes, says that no more will come, and reads until the server ends. */
async function exchange(port: number, bytes: Buffer): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const parts: Buffer[] = [];
  socket.on('data', (part) => parts.push(part));
  const over = new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    socket.once('error', () => resolve()); // reset while we were still sending: what came before counts
    socket.once('end', () => socket.destroy());
  });
  socket.end(bytes);
  await over;
  return Buffer.concat(parts).toString('latin1');
}

const SSE_HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n';
const chunk = (choice: object, more: object = {}) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'big', choices: [{ index: 0, finish_reason: null, ...choice }], ...more })}\n\n`;
const LOGPROBS = {
  content: [
    { token: 'Hi', logprob: -0.5, bytes: [72, 105], top_logprobs: [{ token: 'Hi', logprob: -0.5, bytes: [72, 105] }] },
  ],
};
const USAGE = {
  usage: { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6, prompt_tokens_details: { cached_tokens: 1 } },
};
const streamed = (...events: string[]) => files({ 'answer.http': SSE_HEAD + events.join('') });
const document = (body: object, head = 'HTTP/1.1 200 OK') => {
  const text = JSON.stringify(body);
  return files({
    'answer.http': `${head}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  });
};

let upstream: Server | undefined;
let engine: OpenAiEngine | undefined;
let reply: Buffer = Buffer.alloc(0);

export const serverLlm: Target = {
  name: 'server-llm',
  refusals: true,
  reads: "a server LLM's answers: streams, documents, refusals, as bytes on the wire",
  weight: 2,
  inMemory: true,
  seeds: () => [
    streamed(
      chunk({ delta: { role: 'assistant', content: '' } }),
      chunk({ delta: { content: 'Hi' }, logprobs: LOGPROBS }),
      chunk({ delta: { content: ' there' } }),
      chunk({ delta: {}, finish_reason: 'stop' }),
      chunk({}, { choices: [], ...USAGE }),
      'data: [DONE]\n\n',
    ),
    streamed(
      ': hello\n\n',
      chunk({ delta: { content: 'a' } }, USAGE),
      chunk({ delta: { content: 'b' }, finish_reason: 'length' }),
      'data: [DONE]\n\n',
    ),
    document({
      id: 'c',
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: 'Hi' }, logprobs: LOGPROBS, finish_reason: 'stop' }],
      ...USAGE,
    }),
    document(
      { error: { message: 'no such model', type: 'invalid_request_error', code: 'model_not_found', param: 'model' } },
      'HTTP/1.1 404 Not Found',
    ),
    document({ error: { message: 'slow down' } }, 'HTTP/1.1 429 Too Many Requests\r\nretry-after: 1'),
    document({ error: { message: "Unsupported parameter: 'top_p'" } }, 'HTTP/1.1 400 Bad Request'),
    document({ detail: [{ loc: ['body'], msg: 'x' }] }, 'HTTP/1.1 500 Internal Server Error'),
  ],
  words: [
    'content_filter',
    'tool_calls',
    'function_call',
    'abort',
    'refusal',
    'reasoning_content',
    'delta',
    'message',
    'text',
    'stop_reason',
    'error',
    'eos',
  ],
  async open() {
    upstream = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(reply));
    });
    await once(upstream.listen(0, '127.0.0.1'), 'listening');
    const { port } = upstream.address() as AddressInfo;
    engine = openOpenAiEngine({
      baseUrl: `http://127.0.0.1:${port}/v1`,
      model: 'big',
      retries: 0,
      circuit: { failures: 1e9 },
      timeouts: { connectMs: 3000, firstByteMs: 3000, idleMs: 3000, totalMs: 4000 },
    });
    return async () => {
      await engine?.close();
      upstream?.close();
    };
  },
  async run(_, given) {
    reply = given.get('answer.http') ?? Buffer.alloc(0);
    const answer = await collect(engine!.generate(generateRequest({ topLogprobs: 2 })));
    if (answer.error !== undefined) throw answer.error;
    const { end, text, tokens } = answer;
    if (end === undefined) throw new Finding('different', 'an answer without end or error');
    const { promptTokens, completionTokens, cachedTokens } = end.usage;
    const counts = [promptTokens, completionTokens, cachedTokens ?? 0];
    if (!counts.every((n) => Number.isSafeInteger(n) && n >= 0))
      throw new Finding('different', `usage ${JSON.stringify(end.usage)}`);
    const bad = tokens.find((token) => token.logprob !== null && !(token.logprob <= 1e-6));
    if (bad !== undefined) throw new Finding('different', `log-probability ${bad.logprob}`);
    if (text === '') throw new Finding('different', 'an empty answer counts as one');
    return `${end.finishReason} ${Math.min(3, tokens.length)}`;
  },
};
