/**
 * Answers of an OpenAI-compatible endpoint to test examples, and how they are judged. Chat servers give no log-probabilities
 * of a prompt, so a choice cannot be scored as a whole; two methods remain, and one task is judged by one of them:
 *
 * - `generation`: the answer, white space around it aside, is the right one
 * - `first-token`: of the choices, the one that begins with the likeliest first token; needs `top_logprobs`, and choices that
 *   differ in their first token
 */

import { CrayonError, isCrayonError } from '../../core/errors.js';
import type { Example } from '../../data/dataset.js';
import type { ChatClient, ChatQuestion, TimedAnswer } from '../../engine/server/chat-client.js';
import { serverErrorOf } from '../../engine/server/error.js';
import type { Prompt, TokenDetail } from '../../engine/types.js';
import type { JsonObject } from '../../files/json.js';
import { isRight, type Match } from '../../routing/calibrate/collect.js';
import type { Source } from '../../routing/types.js';
import { promptHash } from '../tasks.js';
import type { AnswerRecord, ScoringMethod } from '../types.js';

export type EndpointMethod = Extract<ScoringMethod, 'first-token' | 'generation'>;

export interface EndpointOptions {
  client: ChatClient;
  /** `auto`: by first token where the endpoint and all choices allow, else by generation */
  method: EndpointMethod | 'auto';
  maxTokens: number;
  match: Match;
  /** one user's message, or a text to be continued */
  form: Prompt['kind'];
  /** for the body of every request, as `{ crayon: { mode: 'only_on_device' } }` */
  fields?: JsonObject;
  /** who answers, where that is known: a server LLM calls what it does itself `on_device`, if it says anything */
  source?: Source;
  /** questions at a time; 1 leaves each answer the whole machine */
  parallel?: number;
  signal: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

export interface EndpointAnswers {
  method: EndpointMethod;
  records: AnswerRecord[];
  /** as they came; null for a question whose answer failed */
  answers: Array<TimedAnswer | null>;
  /** sentences: why not by first token, which answers failed */
  notices: string[];
}

/** The most that OpenAI's API gives. */
const TOP_LOGPROBS = 20;

/**
 * Asks all examples, greedily. An answer that fails counts as wrong, with the error's code as its reason: whoever asked got
 * none.
 *
 * @throws CrayonError `server-invalid` where the method is `first-token` and cannot be; the failure where every answer fails;
 *   `interrupted`
 */
export async function scoreEndpoint(examples: readonly Example[], options: EndpointOptions): Promise<EndpointAnswers> {
  const { method } = options;
  const allChoices = examples.every(({ choices }) => choices !== undefined);
  if (method === 'generation' || (method === 'auto' && !allChoices)) {
    return judged(examples, await askAll(examples, options, null), 'generation', options, []);
  }
  if (!allChoices) throw unfit('some of the examples have no choices');
  // The whole answer is asked for with log-probabilities, so that the same answers can be judged by either method.
  let asked: Asked[] | null;
  let why: string | null;
  try {
    asked = await askAll(examples, options, TOP_LOGPROBS);
    why = whyNotFirstToken(examples, asked);
  } catch (error) {
    const refused = isCrayonError(error, 'server-refused') && /logprob/i.test(error.message);
    if (!refused) throw error;
    asked = null;
    why = 'the endpoint refuses log-probabilities';
  }
  if (why === null) return judged(examples, asked!, 'first-token', options, []);
  if (method === 'first-token') throw unfit(why);
  const notice = `Judged by generated answers, not by first token: ${why}.`;
  return judged(examples, asked ?? (await askAll(examples, options, null)), 'generation', options, [notice]);
}

function unfit(why: string): CrayonError {
  return new CrayonError('server-invalid', `answers cannot be scored by their first token: ${why}`, {
    hint: 'Use generated answers (method: generation).',
  });
}

interface Asked {
  answer: TimedAnswer | null;
  failure: string | null;
  latencyMs: number;
}

async function askAll(
  examples: readonly Example[],
  { client, maxTokens, form, fields, parallel = 1, signal, onProgress }: EndpointOptions,
  topLogprobs: number | null,
): Promise<Asked[]> {
  const asked: Asked[] = [];
  let next = 0;
  let done = 0;
  let first: unknown;
  const work = async () => {
    while (next < examples.length) {
      const i = next++;
      const started = performance.now();
      const settle = (answer: TimedAnswer | null, failure: string | null) => {
        asked[i] = { answer, failure, latencyMs: answer?.endMs ?? performance.now() - started };
      };
      try {
        settle(await client.ask(questionOf(examples[i]!, { form, maxTokens, fields }, topLogprobs), signal), null);
      } catch (error) {
        // What is refused once is refused always.
        if (signal.aborted || !isCrayonError(error) || error.code === 'server-refused') throw error;
        first ??= error;
        settle(null, codeOf(error));
      }
      onProgress?.(++done, examples.length);
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  if (asked.length > 0 && asked.every(({ answer }) => answer === null)) throw first;
  return asked;
}

function codeOf(error: CrayonError): string {
  const status = serverErrorOf(error)?.status ?? null;
  return status === null ? error.code : `${error.code}:${status}`;
}

/** White space at a prompt's end belongs to the completion, as in training. */
function questionOf(
  { prompt }: Example,
  { form, maxTokens, fields }: { form: Prompt['kind']; maxTokens: number; fields: JsonObject | undefined },
  topLogprobs: number | null,
): ChatQuestion {
  const text = prompt.trimEnd();
  return {
    prompt: form === 'text' ? { kind: 'text', text } : { kind: 'chat', messages: [{ role: 'user', content: text }] },
    maxTokens,
    temperature: 0,
    topP: 1,
    seed: 0,
    stop: [],
    topLogprobs,
    ...(fields === undefined ? {} : { fields }),
  };
}

/** null where every answer has log-probabilities and no likely token begins two choices. */
function whyNotFirstToken(examples: readonly Example[], asked: readonly Asked[]): string | null {
  let seen = 0;
  for (const [i, { answer }] of asked.entries()) {
    if (answer === null || (answer.text === '' && answer.details.length === 0)) continue; // it has no first token
    const top = firstTop(answer.details);
    if (top === null) return 'the endpoint gives no top_logprobs';
    seen++;
    const choices = examples[i]!.choices!.map((choice) => choice.trim());
    const twice = top.find(({ token }) => choices.filter((choice) => begins(choice, token)).length > 1);
    if (twice !== undefined) return `the first token ${JSON.stringify(twice.token)} begins several choices`;
  }
  return seen === 0 ? 'no answer has any token' : null;
}

/** Of the first token that is more than white space: some models begin with a line break. */
function firstTop(details: readonly TokenDetail[]): TokenDetail['top'] | null {
  const first = details.find(({ token }) => token.trim() !== '') ?? details[0];
  return first === undefined || first.top.length === 0 ? null : first.top;
}

/** A token of white space begins nothing. A whole choice within a longer token ("A." for "A") counts. */
function begins(choice: string, token: string): boolean {
  const text = token.trim();
  return (
    text !== '' &&
    (choice.startsWith(text) || (text.startsWith(choice) && !/^[\p{L}\p{N}]/u.test(text.slice(choice.length))))
  );
}

/**
 * Log-probability of each choice's first token: the sum over the listed tokens that begin it ("wet" and " wet");
 * -Infinity where none is listed.
 */
export function firstTokenScores(choices: readonly string[], details: readonly TokenDetail[]): number[] {
  const top = firstTop(details) ?? [];
  return choices.map((choice) => {
    const own = top.filter(({ token }) => begins(choice.trim(), token));
    return own.length === 0 ? Number.NEGATIVE_INFINITY : Math.log(own.reduce((sum, t) => sum + Math.exp(t.logprob), 0));
  });
}

function judged(
  examples: readonly Example[],
  asked: readonly Asked[],
  method: EndpointMethod,
  { match, source }: EndpointOptions,
  notices: string[],
): EndpointAnswers {
  const records = examples.map((example, i): AnswerRecord => {
    const { answer, failure, latencyMs } = asked[i]!;
    const { text, correct } =
      answer === null
        ? { text: '', correct: false }
        : method === 'generation'
          ? { text: answer.text.trim(), correct: isRight(answer.text, example, match) }
          : byFirstToken(example, answer);
    const { scope, complexity, confidence } = answer?.signals ?? {};
    return {
      id: example.id,
      promptHash: promptHash(example.prompt),
      answer: text,
      correct: correct ? 1 : 0,
      loss: null,
      source: source ?? answer?.source ?? 'in_cloud',
      reason: failure ?? (source === undefined ? answer?.reason : null) ?? 'mode',
      latencyMs,
      ...(scope === undefined ? {} : { scope }),
      ...(complexity === undefined ? {} : { complexity }),
      ...(confidence === undefined ? {} : { confidence }),
    };
  });
  const failed = asked.filter(({ answer }) => answer === null).length;
  if (failed > 0) notices.push(`${failed} of ${examples.length} answers failed and count as wrong.`);
  return { method, records, answers: asked.map(({ answer }) => answer), notices };
}

function byFirstToken({ choices, answer: right }: Example, answer: TimedAnswer): { text: string; correct: boolean } {
  const scores = firstTokenScores(choices!, answer.details);
  const best = scores.indexOf(Math.max(...scores));
  // None of the choices is likely: that is no answer, and not the first of them.
  if (scores[best] === Number.NEGATIVE_INFINITY) return { text: '', correct: false };
  return { text: choices![best]!.trim(), correct: best === right };
}
