/**
 * Load on a running server. Closed loop: a number of clients, each with one request at a time. Open loop: requests arrive by
 * the clock, whether or not the server keeps up, which is what many users do (Schroeder et al., "Open versus closed", 2006).
 *
 * Its numbers are defined as vLLM's benchmark defines them:
 *
 * - TTFT: to the first piece with text, not the opening chunk that names the role
 * - TPOT: from there to the last piece with text, by the tokens after the first as `usage` counts them
 * - ITL: between two pieces with text
 * - end to end: to the answer's end
 * - goodput: requests a second that were within every limit
 */

import assert from 'node:assert/strict';
import { CrayonError, isCrayonError } from '../../core/errors.js';
import { createRandom, type Random } from '../../core/random.js';
import { type Clock, preciseClock, sleep } from '../../engine/clock.js';
import type { ChatClient, TimedAnswer } from '../../engine/server/chat-client.js';
import { failureName } from '../../engine/server/error.js';
import { summariseLatency } from '../latency.js';
import { greedyQuestion } from '../live/endpoint.js';
import type { BenchLoad } from '../live/settings.js';
import { fileName } from '../run-directory.js';
import type { LatencySummary, LoadCell } from '../types.js';

export type LoadPattern =
  | { kind: 'closed'; clients: number }
  /** requests a second; `burstiness` 1 is Poisson */
  | { kind: 'open'; rate: number; burstiness: number };

/** Of the two limits, requests and seconds, one is given; no request is started after either. */
export interface LoadPlan extends Pick<BenchLoad, 'requests' | 'seconds' | 'warmup' | 'goodput'> {
  pattern: LoadPattern;
  /** of the prompts' order and the arrivals */
  seed: number;
}

export interface LoadOptions {
  plan: LoadPlan;
  /** asked in a seeded order, again and again */
  prompts: readonly string[];
  ask: (prompt: string, signal: AbortSignal) => Promise<TimedAnswer>;
  clock?: Clock;
  signal: AbortSignal;
  labels: Pick<LoadCell, 'device' | 'network'>;
  onProgress?: (progress: { done: number; failed: number; running: number }) => void;
}

/**
 * Runs one pattern to its end: every request that was started is waited for.
 *
 * @throws CrayonError of the first failed warm-up where none succeeds; `interrupted`; `dataset-too-small` without prompts
 */
export async function runLoad(options: LoadOptions): Promise<LoadCell> {
  const { plan, prompts, ask, clock = preciseClock, signal, labels } = options;
  if (prompts.length === 0) throw new CrayonError('dataset-too-small', 'no prompts, expected at least one to send');
  const next = promptOrder(prompts, plan.seed);
  await warmUp(plan.warmup, next, options);
  const results: LoadResult[] = [];
  let [failed, running, begun] = [0, 0, 0];
  const started = clock.now();
  const end = started + 1000 * (plan.seconds ?? Number.POSITIVE_INFINITY);
  const wanted = plan.requests ?? Number.POSITIVE_INFINITY;
  const mayStart = () => begun < wanted && clock.now() < end && !signal.aborted;

  async function one(): Promise<void> {
    begun++;
    running++;
    const prompt = next();
    try {
      results.push({ answer: await ask(prompt, signal) });
    } catch (error) {
      if (signal.aborted) return;
      if (!isCrayonError(error)) throw error;
      results.push({ failure: failureName(error) });
      failed++;
    }
    running--;
    options.onProgress?.({ done: results.length, failed, running });
  }

  if (plan.pattern.kind === 'closed') {
    const client = async () => {
      while (mayStart()) await one();
    };
    await Promise.all(Array.from({ length: plan.pattern.clients }, client));
  } else {
    const { rate, burstiness } = plan.pattern;
    const random = createRandom(plan.seed, 'load-arrivals');
    const open: Array<Promise<void>> = [];
    // Arrival times add up from the start: being late once does not make all that follow late.
    let at = started;
    while (mayStart()) {
      const request = one();
      request.catch(() => {}); // met below, after the arrivals
      open.push(request);
      at += 1000 * nextGap(random, rate, burstiness);
      if (at >= end || begun >= wanted) break;
      const wait = at - clock.now();
      if (wait > 0) await sleep(clock, wait, signal).catch(() => {}); // stopped: those under way are waited for
    }
    await Promise.all(open);
  }
  if (signal.aborted) throw new CrayonError('interrupted', 'stopped while the server was under load');
  return {
    key: loadKey(labels, plan.pattern),
    ...labels,
    pattern: patternName(plan.pattern),
    ...summariseLoad(results, (clock.now() - started) / 1000, plan.goodput),
  };
}

export function patternName(pattern: LoadPattern): string {
  if (pattern.kind === 'closed') return `closed, ${pattern.clients} client${pattern.clients === 1 ? '' : 's'}`;
  const { rate, burstiness } = pattern;
  const pace = rate === Number.POSITIVE_INFINITY ? 'all at once' : `${rate} requests/s`;
  return `open, ${pace}${burstiness === 1 ? '' : `, burstiness ${burstiness}`}`;
}

/** Names the cell's file. */
export function loadKey({ device, network }: LoadOptions['labels'], pattern: LoadPattern): string {
  const text = pattern.kind === 'closed' ? `closed-${pattern.clients}` : `open-${pattern.rate}-${pattern.burstiness}`;
  return fileName(`${device}--${network}--${text}`);
}

export function patternsOf({ clients, rates, burstiness }: BenchLoad): LoadPattern[] {
  return [
    ...clients.map((n) => ({ kind: 'closed' as const, clients: n })),
    ...rates.map((rate) => ({ kind: 'open' as const, rate, burstiness })),
  ];
}

/**
 * Asks a prompt as one user's message: which of the models, and for how long an answer, is drawn anew each time.
 *
 * @param clients one for each model
 */
export function asker(
  clients: readonly ChatClient[],
  { max_tokens: lengths, mode }: BenchLoad,
  seed: number,
): LoadOptions['ask'] {
  const fields = mode === null ? undefined : { crayon: { mode } };
  const random = createRandom(seed, 'load-requests');
  const drawn = <T>(list: readonly T[]) => list[random.int(list.length)]!;
  return (prompt, signal) => {
    const question = greedyQuestion({ prompt }, { form: 'chat', maxTokens: drawn([lengths].flat()), fields });
    return drawn(clients).ask(question, signal);
  };
}

async function warmUp(count: number, next: () => string, { ask, signal }: LoadOptions): Promise<void> {
  const failures: unknown[] = [];
  for (let i = 0; i < count; i++) {
    try {
      await ask(next(), signal);
    } catch (error) {
      if (signal.aborted) throw error;
      failures.push(error);
    }
  }
  if (count > 0 && failures.length === count) throw failures[0];
}

/** All prompts in a seeded order, then all in another one. */
function promptOrder(prompts: readonly string[], seed: number): () => string {
  const random = createRandom(seed, 'load-prompts');
  let left: string[] = [];
  return () => {
    if (left.length === 0) left = random.shuffle([...prompts]);
    return left.pop()!;
  };
}

/**
 * Seconds to the next request: gamma distributed with shape `burstiness` and mean 1 / rate. A burstiness of 1 is a Poisson
 * process; below 1 requests come in bursts, above 1 more evenly. An infinite rate sends all at once.
 *
 * @param rate requests a second
 */
export function nextGap(random: Random, rate: number, burstiness: number): number {
  assert.ok(rate > 0 && burstiness > 0, `nextGap: rate ${rate}, burstiness ${burstiness}`);
  if (rate === Number.POSITIVE_INFINITY) return 0;
  return gamma(random, burstiness) / (rate * burstiness);
}

/** Gamma with this shape and scale 1: Marsaglia and Tsang (2000); shape 1 is the exponential distribution, drawn directly. */
function gamma(random: Random, shape: number): number {
  if (shape === 1) return -Math.log(1 - random.uniform());
  // Below 1: a draw of shape + 1, shrunk (section 6 of the paper).
  if (shape < 1) return gamma(random, shape + 1) * (1 - random.uniform()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = random.normal();
    const v = (1 + c * x) ** 3;
    if (v <= 0) continue;
    if (Math.log(1 - random.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

export type LoadResult = { answer: TimedAnswer; failure?: undefined } | { failure: string; answer?: undefined };

export interface AnswerLatencies {
  /** null for an answer without text */
  ttft: number | null;
  /** null for less than two tokens, or where the server does not count */
  tpot: number | null;
  itl: number[];
  e2e: number;
}

export function latenciesOf({ piecesMs, endMs, usage }: TimedAnswer): AnswerLatencies {
  const ttft = piecesMs[0] ?? null;
  const last = piecesMs.at(-1) ?? null;
  const after = (usage?.completionTokens ?? 0) - 1;
  return {
    ttft,
    tpot: ttft === null || last === null || after < 1 ? null : (last - ttft) / after,
    itl: piecesMs.slice(1).map((at, i) => at - piecesMs[i]!),
    e2e: endMs,
  };
}

/** Whether an answer kept every limit. A time that does not exist (no second token) breaks none. */
export function isGood({ ttft, tpot, e2e }: AnswerLatencies, limits: BenchLoad['goodput']): boolean {
  const isWithin = (ms: number, limit = Number.POSITIVE_INFINITY) => ms <= limit;
  return isWithin(ttft ?? e2e, limits.ttft) && isWithin(tpot ?? 0, limits.tpot) && isWithin(e2e, limits.e2e);
}

/** @param seconds from the first request to the end of the last answer */
export function summariseLoad(
  results: readonly LoadResult[],
  seconds: number,
  limits: BenchLoad['goodput'],
): Omit<LoadCell, 'key' | 'pattern' | 'device' | 'network'> {
  const answers = results.flatMap(({ answer }) => (answer === undefined ? [] : [answer]));
  const failures: Record<string, number> = {};
  for (const { failure } of results) if (failure !== undefined) failures[failure] = (failures[failure] ?? 0) + 1;
  const perSecond = (count: number) => (seconds > 0 ? count / seconds : 0);
  // Some answers counted and some not would make a sum of something unknown.
  const counted = answers.length > 0 && answers.every(({ usage }) => usage !== null && usage.estimated !== true);
  const tokens = (of: 'promptTokens' | 'completionTokens') =>
    counted ? answers.reduce((sum, { usage }) => sum + usage![of], 0) : null;
  const completionTokens = tokens('completionTokens');
  const times = answers.map(latenciesOf);
  // A limit on TPOT cannot be judged without counts.
  const isJudged = Object.keys(limits).length > 0 && (limits.tpot === undefined || counted || answers.length === 0);
  const good = times.filter((one) => isGood(one, limits)).length;
  return {
    completed: answers.length,
    failed: results.length - answers.length,
    failures,
    seconds,
    requestThroughput: perSecond(answers.length),
    outputThroughput: completionTokens === null ? null : perSecond(completionTokens),
    goodput: isJudged ? perSecond(good) : null,
    goodputLimits: { ...limits },
    ...percentiles(answers, times),
    serverShare: answers.length === 0 ? 0 : answers.filter((a) => a.source === 'in_cloud').length / answers.length,
    promptTokens: tokens('promptTokens'),
    completionTokens,
  };
}

/** Of all answers, and of each source's that is named. */
function percentiles(
  answers: readonly TimedAnswer[],
  times: readonly AnswerLatencies[],
): Pick<LoadCell, 'ttft' | 'tpot' | 'itl' | 'e2e'> {
  const of = (name: keyof AnswerLatencies) => {
    const summaries: Record<string, LatencySummary> = {};
    for (const group of ['all', 'on_device', 'in_cloud'] as const) {
      const ofGroup = times.filter((_, i) => group === 'all' || answers[i]!.source === group);
      const values = ofGroup.flatMap((one) => one[name] ?? []);
      if (values.length > 0) summaries[group] = summariseLatency(values);
    }
    return summaries;
  };
  return { ttft: of('ttft'), tpot: of('tpot'), itl: of('itl'), e2e: of('e2e') };
}
