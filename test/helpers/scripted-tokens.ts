/** A scripted answer's tokens as an engine would send them: cut by max_tokens and stop texts, with the numbers asked for. */

import type {
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  TokenProbability,
  ToolCallPiece,
} from '../../src/engine/types.js';

type TokenEvent = Extract<GenerateEvent, { type: 'token' }>;

export interface ScriptedToken {
  text: string;
  /** natural logarithm; by default from `probabilities`, else ln 0.5; null: this engine cannot say */
  logprob?: number | null;
  /** the model's distribution over tokens by their texts, this one's among them: gives logprob, margin, entropy and top */
  probabilities?: Readonly<Record<string, number>>;
  /** override what `probabilities` gives */
  margin?: number;
  entropy?: number;
  /** of calls of functions */
  calls?: readonly ToolCallPiece[];
}

const DEFAULT_PROBABILITY = 0.5;

const probabilityOf = (text: string, logprob: number): TokenProbability => ({
  token: text,
  bytes: [...new TextEncoder().encode(text)],
  logprob,
});

/** "one two" -> "one", " two": white space goes before the word, as most vocabularies have it. */
function splitWords(text: string): string[] {
  return text.match(/\s*\S+|\s+$/g) ?? [];
}

/**
 * The events, and why they end before the scripted answer does (null where they do not).
 *
 * A stop text is looked for in the whole answer beforehand, so no text has to be held back: tokens before it are sent as they
 * are, the token in which it begins up to there.
 */
export function toTokenEvents(
  tokens: string | ReadonlyArray<string | ScriptedToken>,
  request: GenerateRequest,
): { events: TokenEvent[]; cut: FinishReason | null } {
  const list = (typeof tokens === 'string' ? splitWords(tokens) : tokens).map((token) =>
    typeof token === 'string' ? { text: token } : token,
  );
  const whole = list.map((token) => token.text).join('');
  const stops = request.stop.map((stop) => whole.indexOf(stop)).filter((at) => at >= 0);
  const stopAt = stops.length === 0 ? null : Math.min(...stops);

  const events: TokenEvent[] = [];
  let length = 0;
  for (const token of list) {
    if (stopAt !== null && length >= stopAt) return { events, cut: 'stop' };
    if (events.length === request.maxTokens) return { events, cut: 'length' };
    const text = stopAt === null ? token.text : token.text.slice(0, stopAt - length);
    events.push(toEvent(token, text, request));
    length += token.text.length;
  }
  return { events, cut: stopAt === null ? null : 'stop' };
}

function toEvent(token: ScriptedToken, text: string, { topLogprobs, distribution }: GenerateRequest): TokenEvent {
  const ranked = Object.entries(token.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  const own = token.probabilities?.[token.text] ?? DEFAULT_PROBABILITY;
  const logprob = token.logprob === undefined ? Math.log(own) : token.logprob;
  const event: TokenEvent = { type: 'token', text, logprob, ...(token.calls !== undefined && { calls: token.calls }) };
  if (distribution) {
    const margin = token.margin ?? (ranked.length === 0 ? undefined : ranked[0]![1] - (ranked[1]?.[1] ?? 0));
    const positive = ranked.filter(([, p]) => p > 0);
    const entropy =
      token.entropy ?? (ranked.length === 0 ? undefined : positive.reduce((sum, [, p]) => sum - p * Math.log(p), 0));
    if (margin !== undefined) event.margin = margin;
    if (entropy !== undefined) event.entropy = entropy;
  }
  if (topLogprobs !== null && logprob !== null) {
    const top = ranked.map(([word, p]) => probabilityOf(word, Math.log(p)));
    const listed = top.length === 0 ? [probabilityOf(token.text, logprob)] : top;
    event.detail = { ...probabilityOf(token.text, logprob), top: listed.slice(0, topLogprobs) };
  }
  return event;
}
