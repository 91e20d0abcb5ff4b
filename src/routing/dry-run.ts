/**
 * One decision without its answer, and without the server: what the rule would do with a query, and what every signal says
 * of it, also those that are switched off. And any decision in a sentence.
 */

import { type AdapterScale, type DeviceEngine, type GenerateRequest, GREEDY, type Query } from '../engine/types.js';
import { GO_ON, RoutingRule, type Step, situationOf } from './rule.js';
import { ConfidenceTracker, needsDistribution } from './signals/confidence.js';
import { readSignals, SIGNALS, signalNamed } from './signals/index.js';
import type { ScopeFunction } from './signals/scope.js';
import { shown } from './signals/signal.js';
import type { ClusterFunction } from './signals/success.js';
import type { Decision, Mode, RoutingConfig } from './types.js';

export interface DryRunParts {
  device: DeviceEngine;
  /** whether there is a server to send to; it is not asked anything */
  hasServer: boolean;
  config: RoutingConfig;
  scope: ScopeFunction | null;
  clusters?: ClusterFunction | null | undefined;
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
  { device, hasServer, config, scope, clusters, adapters }: DryRunParts,
  { query, maxTokens, mode }: { query: Query; maxTokens: number; mode?: Mode },
  signal: AbortSignal,
): Promise<DryRun> {
  await query.tokensAside(device, signal);
  const promptTokens = query.tokens(device).length;
  const situation = situationOf(
    device,
    { query, maxTokens },
    { mode: mode ?? config.mode, hasServer, scope, clusters },
  );
  const rule = new RoutingRule(config, situation);
  const evidence = { ...situation, config, promptNll: Number.NaN, confidence: Number.NaN };
  let step: Step = rule.beforeWork();
  if (promptTokens + maxTokens > device.contextTokens) {
    const decision = step === GO_ON ? rule.accept() : step;
    return { decision, promptTokens, values: readSignals(evidence, ['before-work']), answer: null };
  }
  const promptNll = await device.promptNll(query, adapters, signal);
  if (step === GO_ON && rule.needs('after-prompt')) step = rule.afterPrompt(promptNll);
  const { confidence, answer } = await firstTokens(device, config.confidence, { query, maxTokens, adapters }, signal);
  if (step === GO_ON) step = rule.needs('after-tokens') ? rule.afterTokens(confidence) : rule.accept();
  return { decision: step, promptTokens, values: readSignals({ ...evidence, promptNll, confidence }), answer };
}

async function firstTokens(
  device: DeviceEngine,
  { measure, tokens }: RoutingConfig['confidence'],
  asked: Pick<GenerateRequest, 'query' | 'maxTokens' | 'adapters'>,
  signal: AbortSignal,
): Promise<{ confidence: number; answer: string }> {
  const tracker = new ConfidenceTracker(measure, tokens);
  const request: GenerateRequest = {
    ...GREEDY,
    ...asked,
    signal,
    distribution: needsDistribution(measure),
  };
  let answer = '';
  // Leaving the loop ends the generation.
  for await (const event of device.generate(request)) {
    if (event.type === 'start') continue;
    answer += event.text;
    if (event.type === 'token') tracker.add(event);
    if (tracker.complete) break;
  }
  return { confidence: tracker.value(), answer };
}

/**
 * A decision in one plain sentence.
 *
 * @example explain(decision) // 'The server answers: the confidence -1.203 is below the cut -0.9.'
 */
export function explain(decision: Decision): string {
  return `${decision.source === 'on_device' ? 'The device' : 'The server'} answers: ${why(decision)}.`;
}

function why({ reason, score, threshold, signals, failure }: Decision): string {
  const numbers = (relation: string) => `${shown(score)} ${relation} ${shown(threshold)}`;
  const because = failure === undefined ? '' : ` (${failure.code})`;
  switch (reason) {
    case 'mode':
      return 'the mode says so';
    case 'context':
      return numbers('tokens of prompt and answer are more than the device takes, which is');
    case 'load':
      return `the device is busy, and its queue is full (${numbers('waiting of')})`;
    case 'memory':
      return `the device is short of memory (${numbers('bytes are free, less than the')} to be kept free)`;
    case 'accepted': {
      if (score === null) return 'no signal is switched on that could send the query to the server';
      const { toServer, title, explained } = SIGNALS.findLast(({ name }) => signals[name] !== undefined)!;
      const relation = toServer === 'below' ? 'at least' : 'at most';
      return (
        explained?.(score, relation, shown(threshold), { ...signals }) ??
        `its ${title} ${numbers(`is ${relation} the cut`)}`
      );
    }
    case 'server-failed':
      return `the server was wanted but failed${because}`;
    case 'budget':
      return 'the server was wanted but its budget for today is spent';
    case 'circuit-open':
      return 'the server was wanted but failed so often lately that it is left alone for now';
    case 'device-failed':
      return `the device was wanted but failed${because}`;
    default: {
      // the signal that sent the query to the server
      const { toServer, doubt, title, told, explained } = signalNamed(reason);
      const cut = shown(threshold);
      const value = told?.(shown(score)) ?? `${title} ${shown(score)}`;
      return explained?.(score!, toServer, cut, { ...signals }) ?? `${doubt} (${value} is ${toServer} the cut ${cut})`;
    }
  }
}
