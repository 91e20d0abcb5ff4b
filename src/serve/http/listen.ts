/** The app on a socket: node:http with limits and time-outs; a client that goes away fires the request's signal. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { CrayonError } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { limitConnections } from './connections.js';
import { HttpError } from './error.js';
import { CHUNK_BYTES } from './file.js';

/** What listen needs of an app. */
export interface ListenApp {
  handle(request: Request): Promise<Response>;
  /** Lets running requests finish within `patienceMs`, ends the rest. @returns how many had to be ended */
  stop(patienceMs: number): Promise<number>;
}

/** Port 0 is any free one. */
export type ListenOptions = Pick<Listening, 'host' | 'port'> & {
  timeouts?: Partial<typeof TIMEOUTS>;
  /** The most at a time. */
  connections?: number;
};

const TIMEOUTS = {
  /** Until a request's headers are complete. */
  headersMs: LIMITS.httpHeadersMs,
  /** Until its body is. */
  bodyMs: LIMITS.httpBodyMs,
  /** An idle connection is closed after this. */
  keepAliveMs: LIMITS.keepAliveMs,
  /** How long what a refused client still sends is read, so that it sees the answer. */
  drainMs: LIMITS.drainMs,
};

/** `stop` takes no new connections too. */
export interface Listening extends Pick<ListenApp, 'stop'> {
  host: string;
  port: number;
  /** E.g. http://127.0.0.1:8080. */
  url: string;
}

/** @throws CrayonError `address-unavailable` */
export async function listen(
  app: ListenApp,
  { host, port, timeouts = {}, connections = LIMITS.connections }: ListenOptions,
): Promise<Listening> {
  const { headersMs, bodyMs, keepAliveMs, drainMs } = { ...TIMEOUTS, ...timeouts };
  const server = createServer({
    maxHeaderSize: LIMITS.httpHeaderBytes,
    headersTimeout: headersMs,
    requestTimeout: bodyMs,
    keepAliveTimeout: keepAliveMs,
    connectionsCheckingInterval: Math.min(1000, headersMs, bodyMs),
    insecureHTTPParser: false,
    noDelay: true,
  });
  limitConnections(server, connections);
  let isStopping = false;
  server.on('request', (request, response) => {
    if (isStopping) response.setHeader('connection', 'close');
    // `serve` answers every failure itself; what is left concerns a socket that is gone.
    serve(app, request, response, drainMs).catch(() => socketOf(request)?.destroy());
  });
  server.on('clientError', refuseMalformed);
  await opened(server, host, port);
  const { port: actual } = server.address() as AddressInfo;
  return {
    host,
    port: actual,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${actual}`,
    stop: async (patienceMs) => {
      isStopping = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const ended = await app.stop(patienceMs);
      server.closeIdleConnections();
      // An answer that has been written may still be on its way; a client that does not read it is not waited for.
      const force = setTimeout(() => server.closeAllConnections(), 1000);
      await closed;
      clearTimeout(force);
      return ended;
    },
  };
}

async function opened(server: Server, host: string, port: number): Promise<void> {
  try {
    await once(server.listen({ host, port }), 'listening');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === 'EADDRINUSE' ? 'another program listens there' : (code ?? message);
    throw new CrayonError('address-unavailable', `${host}:${port}: cannot be listened on (${reason})`, {
      hint: 'Choose another --port (0 takes any free one), or another --host.',
      cause,
    });
  }
}

async function serve(
  app: ListenApp,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  drainMs: number,
): Promise<void> {
  const gone = new AbortController();
  outgoing.on('close', () => {
    if (!outgoing.writableFinished) gone.abort();
  });
  outgoing.on('error', () => gone.abort());
  incoming.on('error', () => gone.abort());
  const request = toRequest(incoming, gone.signal);
  const response =
    request instanceof Request ? await app.handle(request) : Response.json(request.body, { status: request.status });
  // What has not been read of the body: such a connection cannot be used again.
  const isUnread = !incoming.complete;
  if (isUnread) outgoing.setHeader('connection', 'close');
  if (!outgoing.destroyed) await send(response, outgoing);
  else await response.body?.cancel();
  if (isUnread) drain(incoming, drainMs);
}

/** The web's form of a request; an HttpError where it has none. */
function toRequest(incoming: IncomingMessage, signal: AbortSignal): Request | HttpError {
  const { method = 'GET', url = '/', rawHeaders } = incoming;
  // Only the path counts: "//host/x" and "http://host/x" name no other server here.
  const path = url.startsWith('/') ? url.replace(/^\/+/, '/') : '/';
  try {
    const headers = new Headers();
    for (let i = 0; i < rawHeaders.length; i += 2) headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
    const hasBody = method !== 'GET' && method !== 'HEAD';
    return new Request(`http://localhost${path}`, {
      method,
      headers,
      signal,
      body: hasBody ? (Readable.toWeb(incoming) as ReadableStream) : null,
      duplex: 'half',
    });
  } catch {
    return new HttpError(400, 'The request has no form that this server understands.', { code: 'bad_request' });
  }
}

async function send(response: Response, outgoing: ServerResponse): Promise<void> {
  outgoing.writeHead(response.status, [...response.headers].flat());
  const { body } = response;
  if (body === null || outgoing.req.method === 'HEAD') {
    await body?.cancel();
    outgoing.end();
    return;
  }
  const closed = new Promise<void>((resolve) => outgoing.once('close', resolve));
  if (response.headers.has('content-length')) return sendBytes(body, outgoing, closed);
  const reader = body.getReader();
  const type = response.headers.get('content-type') ?? '';
  if (/^(text\/event-stream|application\/x-ndjson)/.test(type)) outgoing.flushHeaders();
  // A reader that waits for the next event must learn at once that nobody reads any more.
  const left = closed.then(() => (outgoing.writableFinished ? undefined : reader.cancel().catch(() => {})));
  for (;;) {
    const { done, value } = await reader.read();
    if (done || outgoing.destroyed) break;
    if (outgoing.write(value)) continue;
    const drained = new Promise((resolve) => outgoing.once('drain', resolve));
    await Promise.race([drained, closed]);
  }
  if (outgoing.destroyed) await left;
  else outgoing.end();
}

/** What is kept of the memory that files were read into: new pieces for each would be most of the work of the garbage collector. */
const spare: ArrayBuffer[] = [];
const MOST_SPARE = 16;

/** A body of known length, which is a stream of bytes (`file.ts`): read into the same memory again once a piece has been written. */
async function sendBytes(body: ReadableStream, outgoing: ServerResponse, closed: Promise<void>): Promise<void> {
  const reader = body.getReader({ mode: 'byob' });
  let memory = spare.pop() ?? new ArrayBuffer(CHUNK_BYTES);
  while (!outgoing.destroyed) {
    const { done, value } = await reader.read(new Uint8Array(memory));
    if (value !== undefined) memory = value.buffer; // reading has taken it, and gives it back
    if (done) break;
    const written = new Promise<void>((resolve) => outgoing.write(value, () => resolve()));
    await Promise.race([written, closed]);
  }
  if (outgoing.destroyed) {
    await reader.cancel().catch(() => {});
    return; // whose memory the socket may still hold
  }
  if (spare.length < MOST_SPARE) spare.push(memory);
  outgoing.end();
}

/**
 * Reads on for a moment after an early answer: closing a socket with unread bytes resets the connection, and the client
 * would lose the answer that says why.
 */
function drain(incoming: IncomingMessage, ms: number): void {
  const socket = socketOf(incoming);
  if (socket === null) return;
  const timer = setTimeout(() => socket.destroy(), ms);
  socket.once('close', () => clearTimeout(timer));
  incoming.resume();
}

/** Null once the connection is gone and the response has let go of it, whatever Node's types say. */
function socketOf(incoming: IncomingMessage): Socket | null {
  return incoming.socket;
}

const STATUS_OF: Record<string, [number, string]> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout'],
};

/** What is no HTTP, or came too slowly. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, reason] = STATUS_OF[error.code ?? ''] ?? [400, 'Bad Request'];
  const body = JSON.stringify(new HttpError(status, `${reason}.`, { code: 'bad_request' }).body);
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `connection: close\r\n\r\n${body}`,
  );
}
