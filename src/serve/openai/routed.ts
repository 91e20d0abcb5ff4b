/** One query of a completion on its way through the router: what it asks of an engine, who answers, and what of it is counted. */

import { type GenerateRequest, Query, type TokenEvent } from '../../engine/types.js';
import type { RoutedEvent } from '../../routing/router.js';
import type { Decision, Mode } from '../../routing/types.js';
import type { Call } from '../http/call.js';
import type { AppSettings, ServeParts } from '../parts.js';
import { CollectedCalls } from './calls.js';
import type { ServedModel } from './models.js';
import { type CompletionRequest, samplingOf } from './request.js';

/** What all queries of one request have in common. */
export interface Asked {
  job: CompletionRequest;
  mode: Mode;
  model: ServedModel;
  call: Call;
  parts: ServeParts;
  settings: AppSettings;
}

export interface Routed {
  decision: Decision;
  /** The model that answers: the server LLM's name, or the request's. */
  name: string;
  /** The answer's, with their times and counts noted as they pass. */
  events: AsyncGenerator<RoutedEvent, void, void>;
  /** Milliseconds from the request's arrival until it was put to the router, and until the answer's first token was there. */
  times(): { askedMs: number; firstTokenMs: number };
}

/** The prompts as queries: token ids are the device's, and so is the text that they are. */
export async function queriesOf({ job, call, parts }: Pick<Asked, 'job' | 'call' | 'parts'>): Promise<Query[]> {
  const { vocabulary } = parts.device;
  const queries: Query[] = [];
  for (const given of job.prompts) {
    if (given.kind !== 'tokens') queries.push(new Query(given));
    else {
      const { ids } = given;
      const texts = (await vocabulary.spellAside?.(ids, call.signal)) ?? vocabulary.spell(ids);
      queries.push(new Query({ kind: 'text', text: texts.join(''), ids }));
    }
  }
  return queries;
}

/** What the rule, the gate and the scope will ask of a query is made aside from the event loop; none of it where only the server answers. */
export async function prepared(
  query: Query,
  { job, mode, model, call, parts }: Omit<Asked, 'settings'>,
): Promise<Query> {
  const { device, embedder } = parts;
  if (mode === 'only_in_cloud') return query;
  // Where the server is preferred, the router asks for tokens when they are needed.
  if (mode !== 'prefer_in_cloud' || job.maxTokens === null) await query.tokensAside(device, call.signal);
  const isCompared = model.scope !== null || (parts.router.parts.config.success ?? null) !== null;
  const isEmbedded = model.isGated || (isCompared && mode === 'prefer_on_device');
  if (isEmbedded && embedder !== null) await query.vectorAside(embedder, call.signal);
  return query;
}

/** Sends a query to the source that the rule names; what fails before the answer's first token is thrown here. */
export async function routed(query: Query, asked: Asked): Promise<Routed> {
  const { job, mode, model, call, parts, settings } = asked;
  await prepared(query, asked);
  const { unasked = [] } = job;
  const { maxTokens, isMaxTokensGiven } = settings.limits;
  const isBounded = job.maxTokens !== null || isMaxTokensGiven;
  const request: GenerateRequest = {
    ...samplingOf(job),
    logprobs: job.topLogprobs !== null,
    query,
    maxTokens: maxTokensOf(query, asked),
    serverMaxTokens: Math.min(job.maxTokens ?? maxTokens, maxTokens),
    unasked: isBounded ? unasked : [...unasked, 'maxTokens'],
    adapters: mode === 'only_in_cloud' ? [] : model.adapters(query),
    signal: call.signal,
  };
  // What is not streamed is held until it is whole, and its first token is long gone when it is passed on.
  const whole = !job.stream;
  let firstMs: number | null = null;
  const onFirstToken = (): void => {
    firstMs = call.ms;
  };
  const askedMs = call.ms;
  const events = parts.router.route(request, { mode, scope: model.scope, whole, onFirstToken });
  call.onEnd(() => void events.return().catch(() => {})); // leaves the engine wherever it is
  const first = await events.next();
  if (first.done || first.value.type !== 'decision') throw new Error('the router ended without a decision');
  const { decision } = first.value;
  noteDecision(decision, asked);
  const name = decision.source === 'in_cloud' ? parts.server!.name : model.name;
  return {
    ...{ decision, name, events: watched(events, () => (whole ? (firstMs ?? call.ms) : call.ms), asked, decision) },
    times: () => ({ askedMs, firstTokenMs: firstMs ?? call.ms }),
  };
}

export function noteDecision(decision: Decision, { mode, call, settings }: Pick<Asked, 'mode' | 'call' | 'settings'>) {
  const { source, reason, score, threshold, signals, fallbackFrom, failure } = decision;
  settings.metrics.route(mode, decision);
  call.note({ source, reason, score, threshold, ...signals });
  if (fallbackFrom !== null) call.note({ fallbackFrom, failure: failure?.code });
}

/** What was asked for, at most the server's limit. Without a number: what the device's context has room for. */
export function maxTokensOf(query: Query, { job, mode, parts: { device }, settings: { limits } }: Asked): number {
  const { maxTokens } = job;
  if (maxTokens !== null || mode === 'only_in_cloud') return Math.min(maxTokens ?? limits.maxTokens, limits.maxTokens);
  const room = device.contextTokens - query.tokens(device).length;
  // A prompt that fills the context alone is for the server, which has room of its own.
  return room < 1 ? limits.maxTokens : Math.min(limits.maxTokens, room);
}

/** The events with their times and counts noted as they pass. */
async function* watched(
  events: AsyncGenerator<RoutedEvent, void, void>,
  firstTokenMs: () => number,
  { call, settings: { metrics } }: Asked,
  { source }: Decision,
): AsyncGenerator<RoutedEvent, void, void> {
  let hasToken = false;
  for await (const event of events) {
    if (event.type === 'token' && !hasToken) {
      hasToken = true;
      const ms = firstTokenMs();
      call.note({ ttftMs: Math.round(ms * 1000) / 1000 });
      metrics.firstToken(source, ms / 1000);
    } else if (event.type === 'end') {
      const { promptTokens, completionTokens, cachedTokens } = event.usage;
      metrics.tokens(source, promptTokens, completionTokens);
      call.note({ promptTokens, completionTokens, cachedTokens, finish: event.finishReason });
    }
    yield event;
  }
}

/** Reads an answer to its end, which it returns. @param take is given its tokens */
export async function endOf(events: AsyncIterable<RoutedEvent>, take: (token: TokenEvent) => unknown) {
  for await (const event of events) {
    if (event.type === 'token') take(event);
    else if (event.type === 'end') return event;
  }
  throw new Error('the engine ended without an end event');
}

/** An answer read to its end. */
export async function wholeAnswer(events: AsyncIterable<RoutedEvent>) {
  const tokens: TokenEvent[] = [];
  const calls = new CollectedCalls();
  let text = '';
  const end = await endOf(events, (token) => {
    tokens.push(token);
    text += token.text;
    calls.add(token.calls);
  });
  calls.add(end.calls);
  return { ...end, text: text + end.text, tokens, calls: calls.list };
}
