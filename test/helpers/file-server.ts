/** A plain file server over a real socket, as nginx or an object store is one, that keeps what it was asked and can be told to fail. */

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export interface Asked {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
}

export interface FileServer {
  /** with a slash at its end */
  url: string;
  port: number;
  asked: Asked[];
  /** bytes of bodies */
  sent: number;
  /** answers in place of the server; returns whether it has */
  instead: (path: string, response: ServerResponse, request: IncomingMessage) => boolean;
  close(): Promise<void>;
}

export async function fileServer(dir: string, { ranges = true, etags = true } = {}): Promise<FileServer> {
  const asked: Asked[] = [];
  const http = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const path = decodeURIComponent(request.url!.split('?')[0]!);
      asked.push({ method: request.method!, path, headers: request.headers, body: Buffer.concat(parts).toString() });
      const write = response.write.bind(response);
      response.write = ((piece: Buffer, ...rest: []) => {
        server.sent += piece.length;
        return write(piece, ...rest);
      }) as typeof response.write;
      if (!server.instead(path, response, request)) answer(path, request, response);
    });
  });
  const answer = (path: string, { headers }: IncomingMessage, response: ServerResponse) => {
    const file = join(dir, path);
    if (!existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end();
      return;
    }
    const bytes = readFileSync(file);
    const etag = `"${createHash('sha256').update(bytes).digest('hex').slice(0, 12)}"`;
    const common: Record<string, string> = etags ? { etag } : {};
    if (etags && headers['if-none-match'] === etag) {
      response.writeHead(304, common).end();
      return;
    }
    const from = ranges ? Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0) : 0;
    const isPart = from > 0 && (headers['if-range'] === undefined || headers['if-range'] === etag);
    const part = isPart ? bytes.subarray(from) : bytes;
    response.writeHead(isPart ? 206 : 200, {
      ...common,
      'content-length': part.length,
      ...(isPart && { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
    });
    response.write(part);
    response.end();
  };
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;
  const server: FileServer = {
    url: `http://127.0.0.1:${port}/`,
    port,
    asked,
    sent: 0,
    instead: () => false,
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
  onTestFinished(() => server.close());
  return server;
}
