/**
 * One decision without its answer, and without the server: what the rule would do with a query, and what every signal says
 * of it, also those that are switched off.
 */

import type { AdapterScale, EdgeEngine, GenerateRequest, Prompt } from '../engine/types.js';
import { promptText } from '../engine/types.js';
import { GO_ON, RoutingRule, type Step } from './rule.js';
import { ConfidenceTracker, needsDistribution } from './signals/confidence.js';
import { correctnessOf, weighs } from './signals/correctness.js';
import type { ScopeFunction, ScopeScore } from './signals/scope.js';
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
  /** null where there is no profile */
  scope: ScopeScore | null;
  /** null where the query does not fit the device, which then computes nothing */
  complexity: number | null;
  confidence: number | null;
  /** probability that the device's answer is right; null without weights, or without a signal that they weigh */
  correctness: number | null;
  /** the device's tokens that the confidence is of */
  answer: string | null;
}

/**
 * @param signal ends the work on the device
 * @throws CrayonError `context-exceeded` and `server-unreachable`, where the router would answer with them; the device's own
 */
export async function dryRun(
  { edge, hasServer, config, scope, adapters }: DryRunParts,
  { prompt, maxTokens, mode }: { prompt: Prompt; maxTokens: number; mode?: Mode },
  signal: AbortSignal,
): Promise<DryRun> {
  const promptTokens = edge.tokenize(prompt).length;
  const score = scope?.(promptText(prompt)) ?? null;
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
  let step: Step = rule.beforeWork();
  if (promptTokens + maxTokens > edge.contextTokens) {
    const decision = step === GO_ON ? rule.accept() : step;
    return {
      decision,
      promptTokens,
      scope: score,
      complexity: null,
      confidence: null,
      correctness: null,
      answer: null,
    };
  }
  const complexity = await edge.promptNll(prompt, adapters, signal);
  if (step === GO_ON && rule.needsComplexity) step = rule.afterPrefill(complexity);
  const { confidence, answer } = await firstTokens(edge, config.confidence, { prompt, maxTokens, adapters }, signal);
  if (step === GO_ON) step = rule.needsConfidence ? rule.afterTokens(confidence) : rule.accept();
  const signals = { scope: score?.percentile ?? null, complexity, confidence };
  const correctness = combined(config, signals);
  return { decision: step, promptTokens, scope: score, complexity, confidence, correctness, answer };
}

function combined(
  { correctness, confidence }: RoutingConfig,
  { scope, ...signals }: { scope: number | null; complexity: number; confidence: number },
): number | null {
  if (!correctness || (scope === null && weighs(correctness, 'scope'))) return null;
  return correctnessOf(correctness, confidence.measure, { ...signals, scope: scope ?? Number.NaN });
}

async function firstTokens(
  edge: EdgeEngine,
  { measure, tokens }: RoutingConfig['confidence'],
  query: Pick<GenerateRequest, 'prompt' | 'maxTokens' | 'adapters'>,
  signal: AbortSignal,
): Promise<{ confidence: number; answer: string }> {
  const tracker = new ConfidenceTracker(measure, tokens);
  const request: GenerateRequest = {
    ...query,
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
