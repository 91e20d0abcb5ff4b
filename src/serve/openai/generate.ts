/** Chat and text completions: request to router to answer, whole or streamed. */

import { type GenerateRequest, Query, type TokenEvent, type Usage } from '../../engine/types.js';
import type { JsonObject } from '../../files/json.js';
import type { RoutedEvent } from '../../routing/router.js';
import type { Decision, Mode } from '../../routing/types.js';
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
import { resolveModel } from './models.js';
import { type CompletionRequest, modeOfHeader, parseChatRequest, parseTextRequest } from './request.js';

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
  const mode = modeOf(job, call, settings);
  const model = resolveModel(job.model, parts);
  call.onEnd(model.release);
  const { prompt, model: _, mode: __, maxTokens, stream, includeUsage, ...sampling } = job;
  const query = new Query(prompt);
  call.note({ mode });
  if (settings.logPrompts && mode !== 'only_on_device') call.note({ prompt: query.text });

  const request: GenerateRequest = {
    ...sampling,
    query,
    maxTokens: maxTokensOf(maxTokens, query, mode, parts, settings),
    adapters: mode === 'only_in_cloud' ? [] : model.adapters(query),
    signal: call.signal,
  };
  const events = parts.router.route(request, { mode, scope: model.scope });
  call.onEnd(() => void events.return().catch(() => {})); // leaves the engine wherever it is
  const first = await events.next();
  if (first.done || first.value.type !== 'decision') throw new Error('the router ended without a decision');
  const { decision } = first.value;
  const { source, reason, score, threshold, signals, fallbackFrom, failure } = decision;
  settings.metrics.route(mode, decision);
  call.note({ source, reason, score, threshold, ...signals });
  if (fallbackFrom !== null) call.note({ fallbackFrom, failure: failure?.code });

  const head = {
    id: idPrefix + call.id.replace(/^req_/, ''),
    created: Math.floor(settings.now() / 1000),
    model: source === 'in_cloud' ? parts.server!.name : model.name,
    crayon: crayonField(decision),
  };
  const format = answerFormat(wire, head, request.topLogprobs !== null, includeUsage);
  const headers = crayonHeaders(decision);
  const answer = watched(events, call, decision, settings);
  return stream
    ? streamed(answer, format, includeUsage, headers, call, settings)
    : Response.json(await whole(answer, format), { headers });
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

/** What was asked for, at most the server's limit. Without a number: what the device's context has room for. */
function maxTokensOf(
  maxTokens: number | null,
  query: Query,
  mode: Mode,
  { device }: ServeParts,
  { limits }: AppSettings,
): number {
  if (maxTokens !== null || mode === 'only_in_cloud') return Math.min(maxTokens ?? limits.maxTokens, limits.maxTokens);
  const room = device.contextTokens - query.tokens(device).length;
  // A prompt that fills the context alone is for the server, which has room of its own.
  return room < 1 ? limits.maxTokens : Math.min(limits.maxTokens, room);
}

/** The events with their times and counts noted as they pass. */
async function* watched(
  events: AsyncGenerator<RoutedEvent, void, void>,
  call: Call,
  { source }: Decision,
  { metrics }: AppSettings,
): AsyncGenerator<RoutedEvent, void, void> {
  let hasToken = false;
  for await (const event of events) {
    if (event.type === 'token' && !hasToken) {
      hasToken = true;
      call.note({ ttftMs: Math.round(call.ms * 1000) / 1000 });
      metrics.firstToken(source, call.ms / 1000);
    } else if (event.type === 'end') {
      const { promptTokens, completionTokens, cachedTokens } = event.usage;
      metrics.tokens(source, promptTokens, completionTokens);
      call.note({ promptTokens, completionTokens, cachedTokens, finish: event.finishReason });
    }
    yield event;
  }
}

async function whole(events: AsyncIterable<RoutedEvent>, format: AnswerFormat): Promise<object> {
  const tokens: TokenEvent[] = [];
  let text = '';
  for await (const event of events) {
    if (event.type === 'token') {
      tokens.push(event);
      text += event.text;
    } else if (event.type === 'end') {
      return format.whole(text + event.text, tokens, event.finishReason, event.usage);
    }
  }
  throw new Error('the engine ended without an end event');
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
