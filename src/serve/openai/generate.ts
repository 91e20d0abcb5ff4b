/** Chat and text completions: request to router to answer, whole or streamed. */

import type { Usage } from '../../engine/types.js';
import type { JsonObject } from '../../files/json.js';
import type { RoutedEvent } from '../../routing/router.js';
import type { Call } from '../http/call.js';
import { SSE, SSE_DONE, sseData, streamedAnswer } from '../http/stream.js';
import type { AppSettings, ServeParts } from '../parts.js';
import {
  type AnswerFormat,
  type AnswerWire,
  answerFormat,
  CHAT_WIRE,
  crayonField,
  crayonHeaders,
  TEXT_WIRE,
} from './answer.js';
import { askedOf } from './asked.js';
import { choices } from './choices.js';
import { type CompletionRequest, parseChatRequest, parseTextRequest } from './request.js';
import { routed, wholeAnswer } from './routed.js';

/** A kind of completion: how it is asked for, and how it is answered. */
interface Completion {
  idPrefix: string;
  parse(body: JsonObject, limits: AppSettings['limits']): CompletionRequest;
  wire: AnswerWire;
}

export const CHAT: Completion = { idPrefix: 'chatcmpl-', parse: parseChatRequest, wire: CHAT_WIRE };
export const COMPLETION: Completion = { idPrefix: 'cmpl-', parse: parseTextRequest, wire: TEXT_WIRE };

export async function generate(
  { idPrefix, parse, wire }: Completion,
  body: JsonObject,
  call: Call,
  parts: ServeParts,
  settings: AppSettings,
): Promise<Response> {
  const job = parse(body, settings.limits);
  const { asked, queries } = await askedOf(job, call, parts, settings);
  const id = idPrefix + call.id.replace(/^req_/, '');
  const created = Math.floor(settings.now() / 1000);
  if (job.echo || queries.length > 1) return choices(queries, asked, { id, created });

  const { decision, name, events } = await routed(queries[0]!, asked);
  const head = { id, created, model: name, crayon: crayonField(decision) };
  const { stream, includeUsage, topLogprobs } = job;
  const format = answerFormat(wire, head, topLogprobs !== null, includeUsage);
  const headers = crayonHeaders(decision);
  if (stream) return streamed(events, format, includeUsage, headers, call, settings);
  const { text, tokens, finishReason, usage } = await wholeAnswer(events);
  return Response.json(format.whole(text, tokens, finishReason, usage), { headers });
}

function streamed(
  events: AsyncGenerator<RoutedEvent, void, void>,
  format: AnswerFormat,
  includeUsage: boolean,
  headers: Record<string, string>,
  call: Call,
  settings: AppSettings,
): Response {
  async function* chunks(): AsyncGenerator<string, void, void> {
    for (const chunk of format.opening()) yield sseData(chunk);
    let usage: Usage | null = null;
    for await (const event of events) {
      if (event.type === 'token') {
        const chunk = format.token(event);
        if (chunk !== null) yield sseData(chunk);
      } else if (event.type === 'end') {
        usage = event.usage;
        for (const chunk of format.closing(event.text, event.finishReason)) yield sseData(chunk);
      }
    }
    if (usage === null) throw new Error('the engine ended without an end event');
    if (includeUsage) yield sseData(format.usage(usage));
    yield SSE_DONE;
  }
  return streamedAnswer(chunks(), SSE, headers, call, settings);
}
