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
import { added, askedFor, choices } from './choices.js';
import { type CompletionRequest, parseChatRequest, parseTextRequest } from './request.js';
import { type Asked, routed, wholeAnswer } from './routed.js';

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
  const each = askedFor(asked);
  if (job.echo || queries.length > 1 || (each.length > 1 && !job.stream)) {
    return choices(queries, asked, wire, { id, created });
  }

  const { stream, includeUsage, topLogprobs } = job;
  const open = async (one: Asked, index: number) => {
    const { decision, name, events } = await routed(queries[0]!, one);
    const head = { id, created, model: name, crayon: crayonField(decision) };
    return { decision, events, format: answerFormat(wire, head, topLogprobs !== null, includeUsage, index) };
  };
  const first = await open(asked, 0);
  const headers = each.length > 1 ? {} : crayonHeaders(first.decision);
  if (!stream) return Response.json(first.format.whole(await wholeAnswer(first.events)), { headers });
  const opening = each.map((one, i) => () => (i === 0 ? first : open(one, i)));
  const chunks = chunksOf(opening, parts.device.load().capacity, includeUsage);
  return streamedAnswer(chunks, SSE, headers, call, settings);
}

/** One of the answers of a stream. */
interface Opened {
  events: AsyncGenerator<RoutedEvent, void, void>;
  format: AnswerFormat;
}

/** @param opening of each answer, in turn: at most `atATime` are under way */
async function* chunksOf(
  opening: ReadonlyArray<() => Opened | Promise<Opened>>,
  atATime: number,
  includeUsage: boolean,
): AsyncGenerator<string, void, void> {
  let usage: Usage | null = null;
  let last: AnswerFormat | undefined;
  async function* answer(open: () => Opened | Promise<Opened>): AsyncGenerator<string, void, void> {
    const { events, format } = await open();
    last = format;
    let counted: Usage | null = null;
    for (const chunk of format.opening()) yield sseData(chunk);
    for await (const event of events) {
      if (event.type === 'token') {
        const chunk = format.token(event);
        if (chunk !== null) yield sseData(chunk);
      } else if (event.type === 'end') {
        counted = event.usage;
        for (const chunk of format.closing(event)) yield sseData(chunk);
      }
    }
    if (counted === null) throw new Error('the engine ended without an end event');
    usage = usage === null ? counted : added(usage, { ...counted, promptTokens: 0, cachedTokens: 0 });
  }
  const answers = opening.map((open) => () => answer(open));
  yield* answers.length === 1 ? answers[0]!() : merged(answers, atATime);
  if (includeUsage) yield sseData(last!.usage(usage!));
  yield SSE_DONE;
}

/** What several give, as it comes; at most `atATime` are under way. */
async function* merged<T>(
  list: ReadonlyArray<() => AsyncGenerator<T>>,
  atATime: number,
): AsyncGenerator<T, void, void> {
  const running = new Map<AsyncGenerator<T>, Promise<{ from: AsyncGenerator<T>; result: IteratorResult<T> }>>();
  const left = list.values();
  const step = (from: AsyncGenerator<T>): void => {
    const next = from.next().then((result) => ({ from, result }));
    next.catch(() => {}); // it is heard of in its turn, if anybody still listens
    running.set(from, next);
  };
  const begin = (): void => {
    const { value: open } = left.next();
    if (open !== undefined) step(open());
  };
  for (let i = 0; i < atATime; i++) begin();
  try {
    while (running.size > 0) {
      const { from, result } = await Promise.race(running.values());
      running.delete(from);
      if (result.done) begin();
      else {
        yield result.value;
        step(from);
      }
    }
  } finally {
    for (const from of running.keys()) void from.return(undefined).catch(() => {});
  }
}
