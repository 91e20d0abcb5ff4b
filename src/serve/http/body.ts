/** A request's JSON body, bounded while it is read. */

import { isJsonObject, type JsonObject } from '../../files/json.js';
import type { Call, Handler } from './call.js';
import { HttpError } from './error.js';

/**
 * A handler that is given the request's body, a JSON object.
 *
 * @param maxBytes more than this is refused before it is in memory
 * @throws HttpError 415 for another content type, 413 when too large, 400 for what is no JSON object
 */
export function withJson(
  maxBytes: number,
  handler: (call: Call, body: JsonObject) => Response | Promise<Response>,
): Handler {
  return async (call) => {
    const body = await readJson(call.request, maxBytes);
    if (!isJsonObject(body)) throw invalidJson('The request body is not a JSON object.');
    return handler(call, body);
  };
}

/** The same for the one route that takes a list. */
export function withJsonList(maxBytes: number, handler: (call: Call, body: unknown[]) => Response): Handler {
  return async (call) => {
    const body = await readJson(call.request, maxBytes);
    if (!Array.isArray(body)) throw invalidJson('The request body is not a JSON list.');
    return handler(call, body);
  };
}

async function readJson(request: Request, maxBytes: number): Promise<unknown> {
  const bytes = await readBody(request, maxBytes);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    // The parser's message would quote the body, which may be a prompt.
    throw invalidJson('The request body is not valid JSON in UTF-8.');
  }
}

const invalidJson = (message: string) => new HttpError(400, message, { code: 'invalid_json' });

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
