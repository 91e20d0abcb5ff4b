/**
 * A server LLM on loopback that does what a test tells it to, request by request: right answers and every fault that a
 * network and a server can show. It keeps what it was sent, so that a test can show what leaked and what did not.
 *
 * @example
 * const upstream = await useUpstream(reply.status(500), reply.answer(['Hel', 'lo']));
 * const engine = openOpenAiEngine({ baseUrl: upstream.baseUrl, model: 'big' });
 */

import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { answers } from './upstream-answers.js';
import { faults } from './upstream-faults.js';

export interface UpstreamRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  /** the body as it came */
  text: string;
  /** parsed, empty where it is no JSON object */
  body: Record<string, unknown>;
  /** when the answer is over: sent to its end by the server, or given up by the client (or cut by the script) */
  over: Promise<'sent' | 'broken'>;
}

export interface Exchange {
  request: UpstreamRequest;
  response: ServerResponse;
  /** fires when the connection is gone */
  gone: AbortSignal;
}

/** What happens with one request. */
export type Reply = (exchange: Exchange) => void | Promise<void>;

export interface Upstream {
  /** up to /v1 */
  baseUrl: string;
  /** in the order in which their bodies were complete */
  requests: UpstreamRequest[];
  /** Replaces what the requests from now on get: the i-th the i-th, all later ones the last. */
  script(...replies: Reply[]): void;
  /** Resolves when the n-th request (from 1) has come. */
  waitForRequest(n: number): Promise<UpstreamRequest>;
  /** Cuts all connections and frees the port. */
  close(): Promise<void>;
}

/** Starts a server that the caller closes, for use in `beforeAll`; the i-th request gets the i-th reply, later ones the last. */
export async function startUpstream(...replies: Reply[]): Promise<Upstream> {
  const requests: UpstreamRequest[] = [];
  let script = { replies, next: 0 };
  let watchers: Array<{ n: number; resolve: (request: UpstreamRequest) => void }> = [];

  const server = createServer((incoming, response) => {
    void readBody(incoming).then(async (text) => {
      const gone = new AbortController();
      const over = new Promise<'sent' | 'broken'>((resolve) => {
        response.on('close', () => {
          gone.abort();
          resolve(response.writableFinished ? 'sent' : 'broken');
        });
      });
      const { method = '', url = '', headers } = incoming;
      const request: UpstreamRequest = { method, path: url, headers, text, body: parseObject(text), over };
      const reply = script.replies[Math.min(script.next++, script.replies.length - 1)] ?? faults.status(500);
      requests.push(request);
      for (const watcher of watchers.filter((w) => w.n <= requests.length)) watcher.resolve(requests[watcher.n - 1]!);
      watchers = watchers.filter((w) => w.n > requests.length);
      await reply({ request, response, gone: gone.signal });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;

  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    requests,
    script: (...next) => {
      script = { replies: next, next: 0 };
    },
    waitForRequest: (n) =>
      requests.length >= n
        ? Promise.resolve(requests[n - 1]!)
        : new Promise((resolve) => {
            watchers.push({ n, resolve });
          }),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The same, closed when the test is over. */
export async function useUpstream(...replies: Reply[]): Promise<Upstream> {
  const upstream = await startUpstream(...replies);
  onTestFinished(() => upstream.close());
  return upstream;
}

/** An address up to /v1 where nobody listens. */
export async function refusedBaseUrl(): Promise<string> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return `http://127.0.0.1:${port}/v1`;
}

/** An address up to /v1 to which no connection is ever completed: it takes the call and never shakes hands (TLS). */
export async function mutedBaseUrl(): Promise<string> {
  const open = new Set<Socket>();
  const server = createTcpServer((socket) => open.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of open) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of incoming) pieces.push(piece as Buffer);
  } catch {} // the client went away while it was sending
  return Buffer.concat(pieces).toString('utf8');
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Everything the server can be told to do. */
export const reply = { ...answers, ...faults };
