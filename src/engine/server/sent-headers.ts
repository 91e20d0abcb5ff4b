/**
 * When fetch has its connection: the moment at which undici, node's fetch, writes a request's headers.
 *
 * fetch itself does not say, and a time-out for connecting that also covers a long prefill is none. undici publishes it on
 * node's diagnostics channel (undici docs, "Diagnostics Channel Support"); the request is recognised by its x-request-id.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';

export const REQUEST_ID_HEADER = 'x-request-id';

const CHANNEL = 'undici:client:sendHeaders';
const waiting = new Map<string, () => void>();

/** HTTP/1.1 gives the header block as text, HTTP/2 and other versions of undici give lists or objects. */
function onSendHeaders(message: unknown): void {
  const { headers, request } = message as { headers?: unknown; request?: { headers?: unknown } };
  const text = [headers, request?.headers].map((h) => (typeof h === 'string' ? h : JSON.stringify(h))).join('\n');
  const id = new RegExp(`${REQUEST_ID_HEADER}["':,\\s]+([0-9a-f-]{36})`, 'i').exec(text)?.[1];
  if (id !== undefined) waiting.get(id)?.();
}

/** Calls back once the request with this id is being sent. @returns a function that forgets it */
export function onHeadersSent(requestId: string, callback: () => void): () => void {
  if (waiting.size === 0) subscribe(CHANNEL, onSendHeaders);
  waiting.set(requestId, callback);
  return () => {
    if (waiting.delete(requestId) && waiting.size === 0) unsubscribe(CHANNEL, onSendHeaders);
  };
}
