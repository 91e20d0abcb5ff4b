/** The server's API as the page asks it. The key stays in this module's memory: a page that is loaded anew asks for it again. */

import { EventSourceParserStream } from 'eventsource-parser/stream';
import type { CrayonFacts, WhoAnswered } from '../wire.js';

/** A failure in the server's words. `status` is 0 where no answer came. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly type: string,
    message: string,
  ) {
    super(message);
  }
}

/** As /v1/customizations shows one; what the page does not use is left out. */
export interface Customization {
  id: string;
  model: string;
  name: string | null;
  created: number;
  coefficients: number[] | null;
  coverage: { verdict: 'covered' | 'borderline' | 'not-covered'; sentence: string } | null;
  examples: number;
  notices: string[];
  blend_ms: number;
  /** Why it cannot be used any more. */
  problem?: { message: string };
  choice: { chosen: string; candidates: Array<{ name: string; title: string; loss: number }> } | null;
}

export interface Chunk {
  model: string;
  choices: Array<{ delta: { content?: string | null }; finish_reason: string | null }>;
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
  crayon?: WhoAnswered;
}

export interface ChatBody {
  model: string;
  messages: Array<{ role: string; content: string }>;
  temperature: number;
  max_tokens?: number;
  crayon?: { mode: string };
}

let key: string | null = null;

export function useKey(given: string | null): void {
  key = given;
}

export const readFacts = () => json<CrayonFacts>('/v1/crayon');
export const listUsers = async () => (await json<{ data: Customization[] }>('/v1/customizations')).data;
export const createUser = (body: object) => json<Customization>('/v1/customizations', { body });
export const deleteUser = (id: string) => json(`/v1/customizations/${encodeURIComponent(id)}`, { method: 'DELETE' });

/** The chunks of an answer as they come. @throws ApiError; what `signal` throws */
export async function* streamAnswer(asked: ChatBody, signal: AbortSignal): AsyncGenerator<Chunk> {
  const body = { ...asked, stream: true, stream_options: { include_usage: true } };
  const response = await send('/v1/chat/completions', { body, signal });
  const text = response.body!.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>);
  const reader = text.pipeThrough(new EventSourceParserStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      if (signal.aborted) throw error;
      return { done: true, value: undefined } as const;
    });
    if (done) throw new ApiError(0, 'cut', 'connection', 'The answer broke off before it was whole.');
    if (value.data === '[DONE]') return;
    const chunk: Chunk & { error?: unknown } = JSON.parse(value.data);
    if (chunk.error !== undefined) throw failure(response.status, chunk);
    yield chunk;
  }
}

interface Sent {
  method?: string;
  body?: object;
  signal?: AbortSignal;
}

async function json<T>(path: string, sent: Sent = {}): Promise<T> {
  const response = await send(path, sent);
  return (await response.json()) as T;
}

async function send(
  path: string,
  { body, method = body === undefined ? 'GET' : 'POST', signal }: Sent,
): Promise<Response> {
  const headers = new Headers();
  if (body !== undefined) headers.set('content-type', 'application/json');
  if (key !== null) headers.set('authorization', `Bearer ${key}`);
  const request: RequestInit = { method, headers, cache: 'no-store', credentials: 'omit' };
  if (body !== undefined) request.body = JSON.stringify(body);
  if (signal !== undefined) request.signal = signal;
  let response: Response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'unreachable', 'connection', 'The server cannot be reached. Is it still running?');
  }
  if (response.ok) return response;
  throw failure(response.status, await response.json().catch(() => null));
}

/** OpenAI's shape of an error; anything else is from something in between. */
function failure(status: number, body: unknown): ApiError {
  const { error } = (body ?? {}) as { error?: { message?: string; code?: string; type?: string } };
  const { message = `The server answered with status ${status}.`, code = 'unknown', type = 'unknown' } = error ?? {};
  return new ApiError(status, code, type, message);
}
