/** OpenAI's two forms of log-probabilities, chat's and the older one of completions, as token details. */

import { isJsonObject } from '../../files/json.js';
import type { TokenDetail, TokenProbability } from '../types.js';

export interface ReadToken {
  token: string;
  /** null where the server names the token without a probability */
  logprob: number | null;
  /** absent without a log-probability */
  detail?: TokenDetail;
}

const finite = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

const bytesOf = (token: string): number[] => [...new TextEncoder().encode(token)];

function probability(token: unknown, logprob: unknown, bytes?: unknown): TokenProbability | null {
  if (typeof token !== 'string' || !finite(logprob)) return null;
  const given = Array.isArray(bytes) && bytes.every((b) => Number.isInteger(b) && b >= 0 && b <= 255);
  return { token, bytes: given ? (bytes as number[]) : bytesOf(token), logprob };
}

const known = (list: ReadonlyArray<TokenProbability | null>): TokenProbability[] => list.filter((p) => p !== null);

/**
 * The tokens of one chunk or document.
 *
 * @returns empty where there are none, or where they are in no form that is known
 */
export function readLogprobs(logprobs: unknown): ReadToken[] {
  if (!isJsonObject(logprobs)) return [];
  if (Array.isArray(logprobs.content)) return readChatForm(logprobs.content);
  if (Array.isArray(logprobs.tokens)) return readCompletionForm(logprobs as { tokens: unknown[] });
  return [];
}

/** `content: [{token, logprob, bytes, top_logprobs: [{token, logprob, bytes}]}]` */
function readChatForm(content: readonly unknown[]): ReadToken[] {
  return content.filter(isJsonObject).flatMap((entry): ReadToken[] => {
    if (typeof entry.token !== 'string') return [];
    const own = probability(entry.token, entry.logprob, entry.bytes);
    if (own === null) return [{ token: entry.token, logprob: null }];
    const listed = Array.isArray(entry.top_logprobs) ? entry.top_logprobs.filter(isJsonObject) : [];
    const top = known(listed.map((t) => probability(t.token, t.logprob, t.bytes)));
    return [{ token: own.token, logprob: own.logprob, detail: { ...own, top } }];
  });
}

/** `tokens: [..], token_logprobs: [..], top_logprobs: [{token: logprob}]` */
function readCompletionForm(logprobs: {
  tokens: unknown[];
  token_logprobs?: unknown;
  top_logprobs?: unknown;
}): ReadToken[] {
  const values = Array.isArray(logprobs.token_logprobs) ? logprobs.token_logprobs : [];
  const tops = Array.isArray(logprobs.top_logprobs) ? logprobs.top_logprobs : [];
  return logprobs.tokens.flatMap((token, i): ReadToken[] => {
    if (typeof token !== 'string') return [];
    const own = probability(token, values[i]);
    if (own === null) return [{ token, logprob: null }];
    const listed = isJsonObject(tops[i]) ? Object.entries(tops[i]) : [];
    const top = known(listed.map(([word, logprob]) => probability(word, logprob)));
    top.sort((a, b) => b.logprob - a.logprob);
    return [{ token, logprob: own.logprob, detail: { ...own, top } }];
  });
}
