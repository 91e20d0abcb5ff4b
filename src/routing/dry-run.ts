/**
 * One decision without its answer, and without the server: what the rule would do with a query, and what every signal says
 * of it, also those that are switched off.
 */

import type { AdapterScale, EdgeEngine, GenerateRequest, Query } from '../engine/types.js';
import { GO_ON, RoutingRule, type Step } from './rule.js';
import { ConfidenceTracker, needsDistribution } from './signals/confidence.js';
import { readSignals } from './signals/index.js';
import type { ScopeFunction } from './signals/scope.js';
import type { Decision, Mode, RoutingConfig } from './types.js';

export interface DryRunParts {
  edge: EdgeEngine;
  /** whether there is a server to send to; it is not asked anything */
  hasServer: boolean;
  config: RoutingConfig;
  scope: ScopeFunction | null;
  adapters: readonly AdapterScale[];
}

export interface DryRun {
  decision: Decision;
  promptTokens: number;
  /** every signal; null where the query has none, and for all where it does not fit the device, which then computes nothing */
  values: ReturnType<typeof readSignals>;
  /** the device's tokens that the confidence is of */
  answer: string | null;
}

/**
 * @param signal ends the work on the device
 * @throws CrayonError `context-exceeded` and `server-unreachable`, where the router would answer with them; the device's own
 */
export async function dryRun(
  { edge, hasServer, config, scope, adapters }: DryRunParts,
  { query, maxTokens, mode }: { query: Query; maxTokens: number; mode?: Mode },
  signal: AbortSignal,
): Promise<DryRun> {
  const promptTokens = query.tokens(edge).length;
  const score = scope?.(query) ?? null;
  const rule = new RoutingRule(config, {
    mode: mode ?? config.mode,
    promptTokens: () => promptTokens,
    maxTokens,
    contextTokens: edge.contextTokens,
    hasServer,
    load: () => edge.load(),
    freeBytes: edge.freeBytes?.bind(edge),
    scope: () => score,
  });
  const evidence = {
    config,
    maxTokens,
    promptTokens: () => promptTokens,
    scope: () => score,
    promptNll: Number.NaN,
    confidence: Number.NaN,
  };
  let step: Step = rule.beforeWork();
  if (promptTokens + maxTokens > edge.contextTokens) {
    const decision = step === GO_ON ? rule.accept() : step;
    return { decision, promptTokens, values: readSignals(evidence, ['before-work']), answer: null };
  }
  const promptNll = await edge.promptNll(query, adapters, signal);
  if (step === GO_ON && rule.needs('after-prompt')) step = rule.afterPrompt(promptNll);
  const { confidence, answer } = await firstTokens(edge, config.confidence, { query, maxTokens, adapters }, signal);
  if (step === GO_ON) step = rule.needs('after-tokens') ? rule.afterTokens(confidence) : rule.accept();
  return { decision: step, promptTokens, values: readSignals({ ...evidence, promptNll, confidence }), answer };
}

async function firstTokens(
  edge: EdgeEngine,
  { measure, tokens }: RoutingConfig['confidence'],
  asked: Pick<GenerateRequest, 'query' | 'maxTokens' | 'adapters'>,
  signal: AbortSignal,
): Promise<{ confidence: number; answer: string }> {
  const tracker = new ConfidenceTracker(measure, tokens);
  const request: GenerateRequest = {
    ...asked,
    temperature: 0,
    topP: 1,
    seed: null,
    stop: [],
    topLogprobs: null,
    signal,
    ...(needsDistribution(measure) ? { distribution: true } : {}),
  };
  let answer = '';
  // Leaving the loop ends the generation.
  for await (const event of edge.generate(request)) {
    if (event.type === 'start') continue;
    answer += event.text;
    if (event.type === 'token') tracker.add(event);
    if (tracker.complete) break;
  }
  return { confidence: tracker.value(), answer };
}
