/**
 * The numbers of a load test, defined as vLLM's benchmark defines them:
 *
 * - TTFT: to the first piece with text, not the opening chunk that names the role
 * - TPOT: from there to the last piece with text, by the tokens after the first as `usage` counts them
 * - ITL: between two pieces with text
 * - end to end: to the answer's end
 * - goodput: requests a second that were within every limit
 */

import type { TimedAnswer } from '../../engine/server/chat-client.js';
import { summariseLatency } from '../latency.js';
import type { LatencySummary, LoadCell } from '../types.js';

export const GOODPUT_NAMES = ['ttft', 'tpot', 'e2e'] as const;
/** milliseconds */
export type GoodputLimits = Partial<Record<(typeof GOODPUT_NAMES)[number], number>>;

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
export function isGood(times: AnswerLatencies, limits: GoodputLimits): boolean {
  const { ttft = Number.POSITIVE_INFINITY, tpot = Number.POSITIVE_INFINITY, e2e = Number.POSITIVE_INFINITY } = limits;
  return (times.ttft ?? times.e2e) <= ttft && (times.tpot ?? 0) <= tpot && times.e2e <= e2e;
}

/** @param seconds from the first request to the end of the last answer */
export function summariseLoad(
  results: readonly LoadResult[],
  seconds: number,
  limits: GoodputLimits,
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
  const of = (take: (one: AnswerLatencies) => number[]) => {
    const summaries: Record<string, LatencySummary> = {};
    for (const group of ['all', 'on_device', 'in_cloud'] as const) {
      const values = times.filter((_, i) => group === 'all' || answers[i]!.source === group).flatMap(take);
      if (values.length > 0) summaries[group] = summariseLatency(values);
    }
    return summaries;
  };
  const some = (value: number | null) => (value === null ? [] : [value]);
  return {
    ttft: of((one) => some(one.ttft)),
    tpot: of((one) => some(one.tpot)),
    itl: of((one) => one.itl),
    e2e: of((one) => [one.e2e]),
  };
}
