/** Two scripted engines and a router over them, for tests of the routing rule. */

import { type GenerateRequest, Query } from '../../src/engine/types.js';
import { type RoutedEvent, type RouteOptions, Router } from '../../src/routing/router.js';
import type { CorrectnessWeights } from '../../src/routing/signals/correctness.js';
import type { Thresholds } from '../../src/routing/signals/index.js';
import type { ScopeFunction } from '../../src/routing/signals/scope.js';
import type { ClusterFunction } from '../../src/routing/signals/success.js';
import type { Decision, RoutingConfig } from '../../src/routing/types.js';
import type { Asked } from './generate.js';
import { createScriptedEngine, type ScriptedEngine, type ScriptedOptions } from './scripted.js';

export interface RouterSetup {
  device?: Partial<ScriptedOptions>;
  /** null: there is none */
  server?: Partial<ScriptedOptions> | null;
  mode?: RoutingConfig['mode'];
  thresholds?: Partial<Thresholds>;
  correctness?: CorrectnessWeights;
  success?: readonly number[];
  serverSuccess?: readonly number[];
  serverShift?: number;
  confidence?: Partial<RoutingConfig['confidence']>;
  load?: boolean;
  scope?: ScopeFunction | null;
  clusters?: ClusterFunction;
}

export function setUpRouter(setup: RouterSetup = {}) {
  const device = createScriptedEngine({ name: 'edge', answers: 'from the edge', ...setup.device });
  const server =
    setup.server === null
      ? null
      : createScriptedEngine({ name: 'server', answers: 'from the server', ...setup.server });
  const config: RoutingConfig = {
    mode: setup.mode ?? 'prefer_on_device',
    thresholds: { scope: null, complexity: null, confidence: null, ...setup.thresholds },
    confidence: { measure: 'mean-logprob', tokens: 2, ...setup.confidence },
    ...(setup.correctness === undefined ? {} : { correctness: setup.correctness }),
    success: setup.success ?? null,
    serverSuccess: setup.serverSuccess ?? null,
    serverShift: setup.serverShift ?? 0,
    load: setup.load ?? true,
  };
  return {
    device,
    server,
    router: new Router({ device, server, config, scope: setup.scope ?? null, clusters: setup.clusters ?? null }),
  };
}

export function aRequest({ prompt, ...fields }: Asked = {}): GenerateRequest {
  return {
    query: new Query(prompt ?? { kind: 'text', text: 'a short question' }),
    maxTokens: 16,
    temperature: 0,
    topP: 1,
    seed: null,
    stop: [],
    topLogprobs: null,
    signal: new AbortController().signal,
    ...fields,
  };
}

export interface Routed {
  decision: Decision | null;
  events: RoutedEvent[];
  text: string;
  error: unknown;
}

/** Reads an answer to its end or its error. */
export async function readAll(router: Router, request = aRequest(), options: RouteOptions = {}): Promise<Routed> {
  const events: RoutedEvent[] = [];
  let error: unknown = null;
  try {
    for await (const event of router.route(request, options)) events.push(event);
  } catch (thrown) {
    error = thrown;
  }
  const first = events[0];
  return {
    decision: first?.type === 'decision' ? first.decision : null,
    events,
    text: events.map((event) => (event.type === 'token' || event.type === 'end' ? event.text : '')).join(''),
    error,
  };
}

/** Everything that has reached an engine, of whatever kind: a list to compare with []. */
export function reached(engine: ScriptedEngine | null): unknown[] {
  return engine === null ? [] : [...engine.requests, ...engine.nllRequests, ...engine.tokenized];
}
