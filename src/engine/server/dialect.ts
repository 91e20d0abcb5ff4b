/**
 * The parameters of a request as a server takes them. Servers refuse what others need, each in words of its own; whatever a refusal
 * names is left out or renamed once, and remembered. What a request asks for and would not be the same answer without, is not left out.
 */

import { warn } from '../../core/warning.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import type { GenerateRequest } from '../types.js';
import type { NamedParameter } from './error.js';
import type { ServerEvent } from './options.js';

/** What becomes of a parameter: another name, or none (null); `beside`: only where that one is sent too. */
export interface Change {
  to: string | null;
  beside: string | null;
}

/** By the parameter's first name. */
export type Dialect = ReadonlyMap<string, Change>;

/** Names under which servers know the same thing. */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  max_tokens: ['max_completion_tokens', 'max_output_tokens', 'max_new_tokens'],
  seed: ['random_seed'],
  stop: ['stop_sequences'],
  repeat_penalty: ['repetition_penalty'],
};

/** Of what was asked for, what makes another answer where it is left out. */
const BINDING: ReadonlySet<string> = new Set([
  'max_tokens',
  'stop',
  'seed',
  'response_format',
  'tools',
  'tool_choice',
  'logit_bias',
]);

/** Where two of them are refused together, the one that goes is the first of these. */
const FIRST_TO_GO = ['top_p', 'top_logprobs', 'logprobs', 'temperature'];

/** What a request says apart from its model and prompt, and which of it was asked for by whoever sent it. */
export interface Parameters {
  values: JsonObject;
  asked: ReadonlySet<string>;
}

/** @param mustBound whether the answer's length is to be bounded even where nobody asked: by a budget */
export function parametersOf(request: GenerateRequest, mustBound: boolean): Parameters {
  const { topLogprobs, seed, stop, format, unasked = [] } = request;
  const { prompt } = request.query;
  const chat = prompt.kind === 'chat';
  const { list, choice, parallel } = (chat ? prompt.tools : undefined) ?? { list: [] };
  const wanted = {
    max_tokens: unasked.includes('maxTokens') && !mustBound ? undefined : request.maxTokens,
    temperature: unasked.includes('temperature') ? undefined : request.temperature,
    // The least number stands for a 0 that was asked for.
    top_p: unasked.includes('topP') ? undefined : request.topP === Number.MIN_VALUE ? 0 : request.topP,
    seed: seed ?? undefined,
    stop: stop.length === 0 ? undefined : stop,
    top_k: unasked.includes('topK') ? undefined : request.topK,
    min_p: request.minP,
    repeat_penalty: unasked.includes('repeatPenalty') ? undefined : request.repeatPenalty,
    presence_penalty: request.presencePenalty || undefined,
    frequency_penalty: request.frequencyPenalty || undefined,
    logit_bias: request.logitBias === undefined ? undefined : Object.fromEntries(request.logitBias),
    response_format: format ?? undefined,
    tools: list.length === 0 ? undefined : list,
    tool_choice: typeof choice === 'object' ? { type: 'function', function: { name: choice.name } } : choice,
    parallel_tool_calls: parallel,
    logprobs: topLogprobs === null ? undefined : chat ? true : topLogprobs,
    top_logprobs: chat && topLogprobs !== null && topLogprobs > 0 ? topLogprobs : undefined,
  };
  const values = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined));
  const asked = new Set(Object.keys(values));
  if (unasked.includes('maxTokens')) asked.delete('max_tokens');
  return { values: { ...values, stream_options: { include_usage: true } }, asked };
}

/** First names and those under which they are sent; those that are left out are absent. */
function namesOf(values: JsonObject, dialect: Dialect): Array<[name: string, key: string]> {
  const isSent = (name: string): boolean => name in values && dialect.get(name)?.to !== null;
  return Object.keys(values).flatMap((name): Array<[string, string]> => {
    // Alternatives are of no use to a server that lists no log-probabilities.
    if (name === 'top_logprobs' && !isSent('logprobs')) return [];
    const change = dialect.get(name);
    if (change === undefined || (change.beside !== null && !isSent(change.beside))) return [[name, name]];
    return change.to === null ? [] : [[name, change.to]];
  });
}

/** The parameters as they are sent. */
export function spoken(values: JsonObject, dialect: Dialect): JsonObject {
  return dialect.size === 0
    ? values
    : Object.fromEntries(namesOf(values, dialect).map(([name, key]) => [key, values[name]]));
}

/** Words for a parameter that is not taken at all, or not beside another one. */
const UNSUPPORTED = new RegExp(
  [
    /unsupported|n[o']t supported|n[o']t support|unrecogni[sz]ed|n[o']t recogni[sz]ed|unknown|unexpected|no such/,
    /n[o']t (?:be )?(?:permitted|allowed|accept|take|available|implemented|enabled|exist|valid (?:param|field|arg|prop|option))/,
    /extra[ _-]?(?:input|field|forbidden)|forbidden|disallowed|additional prop|deprecated|no longer|removed?|omit|instead/,
    /can(?:not|'t) (?:be )?(?:both |be |used|set|spec|given|comb)|only one|both|mutually exclusive|only the default/,
    /invalid (?:param|field|arg|prop|option)/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'i',
);
/** Words for a value that is out of bounds: whoever asked for it must hear of it. */
const VALUE =
  /between|less than|greater than|at most|at least|too (?:large|small|high|low|long|many)|range|exceed|maximum|minimum|[<>]=? *\d|[≤≥]/i;
const TOGETHER = /both|only one|together|mutually exclusive|combin/i;

const isUnsupported = (words: string): boolean => UNSUPPORTED.test(words) && !VALUE.test(words);

/** `['body', 'stream_options', 'include_usage']` and `stream_options.include_usage` name `stream_options`. */
function nameIn(path: unknown): string | null {
  const parts = Array.isArray(path) ? path : typeof path === 'string' ? path.split(/[.[\]]+/) : [];
  const name = parts.find((part) => part !== 'body' && part !== '');
  return typeof name === 'string' && /^\w{1,64}$/.test(name) ? name : null;
}

/** The parameters that an error document names apart from its message: OpenAI's `param`, and the lists of FastAPI and pydantic. */
export function namedParameters(document: unknown): NamedParameter[] {
  if (Array.isArray(document)) return document.slice(0, 100).flatMap(namedParameters);
  if (!isJsonObject(document)) return [];
  const { error, message, detail, param, loc, code, type, msg } = document;
  const inner = [error, message, detail].flatMap((part) => (typeof part === 'object' ? namedParameters(part) : []));
  const name = nameIn(param) ?? nameIn(loc);
  if (name === null) return inner;
  const words = [message, msg, type, code].filter((part) => typeof part === 'string');
  const isCoded = /unsupported|unknown_param|unrecogni|extra_forbidden/i.test(`${code} ${type}`);
  return [...inner, { name, isUnsupported: isCoded || isUnsupported(words.join(' ')) }];
}

/** Where a text names a parameter: a word of its own. Infinity where it does not. */
function placeOf(name: string, text: string): number {
  const found = new RegExp(`(?<![\\w.-])${name}(?![\\w-])`).exec(text);
  return found?.index ?? Number.POSITIVE_INFINITY;
}

/** A refusal of a parameter that cannot be left out. */
export interface Kept {
  kept: string;
}

/**
 * What to try next where a server refuses a request.
 *
 * @param refused names that have been refused in this request already
 * @param message the server's own
 * @returns null where the refusal is about something else
 */
export function adapted(
  dialect: Dialect,
  { values, asked }: Parameters,
  refused: Set<string>,
  { message, named: apartFromIt }: { message: string; named: readonly NamedParameter[] },
): Dialect | Kept | null {
  const sent = new Map(namesOf(values, dialect).map(([name, key]) => [key, name]));
  const places = [...sent].map(([key, name]) => {
    const called = [key, ...(SYNONYMS[name] ?? []), ...(name === 'stream_options' ? ['include_usage'] : [])];
    return { key, at: Math.min(...called.map((word) => placeOf(word, message))) };
  });
  const named = places.filter(({ at }) => at < Number.POSITIVE_INFINITY);
  const inMessage = named.sort((a, b) => a.at - b.at).map(({ key }) => key);
  if (inMessage.length > 1 && TOGETHER.test(message) && isUnsupported(message)) {
    const [one, other] = inMessage.map((key) => sent.get(key)!);
    return apart(dialect, one!, other!, asked);
  }
  const about = apartFromIt.filter(({ name }) => sent.has(name));
  const structured = about.filter((one) => one.isUnsupported || isUnsupported(message)).map(({ name }) => name);
  // A message may go on to list what the server does take: the first that it names is the one.
  const keys = about.length > 0 ? structured : isUnsupported(message) ? inMessage.slice(0, 1) : [];
  let next: Dialect | null = null;
  for (const key of keys) {
    const name = sent.get(key)!;
    refused.add(key);
    const synonyms = SYNONYMS[name] ?? [];
    const suggested = synonyms.filter((word) => placeOf(word, message) < Number.POSITIVE_INFINITY);
    const to = [...suggested, ...synonyms.slice(0, 1)].find((word) => !refused.has(word)) ?? null;
    if (to === null && BINDING.has(name) && asked.has(name)) return { kept: name };
    next = new Map(next ?? dialect).set(name, { to, beside: null });
  }
  return next;
}

/** One of two goes that a server does not take together: one that nobody asked for, or the one that matters less. */
function apart(dialect: Dialect, one: string, other: string, asked: ReadonlySet<string>): Dialect | Kept {
  const rank = (name: string): number => {
    const place = FIRST_TO_GO.indexOf(name);
    return (asked.has(name) ? 100 : 0) + (place === -1 ? FIRST_TO_GO.length : place);
  };
  const [goes, stays] = rank(one) <= rank(other) ? [one, other] : [other, one];
  if (BINDING.has(goes) && asked.has(goes)) return { kept: goes };
  return new Map(dialect).set(goes, { to: null, beside: stays });
}

/** Hears a client's or an engine's events, and tells the user what its requests say no longer. @param server as a sentence begins */
export function warnOfChanges(server: string): (event: ServerEvent) => void {
  return (event) => {
    if (event.type !== 'adapted') return;
    const { parameter, to, beside } = event;
    const how = to === null ? 'requests go without it' : `it is sent as ${to}`;
    warn(`${server} does not take ${parameter}${beside === null ? '' : ` beside ${beside}`}: ${how}.`);
  };
}
