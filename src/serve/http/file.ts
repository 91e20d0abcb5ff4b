/** A file as an answer: read as it is sent, by ETag where the client has it already, from a byte on where its connection broke (RFC 9110, 13 and 14). */

import { closeFile, openRegularFile, readFully } from '../../files/io.js';
import type { Call } from './call.js';
import { HttpError } from './error.js';

export const CHUNK_BYTES = 256 * 1024;

export interface FileToSend {
  path: string;
  /** A strong one, with its quotes. */
  etag: string;
  headers: Record<string, string>;
}

/** Whether what the client has is still the same. */
export function isKnown({ headers }: Request, etag: string): boolean {
  const known = headers.get('if-none-match')?.split(',') ?? [];
  return known.some((tag) => ['*', etag].includes(tag.trim().replace(/^W\//, '')));
}

export const notModified = (headers: Record<string, string>): Response => new Response(null, { status: 304, headers });

/** @throws HttpError 416 for a range beyond its end; CrayonError `file-not-found` */
export function sendFile({ path, etag, headers }: FileToSend, call: Call): Response {
  const { request } = call;
  const common = { ...headers, etag, 'accept-ranges': 'bytes' };
  if (isKnown(request, etag)) return notModified(common);
  const { fd, sizeBytes } = openRegularFile(path);
  let from = 0;
  let to = sizeBytes;
  const range = rangeOf(request, etag);
  if (range !== null) {
    from = range.from ?? Math.max(0, sizeBytes - range.to!);
    to = range.from === null ? sizeBytes : Math.min(sizeBytes, (range.to ?? sizeBytes) + 1);
    if (from >= sizeBytes || from >= to) {
      closeFile(fd);
      throw new HttpError(416, `The file has ${sizeBytes} bytes.`, {
        code: 'range_not_satisfiable',
        headers: { 'content-range': `bytes */${sizeBytes}` },
      });
    }
  }
  const status = range === null ? 200 : 206;
  const answered = {
    ...common,
    'content-length': String(to - from),
    ...(range !== null && { 'content-range': `bytes ${from}-${to - 1}/${sizeBytes}` }),
  };
  if (to === from) {
    closeFile(fd);
    return new Response(null, { status, headers: answered });
  }
  call.isStreaming = true;
  return new Response(bodyOf({ fd, path, from, to }, call, status), { status, headers: answered });
}

/** One range, which may be asked for on condition that the file is the same; others are answered with the whole. */
function rangeOf({ headers, method }: Request, etag: string): { from: number | null; to: number | null } | null {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(headers.get('range')?.trim() ?? '') ?? [];
  const condition = headers.get('if-range');
  if (first === undefined || (first === '' && last === '') || method !== 'GET') return null;
  if (condition !== null && condition !== etag) return null;
  return { from: first === '' ? null : Number(first), to: last === '' ? null : Number(last) };
}

function bodyOf(
  { fd, path, from, to }: { fd: number; path: string; from: number; to: number },
  call: Call,
  status: number,
): ReadableStream<Uint8Array> {
  let at = from;
  let isOpen = true;
  const end = (as: number): void => {
    if (isOpen) closeFile(fd);
    isOpen = false;
    call.end(as);
  };
  call.signal.addEventListener('abort', () => end(499), { once: true });
  return new ReadableStream(
    {
      type: 'bytes', // read into the reader's own memory, where it brings some
      pull(controller) {
        if (!isOpen) {
          controller.error(new Error('no longer wanted')); // the time is over, or the server stops
          return;
        }
        const wanted = controller.byobRequest;
        const bytes = memoryOf(wanted, to - at);
        readFully(fd, bytes, at, path);
        at += bytes.byteLength;
        if (wanted === null) controller.enqueue(bytes);
        else wanted.respond(bytes.byteLength);
        if (at < to) return;
        controller.close();
        end(status);
      },
      cancel() {
        if (call.request.method === 'HEAD') return end(status); // whose body nobody reads
        call.cancel();
        end(499);
      },
    },
    { highWaterMark: 0 }, // the reader sets the pace
  );
}

/** For the next bytes of a file: the reader's, or new. */
function memoryOf(wanted: ReadableStreamBYOBRequest | null, left: number): Uint8Array<ArrayBuffer> {
  const view = wanted?.view;
  if (view == null) return Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, left)); // filled by who asks
  return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, Math.min(view.byteLength, left));
}
