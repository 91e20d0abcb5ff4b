/**
 * Both sources answer held-out examples, for calibration: what each signal said, who was right, and what it cost. Exactly the
 * signals that the router computes, with the whole answer generated besides, to judge it.
 */

import { CrayonError } from '../../core/errors.js';
import type { Example } from '../../data/dataset.js';
import { isRight, type Match } from '../../data/judge.js';
import { serverErrorOf } from '../../engine/server/error.js';
import {
  type AdapterScale,
  type DeviceEngine,
  type Engine,
  type GenerateRequest,
  GREEDY,
  type Prompt,
  promptFor,
  Query,
} from '../../engine/types.js';
import { ConfidenceTracker, needsDistribution } from '../signals/confidence.js';
import { readSignals, recordedSignals } from '../signals/index.js';
import type { ScopeFunction } from '../signals/scope.js';
import { CONFIDENCE_MEASURES } from '../signals/signal.js';
import { type ClusterFunction, recordedGate } from '../signals/success.js';
import type { RoutingConfig } from '../types.js';
import type { CalibrationRecord } from './data.js';

/** A held-out example; its `completion` is the right answer, with choices one of them. */
export type Question = Pick<Example, 'id' | 'prompt' | 'messages' | 'completion' | 'choices'>;

export interface CollectParts {
  device: DeviceEngine;
  server: Engine;
  /** null: there is no profile, and the records have no scope */
  scope: ScopeFunction | null;
  /** the query's gate over the clusters of the device's pool; null or absent: it has none, and the records have no gates */
  clusters?: ClusterFunction | null;
  /** the device's adapters for a query */
  adapters: (query: Query) => AdapterScale[];
  confidence: RoutingConfig['confidence'];
  /** record the confidence by every measure, also where the configured one could do without whole distributions */
  allMeasures?: boolean;
  /** of one answer */
  maxTokens: number;
  /** money for a million tokens of the server */
  prices: { inputPerMillion: number; outputPerMillion: number };
  /** how the question is put: as one user's message, or as a text to be continued */
  form: Prompt['kind'];
  match: Match;
}

/** A record with the answers it judges, so that a user can see why. */
export interface CollectedRecord extends CalibrationRecord {
  edgeAnswer: string;
  serverAnswer: string;
}

export interface CollectOptions {
  /** questions at a time */
  parallel: number;
  signal: AbortSignal;
  /** called as soon as a question has been answered by both */
  onRecord: (record: CollectedRecord) => void;
}

/**
 * Asks both sources all questions, greedily.
 *
 * @throws what an engine throws at the first failure, after the questions under way have been given up
 */
export async function collectRecords(
  questions: readonly Question[],
  parts: CollectParts,
  { parallel, signal, onRecord }: CollectOptions,
): Promise<void> {
  const controller = new AbortController();
  const giveUp = () => controller.abort();
  if (signal.aborted) giveUp();
  signal.addEventListener('abort', giveUp, { once: true });
  let next = 0;
  const work = async () => {
    while (next < questions.length) {
      if (controller.signal.aborted) throw new CrayonError('interrupted', 'stopped before every question was asked');
      onRecord(await askBoth(questions[next++]!, parts, controller.signal));
    }
  };
  const failures: unknown[] = [];
  const workers = Array.from({ length: Math.max(1, parallel) }, () =>
    work().catch((error: unknown) => {
      failures.push(error);
      giveUp();
    }),
  );
  await Promise.all(workers);
  signal.removeEventListener('abort', giveUp);
  // The first failure is the reason; the others were given up because of it.
  if (failures.length > 0) throw failures[0];
}

/** Prompt and answer fit the device's context. Where they do not, no threshold has a say: the router sends them on. */
export function fitsDevice(question: Question, { device, form, maxTokens }: CollectParts): boolean {
  return new Query(promptFor(question, form)).tokens(device).length + maxTokens <= device.contextTokens;
}

async function askBoth(question: Question, parts: CollectParts, signal: AbortSignal): Promise<CollectedRecord> {
  const { device, server, scope, prices, confidence, maxTokens, match } = parts;
  const query = new Query(promptFor(question, parts.form));
  const adapters = parts.adapters(query);
  const request: GenerateRequest = { ...GREEDY, query, maxTokens, signal };
  // The server is usually far away: it answers while the device works.
  const waiting = answer(server, request).catch(wordless);
  waiting.catch(() => {}); // its failure is met below, after the device's
  const score = scope?.(query) ?? null;
  const gate = parts.clusters?.(query) ?? null;
  const promptNll = await device.promptNll(query, adapters, signal);
  const distribution = parts.allMeasures === true || needsDistribution(confidence.measure);
  const trackers = CONFIDENCE_MEASURES.filter((measure) => distribution || !needsDistribution(measure)).map(
    (measure) => new ConfidenceTracker(measure, confidence.tokens),
  );
  const local = await answer(device, { ...request, adapters, distribution }, trackers);
  const remote = await waiting;
  const confidences = Object.fromEntries(trackers.map((tracker) => [tracker.measure, tracker.value()]));
  const values = readSignals({
    config: { confidence },
    maxTokens,
    promptTokens: () => query.tokens(device).length,
    scope: () => score,
    promptNll,
    confidence: confidences[confidence.measure]!,
  });
  return {
    id: question.id,
    ...recordedSignals((name) => values[name]),
    ...(gate && { clusters: recordedGate(gate) }),
    confidences,
    edgeCorrect: isRight(local.text, question, match) ? 1 : 0,
    serverCorrect: isRight(remote.text, question, match) ? 1 : 0,
    tokens: {
      edge: local.completionTokens,
      serverPrompt: remote.promptTokens,
      serverCompletion: remote.completionTokens,
    },
    serverCost:
      (remote.promptTokens * prices.inputPerMillion + remote.completionTokens * prices.outputPerMillion) / 1e6,
    edgeAnswer: local.text,
    serverAnswer: remote.text,
  };
}

/** A server that answers without a word is wrong about the question, and no reason to stop. */
function wordless(error: unknown) {
  if (serverErrorOf(error)?.isEmpty !== true) throw error;
  return { text: '', promptTokens: 0, completionTokens: 0 };
}

async function answer(engine: Engine, request: GenerateRequest, trackers: readonly ConfidenceTracker[] = []) {
  let text = '';
  let usage = { promptTokens: 0, completionTokens: 0 };
  for await (const event of engine.generate(request)) {
    if (event.type === 'token') for (const tracker of trackers) tracker.add(event);
    if (event.type !== 'start') text += event.text;
    if (event.type === 'end') usage = event.usage;
  }
  return { text, ...usage };
}
