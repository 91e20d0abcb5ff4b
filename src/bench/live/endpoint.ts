/**
 * Answers of an OpenAI-compatible endpoint to test examples, judged by generation: chat servers give no log-probabilities of a
 * prompt, so a choice cannot be scored as a whole. An answer counts where, white space around it aside, it is the right one.
 */

import { type CrayonError, isCrayonError } from '../../core/errors.js';
import type { Example } from '../../data/dataset.js';
import type { ChatClient, ChatQuestion, TimedAnswer } from '../../engine/server/chat-client.js';
import { serverErrorOf } from '../../engine/server/error.js';
import type { Prompt } from '../../engine/types.js';
import type { JsonObject } from '../../files/json.js';
import { isRight, type Match } from '../../routing/calibrate/collect.js';
import { RECORDED_SIGNALS, type RecordedSignal } from '../../routing/signals/index.js';
import type { Source } from '../../routing/types.js';
import { promptHash } from '../tasks.js';
import type { AnswerRecord } from '../types.js';

export interface EndpointOptions {
  client: ChatClient;
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
  records: AnswerRecord[];
  /** as they came; null for a question whose answer failed */
  answers: Array<TimedAnswer | null>;
  /** sentences: that answers failed */
  notices: string[];
}

/**
 * Asks all examples, greedily. An answer that fails counts as wrong, with the error's code as its reason: whoever asked got
 * none.
 *
 * @throws CrayonError the failure where every answer fails; `server-refused` at the first; `interrupted`
 */
export async function scoreEndpoint(examples: readonly Example[], options: EndpointOptions): Promise<EndpointAnswers> {
  const asked = await askAll(examples, options);
  const records = examples.map((example, i) => judged(example, asked[i]!, options));
  const failed = asked.filter(({ answer }) => answer === null).length;
  const notices = failed > 0 ? [`${failed} of ${examples.length} answers failed and count as wrong.`] : [];
  return { records, answers: asked.map(({ answer }) => answer), notices };
}

interface Asked {
  answer: TimedAnswer | null;
  failure: string | null;
  latencyMs: number;
}

async function askAll(
  examples: readonly Example[],
  { client, maxTokens, form, fields, parallel = 1, signal, onProgress }: EndpointOptions,
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
        settle(await client.ask(questionOf(examples[i]!, { form, maxTokens, fields }), signal), null);
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
): ChatQuestion {
  const text = prompt.trimEnd();
  return {
    prompt: form === 'text' ? { kind: 'text', text } : { kind: 'chat', messages: [{ role: 'user', content: text }] },
    maxTokens,
    temperature: 0,
    topP: 1,
    seed: 0,
    stop: [],
    topLogprobs: null,
    ...(fields === undefined ? {} : { fields }),
  };
}

function judged(
  example: Example,
  { answer, failure, latencyMs }: Asked,
  { match, source }: EndpointOptions,
): AnswerRecord {
  return {
    id: example.id,
    promptHash: promptHash(example.prompt),
    answer: answer?.text.trim() ?? '',
    correct: answer !== null && isRight(answer.text, example, match) ? 1 : 0,
    loss: null,
    source: source ?? answer?.source ?? 'in_cloud',
    reason: failure ?? (source === undefined ? answer?.reason : null) ?? 'mode',
    latencyMs,
    ...signalsTold(answer?.signals ?? {}),
  };
}

/** The routing signals among what an answer tells. */
export function signalsTold(told: { readonly [name: string]: unknown }): Partial<Record<RecordedSignal, number>> {
  return Object.fromEntries(RECORDED_SIGNALS.flatMap((name) => (told[name] === undefined ? [] : [[name, told[name]]])));
}
