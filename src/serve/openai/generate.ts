/** Chat and text completions: request to router to answer, whole or streamed. */

import type { Usage } from '../../engine/types.js';
import type { JsonObject } from '../../files/json.js';
import type { RoutedEvent } from '../../routing/router.js';
import type { Mode } from '../../routing/types.js';
import type { Call } from '../http/call.js';
import { badField } from '../http/error.js';
import { SSE_DONE, SSE_HEADERS, sseBody, sseData } from '../http/sse.js';
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
import { choices, deviceMode } from './choices.js';
import { resolveModel } from './models.js';
import { type CompletionRequest, modeOfHeader, parseChatRequest, parseTextRequest } from './request.js';
import { type Asked, queriesOf, routed, wholeAnswer } from './routed.js';

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
  const mode = deviceMode({ job, mode: modeOf(job, call, settings), call, parts, settings });
  const model = resolveModel(job.model, parts);
  call.onEnd(model.release);
  const asked: Asked = { job, mode, model, call, parts, settings };
  call.note({ mode });
  const id = idPrefix + call.id.replace(/^req_/, '');
  const created = Math.floor(settings.now() / 1000);
  const queries = await queriesOf(asked);
  if (settings.logPrompts && mode !== 'only_on_device') {
    call.note({ prompt: queries.map(({ text }) => text).join('\n') });
  }
  if (job.echo || queries.length > 1) return choices(queries, asked, { id, created });

  const { decision, events } = await routed(queries[0]!, asked);
  const name = decision.source === 'in_cloud' ? parts.server!.name : model.name;
  const head = { id, created, model: name, crayon: crayonField(decision) };
  const { stream, includeUsage, topLogprobs } = job;
  const format = answerFormat(wire, head, topLogprobs !== null, includeUsage);
  const headers = crayonHeaders(decision);
  if (stream) return streamed(events, format, includeUsage, headers, call, settings);
  const { text, tokens, finishReason, usage } = await wholeAnswer(events);
  return Response.json(format.whole(text, tokens, finishReason, usage), { headers });
}

/** The body's field and the header say the same thing; the configuration may forbid both. */
function modeOf(job: CompletionRequest, call: Call, { routing }: AppSettings): Mode {
  const fromHeader = modeOfHeader(call.request);
  if (job.mode !== null && fromHeader !== null && job.mode !== fromHeader) {
    throw badField('crayon.mode', `crayon.mode is ${job.mode}, but the header x-crayon-mode is ${fromHeader}.`);
  }
  const mode = job.mode ?? fromHeader ?? routing.mode;
  if (mode !== routing.mode && !routing.modePerRequest) {
    throw badField('crayon.mode', `This server answers in mode ${routing.mode} only.`, 'mode_not_allowed');
  }
  return mode;
}

function streamed(
  events: AsyncGenerator<RoutedEvent, void, void>,
  format: AnswerFormat,
  includeUsage: boolean,
  headers: Record<string, string>,
  call: Call,
  { keepAliveMs, log }: AppSettings,
): Response {
  async function* chunks(): AsyncGenerator<string, void, void> {
    let status = 200;
    try {
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
    } catch (error) {
      const failure = call.explain(error);
      status = failure.status;
      if (status === 500) log.error({ id: call.id, err: error }, 'failed while streaming');
      // The status has long been sent: what is left is an event, and an end without [DONE].
      yield sseData(failure.body);
    } finally {
      call.end(status);
    }
  }
  call.isStreaming = true;
  const body = sseBody(chunks(), keepAliveMs, () => {
    call.cancel();
    call.end(499); // a body that was never read does not reach its own `finally`
  });
  return new Response(body, { headers: { ...SSE_HEADERS, ...headers } });
}
