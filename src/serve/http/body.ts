/**
 * A request's JSON body: bounded while it is read, and checked by a zod schema. Every field must be in the schema: what is not is
 * refused by name, so that no parameter is silently ignored. `null` is as good as absent, as in OpenAI's API.
 */

import * as z from 'zod';
import { nearestName } from '../../core/format.js';
import { isJsonObject, jsonValue } from '../../files/json.js';
import { pathText, valueAt } from '../../files/schema.js';
import type { Call, Handler } from './call.js';
import { badField, HttpError } from './error.js';

/**
 * Handlers that are given the request's body, a JSON object or, for the one route that takes it, a list.
 *
 * `maxBytes`: more than this is refused before it is in memory.
 *
 * @throws HttpError 415 for another content type, 413 when too large, 400 for what is no JSON object
 */
export const withJson = bodyTaker(isJsonObject, 'object');
export const withJsonList = bodyTaker<unknown[]>(Array.isArray, 'list');

function bodyTaker<T>(isRight: (body: unknown) => body is T, what: string) {
  return (maxBytes: number, handler: (call: Call, body: T) => Response | Promise<Response>): Handler =>
    async (call) => {
      const bytes = await readBody(call.request, maxBytes);
      let body: unknown;
      try {
        body = jsonValue(new TextDecoder('utf-8', { fatal: true }).decode(bytes), { refuseTwice: true });
      } catch (error) {
        // The parser's message would quote the body, which may be a prompt; ours names a key or a limit.
        const why = error instanceof Error && error.name === 'Error' ? `: ${error.message}` : ' in UTF-8';
        throw invalidJson(`The request body is not valid JSON${why}.`);
      }
      if (isRight(body)) return handler(call, body);
      throw invalidJson(`The request body is not a JSON ${what}.`);
    };
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

/** Only JSON: a web page of another origin can send text or a form here without asking, but not this type. */
function refuseOtherTypes({ headers }: Request): void {
  // Names of types, character sets and codings are without case (RFC 9110, 8.3.1, 8.3.2, 8.4.1).
  const [type, ...parameters] = (headers.get('content-type') ?? '').toLowerCase().split(';');
  const charset =
    parameters.map((one) => /^\s*charset\s*=\s*"?([^"\s]*)"?\s*$/.exec(one)?.[1]).find(Boolean) ?? 'utf-8';
  if (type!.trim() !== 'application/json' || !/^(utf-?8|us-ascii)$/.test(charset)) {
    throw new HttpError(415, 'Send the request with content-type: application/json, in UTF-8.', {
      code: 'unsupported_media_type',
    });
  }
  const codings = (headers.get('content-encoding') ?? '').toLowerCase().split(',');
  if (codings.some((coding) => !['', 'identity'].includes(coding.trim()))) {
    throw new HttpError(415, 'Send the request without a content-encoding.', { code: 'unsupported_encoding' });
  }
}

function tooLarge(maxBytes: number): HttpError {
  return new HttpError(413, `The request body is larger than ${maxBytes} bytes.`, { code: 'request_too_large' });
}

/** A JSON object with these fields and no others. A field's `error` is what is expected, as in files/schema.ts, or `says`. */
export function fields<T extends z.ZodRawShape>(shape: T, expected = 'an object') {
  const error = (issue: { code?: string }) => (issue.code === 'unrecognized_keys' ? known : expected);
  const known = Object.keys(shape).join(' ');
  return z.preprocess(withoutNulls, z.strictObject(shape, { error }));
}

/** The fields that have a value. */
export function withoutNulls(value: unknown): unknown {
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null));
}

/** For a refinement: the rest of a sentence about the field, in place of what was found and what is expected. */
export function says(error: string | ((issue: { input?: unknown }) => string), code = 'invalid_value') {
  return { error, params: { code } };
}

/** Text that a tokenizer can take. */
export function plainText(expected = 'text') {
  return z
    .string(expected)
    .refine((text) => !text.includes('\0'), says('has a NUL character'))
    .refine((text) => !/\p{Surrogate}/u.test(text), says('has half a surrogate pair, which is no character'));
}

export const flag = z.boolean('true or false');

export function number(min: number, max: number) {
  const phrase = `a number from ${min} to ${max}`;
  return z.number(phrase).min(min, phrase).max(max, phrase);
}

export function oneOf<const T extends readonly [string, ...string[]]>(names: T) {
  return z.enum(names, names.join(', '));
}

/** One text or a list, each by its own schema: what is wrong is said of the form that was meant. */
export function textOrList<T>(text: z.ZodType<T>, list: z.ZodType<T>) {
  return z.unknown().transform((value, context): T => {
    const { data, error } = (Array.isArray(value) ? list : text).safeParse(value);
    if (error === undefined) return data;
    for (const issue of error.issues) context.issues.push({ ...issue, input: value } as z.core.$ZodRawIssue);
    return z.NEVER;
  });
}

/** A field that may be sent only with a value that means "not used". */
export function only(isUnused: (value: unknown) => boolean, expected: string) {
  const sentence = `is not supported by this server: leave it out, or send ${expected}`;
  return z.unknown().refine(isUnused, says(sentence, 'unsupported_parameter')).optional();
}

const NOT_SUPPORTED = says('is not supported by this server', 'unsupported_parameter');
export const unsupported = z.unknown().refine(() => false, NOT_SUPPORTED);

/** Fields of one schema that need not be there: `unsupported` ones, or by default those that change nothing about the answer. */
export function each<const K extends string>(names: readonly K[], schema: z.ZodType<unknown> = z.unknown()) {
  return Object.fromEntries(names.map((name) => [name, schema.optional()])) as Record<
    K,
    z.ZodOptional<z.ZodType<unknown>>
  >;
}

/** @throws HttpError naming the first field that is wrong */
export function checkedFields<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const { data, error } = schema.safeParse(body);
  if (error === undefined) return data!;
  const issue = error.issues[0]!;
  const { path, message } = issue;
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!;
    const near = nearestName(key, message.split(' '));
    const param = pathText([...path, key.slice(0, 64)]);
    const help = near === undefined ? '' : ` Did you mean ${near}?`;
    throw badField(param, `Unrecognized request argument supplied: ${param}.${help}`, 'unknown_parameter');
  }
  const param = pathText(path);
  if (issue.code === 'custom' && issue.params !== undefined) {
    throw badField(param, `${param} ${message}.`, issue.params.code);
  }
  const found = valueAt(body, path);
  const isMissing = found === undefined || (found === null && typeof path.at(-1) === 'string');
  // A text in place of an object may be a prompt.
  const isText = typeof found === 'string' && issue.code === 'invalid_type' && issue.expected === 'object';
  const what = isMissing ? 'missing' : isText ? 'text' : kindOf(found);
  const code = isMissing ? 'missing_required_parameter' : 'invalid_value';
  throw badField(param, `${param} is ${what}, expected ${message}.`, code);
}

/** Short and without content: a prompt must not come back in an error that is logged. */
export function kindOf(found: unknown): string {
  if (typeof found === 'number' || typeof found === 'boolean') return String(found);
  if (Array.isArray(found)) return `a list of ${found.length}`;
  if (typeof found !== 'string') return found === null ? 'null' : found === undefined ? 'missing' : 'an object';
  return found.length <= 24 ? JSON.stringify(found) : `a text of ${found.length} characters`;
}
