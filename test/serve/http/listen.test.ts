/** The server on a real socket: the official client, and clients that behave badly. */

import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { type ListenOptions, listen } from '../../../src/serve/http/listen.js';
import { closing, gate, type TestApp, type TestAppOptions, testApp, textEmbedder, until, user } from '../helpers.js';

interface Rig extends TestApp {
  url: string;
  port: number;
  client: OpenAI;
  stop(patienceMs: number): Promise<number>;
}

async function serve(options: TestAppOptions = {}, listening: Partial<ListenOptions> = {}): Promise<Rig> {
  const test = testApp(options);
  const { url, port, stop } = await listen(test.app, { host: '127.0.0.1', port: 0, ...listening });
  closing(stop, () => stop(0));
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: options.apiKey ?? 'any', maxRetries: 0 });
  return { ...test, url, port, client, stop };
}

describe('the official client', () => {
  it('chats, whole and streamed', async () => {
    const { client } = await serve({ device: { answers: 'one two three' } });
    const asked = { model: 'edge', messages: user('hi') as OpenAI.ChatCompletionMessageParam[] };
    const { data, response } = await client.chat.completions.create(asked).withResponse();
    expect(data.choices[0]!.message.content).toBe('one two three');
    expect(response.headers.get('x-crayon-source')).toBe('on_device');
    let text = '';
    const stream = await client.chat.completions.create({ ...asked, stream: true, logprobs: true });
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    expect(text).toBe('one two three');
    const whole = await client.chat.completions.stream({ ...asked, stream: true }).finalChatCompletion();
    expect(whole.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'one two three' } });
  });

  it('completes, lists models and embeds', async () => {
    const embedder = textEmbedder(() => ({ vector: Float32Array.of(0.25, -1), tokens: 3 }));
    const { client } = await serve({ parts: { embedder } });
    const completion = await client.completions.create({ model: 'edge', prompt: 'x', logprobs: 1 });
    expect(completion.choices[0]).toMatchObject({ text: 'one two three', logprobs: { text_offset: [0, 3, 7] } });
    let text = '';
    for await (const chunk of await client.completions.create({ model: 'edge', prompt: 'x', stream: true })) {
      text += chunk.choices[0]!.text;
    }
    expect(text).toBe('one two three');
    const ids: string[] = [];
    for await (const { id } of client.models.list()) ids.push(id);
    expect(ids).toEqual(['edge', 'big']);
    expect((await client.models.retrieve('edge')).id).toBe('edge');
    // It asks for base64 and decodes that by itself.
    const { data } = await client.embeddings.create({ model: 'edge', input: 'x' });
    expect(data[0]!.embedding).toEqual([0.25, -1]);
  });

  it('throws its own error classes', async () => {
    const busy = { answers: [{ tokens: '', fail: { at: 'open' as const, error: 'engine-busy' as const } }] };
    const { client, url } = await serve({ apiKey: 'right', device: busy, server: null });
    const messages = user('hi') as OpenAI.ChatCompletionMessageParam[];
    const create = (over: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>, from = client) =>
      from.chat.completions.create({ model: 'edge', messages, ...over });
    await expect(create({ reasoning_effort: 'low' })).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(create({ reasoning_effort: 'low' })).rejects.toMatchObject({
      param: 'reasoning_effort',
      code: 'unsupported_parameter',
    });
    await expect(create({ model: 'x' })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(create({})).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    const wrong = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'wrong', maxRetries: 0 });
    await expect(create({}, wrong)).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  });

  it('throws when a stream fails in the middle', async () => {
    const { client } = await serve({
      device: { answers: [{ tokens: 'one two', fail: { at: 1, error: 'out-of-memory' } }] },
    });
    const stream = await client.chat.completions.create({ model: 'edge', messages: user('hi') as never, stream: true });
    let text = '';
    const read = async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    };
    await expect(read()).rejects.toBeInstanceOf(OpenAI.APIError);
    expect(text).toBe('one');
  });

  it('frees the engine when it aborts', async () => {
    const { client, device, app } = await serve({ device: { answers: [{ tokens: 'one two', hangAt: 1 }] } });
    const stream = await client.chat.completions.create({ model: 'edge', messages: user('hi') as never, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]!.delta.content === 'one') break; // which aborts
    await until(() => device.requests[0]!.outcome === 'aborted' && app.running === 0, 'the engine to be freed');
  });

  it('frees the engine when it gives up waiting for a whole answer', async () => {
    const { client, device, app, records } = await serve({ device: { answers: [{ tokens: 'one', hangAt: 'open' }] } });
    const messages = user('hi') as never;
    await expect(client.chat.completions.create({ model: 'edge', messages }, { timeout: 50 })).rejects.toBeInstanceOf(
      OpenAI.APIConnectionTimeoutError,
    );
    await until(() => device.requests[0]!.outcome === 'aborted' && app.running === 0, 'the engine to be freed');
    expect(records().at(-1)).toMatchObject({ status: 499 });
  });
});

/** An answer beyond what the sockets' buffers take. */
const LONG: TestAppOptions = {
  device: { answers: 'word '.repeat(200_000), contextTokens: 2_000_000 },
  config: { limits: { max_tokens: 1_000_000 } },
};

/** Sends bytes as they are, and collects what comes back until the connection ends. */
function raw(port: number, ...pieces: Array<string | Buffer>): { socket: Socket; answer: Promise<string> } {
  const socket = connect(port, '127.0.0.1');
  closing(socket, () => socket.destroy());
  let text = '';
  const answer = new Promise<string>((resolve) => {
    socket.on('data', (data) => {
      text += data.toString('latin1');
    });
    socket.on('close', () => resolve(text));
    socket.on('error', () => {});
  });
  for (const piece of pieces) socket.write(piece);
  return { socket, answer };
}

const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);

describe('bad clients', () => {
  it.each<[string, number, string]>([
    ['no HTTP', 400, 'hello\r\n\r\n'],
    ['TLS', 400, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['a header without end', 431, `GET /health HTTP/1.1\r\nhost: localhost\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`],
    ['no host', 400, 'GET /health HTTP/1.1\r\n\r\n'],
    [
      'two lengths',
      400,
      'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
    ],
    [
      'length and chunks',
      400,
      'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    [
      'a broken chunk',
      400,
      'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
    ],
    ['a method that fetch forbids', 400, 'TRACE /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'],
    [
      'another server’s name in the path',
      404,
      'GET //evil.example/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n',
    ],
    ['a climbing path', 404, 'GET /v1/../../etc/passwd HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'],
    ['a NUL in the path', 404, 'GET /v1/models%00 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'],
    ['a foreign host', 403, 'GET /health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n'],
  ])('%s is answered with %i, and the server lives on', async (_, status, bytes) => {
    const { port, url } = await serve();
    expect(statusOf(await raw(port, Buffer.from(bytes, 'latin1')).answer)).toBe(status);
    expect((await fetch(`${url}/health`)).status).toBe(200);
  });

  const HEAD = 'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n';

  it('a body beyond the limit is refused while it comes, and the answer arrives', async () => {
    const { port, device } = await serve(
      { config: { limits: { body_bytes: 10_000 } } },
      { timeouts: { drainMs: 100 } },
    );
    const declared = raw(port, `${HEAD}content-length: 1000000\r\n\r\n`, 'x'.repeat(5000));
    expect(statusOf(await declared.answer)).toBe(413);
    const chunk = `1000\r\n${'x'.repeat(4096)}\r\n`;
    const endless = raw(port, `${HEAD}transfer-encoding: chunked\r\n\r\n`, ...Array(10).fill(chunk));
    expect(statusOf(await endless.answer)).toBe(413);
    expect(device.requests).toEqual([]);
  });

  it('a slow one is cut off', async () => {
    const { port } = await serve({}, { timeouts: { headersMs: 100, bodyMs: 200 } });
    expect(statusOf(await raw(port, 'GET /health HTTP/1.1\r\nhost: loc').answer)).toBe(408);
    expect(statusOf(await raw(port, `${HEAD}content-length: 50\r\n\r\n{"mod`).answer)).toBe(408);
  });

  it('one that goes away while it sends leaves nothing behind', async () => {
    const { port, app, records } = await serve();
    const { socket } = raw(port, `${HEAD}content-length: 50\r\n\r\n{"mod`);
    await until(() => app.running === 1, 'the request');
    socket.destroy();
    await until(() => app.running === 0, 'the end');
    expect(records().at(-1)).toMatchObject({ status: expect.any(Number) });
    expect(records().filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('one that does not read holds back the generation and no one else', async () => {
    const { port, device, url, app } = await serve(LONG);
    const body = JSON.stringify({
      model: 'edge',
      messages: user('hi'),
      stream: true,
      crayon: { mode: 'only_on_device' },
    });
    const { socket } = raw(port, `${HEAD}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    socket.pause();
    await until(() => (device.requests[0]?.tokensSent ?? 0) > 0, 'the first token');
    let before = -1;
    await until(() => {
      const { tokensSent } = device.requests[0]!;
      const isStill = tokensSent === before;
      before = tokensSent;
      return isStill && tokensSent > 100;
    }, 'the buffers to be full');
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect(device.requests[0]!.tokensSent).toBeLessThan(200_000);
    socket.destroy();
    await until(() => app.running === 0, 'the end');
  });
});

describe('listening', () => {
  it('says that the port is taken', async () => {
    const other = createServer();
    const port = await new Promise<number>((resolve) => {
      other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port));
    });
    closing(other, () => other.close());
    await expect(listen(testApp().app, { host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'address-unavailable',
      exitCode: 4,
    });
    await expect(listen(testApp().app, { host: '203.0.113.1', port: 0 })).rejects.toMatchObject({
      code: 'address-unavailable',
    });
  });

  it('stops gracefully: the running stream ends whole, new connections are refused', async () => {
    const { opened, open } = gate();
    const answers = [{ tokens: 'one two', beforeToken: (i: number) => (i === 1 ? opened : undefined) }];
    const { url, stop, device } = await serve({ device: { answers } });
    await fetch(`${url}/health`); // leaves an idle connection
    const body = JSON.stringify({ model: 'edge', messages: user('hi'), stream: true });
    const init = { method: 'POST', body, headers: { 'content-type': 'application/json' } };
    const answer = await fetch(`${url}/v1/chat/completions`, init);
    await until(() => device.requests.length === 1, 'the request');
    const stopped = stop(10_000);
    await expect(fetch(`${url}/health`, { headers: { connection: 'close' } })).rejects.toThrow();
    open();
    expect(await answer.text()).toContain('data: [DONE]');
    expect(await stopped).toBe(0);
  });

  it('stops in time although a client never reads', async () => {
    const { port, stop, device } = await serve(LONG);
    const body = JSON.stringify({ model: 'edge', messages: user('hi'), stream: true });
    const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n';
    raw(port, `${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`).socket.pause();
    await until(() => device.requests.length === 1, 'the request');
    const started = performance.now();
    expect(await stop(50)).toBe(1);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});
