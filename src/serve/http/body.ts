/** A request's JSON body, bounded while it is read. */

import { isJsonObject, type JsonObject } from '../../files/json.js';
import { HttpError } from './error.js';

/**
 * @param maxBytes more than this is refused before it is in memory
 * @throws HttpError 415 for another content type, 413 when too large, 400 for what is no JSON object
 */
export async function readJsonBody(request: Request, maxBytes: number): Promise<JsonObject> {
  const bytes = await readBody(request, maxBytes);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    // The parser's message would quote the body, which may be a prompt.
    throw new HttpError(400, 'The request body is not valid JSON in UTF-8.', { code: 'invalid_json' });
  }
  if (isJsonObject(value)) return value;
  throw new HttpError(400, 'The request body is not a JSON object.', { code: 'invalid_json' });
}

/** Any JSON value, for the one route that takes a list. */
export async function readJsonList(request: Request, maxBytes: number): Promise<unknown[]> {
  const bytes = await readBody(request, maxBytes);
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (Array.isArray(value)) return value;
  } catch {}
  throw new HttpError(400, 'The request body is not a JSON list.', { code: 'invalid_json' });
}

async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  refuseOtherTypes(request);
  const declared = Number(request.headers.get('content-length') ?? 0);
  if (declared > maxBytes) throw tooLarge(maxBytes);
  if (request.body === null) return new Uint8Array();
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = request.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((cause: unknown) => {
      throw new HttpError(400, 'The request ended before its body was complete.', { code: 'incomplete_body', cause });
    });
    if (done) return Buffer.concat(parts, length);
    length += value.byteLength;
    if (length > maxBytes) {
      reader.cancel().catch(() => {});
      throw tooLarge(maxBytes);
    }
    parts.push(value);
  }
}

/**
 * Only JSON: a web page of another origin can send text or a form here without asking, but not this type.
 */
function refuseOtherTypes({ headers }: Request): void {
  const type = headers.get('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new HttpError(415, 'Send the request with content-type: application/json.', {
      code: 'unsupported_media_type',
    });
  }
  const encoding = headers.get('content-encoding') ?? 'identity';
  if (encoding !== 'identity') {
    throw new HttpError(415, 'Send the request without a content-encoding.', { code: 'unsupported_encoding' });
  }
}

function tooLarge(maxBytes: number): HttpError {
  return new HttpError(413, `The request body is larger than ${maxBytes} bytes.`, { code: 'request_too_large' });
}
