/**
 * Answers of an OpenAI-compatible endpoint to test examples, and whether they are right. Chat servers give no
 * log-probabilities of a prompt, so a choice cannot be scored as a whole: every answer is judged as generated text.
 */

import { isCrayonError } from '../../core/errors.js';
import type { Example } from '../../data/dataset.js';
import { isRight, type Match } from '../../data/judge.js';
import type { ChatClient, ChatQuestion, TimedAnswer } from '../../engine/server/chat-client.js';
import { failureName } from '../../engine/server/error.js';
import { type AskedExample, GREEDY, type Prompt, promptFor } from '../../engine/types.js';
import type { JsonObject } from '../../files/json.js';
import { RECORDED_SIGNALS, type RecordedSignal } from '../../routing/signals/index.js';
import type { Source } from '../../routing/types.js';
import type { AnswerRecord } from '../types.js';
import { promptHash } from '../users.js';

export interface QuestionOptions {
  maxTokens: number;
  /** one user's message, or a text to be continued */
  form: Prompt['kind'];
  /** for the body of every request, as `{ crayon: { mode: 'only_on_device' } }` */
  fields?: JsonObject | undefined;
}

export interface EndpointOptions extends QuestionOptions {
  client: ChatClient;
  match: Match;
  /** who answers, where that is known: a server LLM calls what it does itself `on_device`, if it says anything */
  source?: Source;
  signal: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

export interface EndpointAnswers {
  records: AnswerRecord[];
  /** as they came; null for a question whose answer failed */
  answers: Array<TimedAnswer | null>;
  /** sentences: which answers failed */
  notices: string[];
}

/** A prompt as it is asked, greedily. */
export function greedyQuestion(example: AskedExample, { form, maxTokens, fields }: QuestionOptions): ChatQuestion {
  const asked = promptFor(example, form);
  return { ...GREEDY, prompt: asked, maxTokens, fields };
}

/**
 * Asks all examples, one after another: each answer has the whole machine. One that fails counts as wrong, with the error's
 * code as its reason: whoever asked got none.
 *
 * @throws CrayonError `server-refused`, which would be so for all; the first failure where every answer fails; `interrupted`
 */
export async function scoreEndpoint(
  examples: readonly Example[],
  { client, match, source, signal, onProgress, ...question }: EndpointOptions,
): Promise<EndpointAnswers> {
  const records: AnswerRecord[] = [];
  const answers: Array<TimedAnswer | null> = [];
  let firstFailure: unknown;
  for (const example of examples) {
    const started = performance.now();
    let answer: TimedAnswer | null = null;
    let failure: string | null = null;
    try {
      answer = await client.ask(greedyQuestion(example, question), signal);
    } catch (error) {
      if (signal.aborted || !isCrayonError(error) || error.code === 'server-refused') throw error;
      firstFailure ??= error;
      failure = failureName(error);
    }
    answers.push(answer);
    records.push({
      id: example.id,
      promptHash: promptHash(example.prompt),
      answer: answer?.text.trim() ?? '',
      correct: answer !== null && isRight(answer.text, example, match) ? 1 : 0,
      loss: null,
      source: source ?? answer?.source ?? 'in_cloud',
      reason: failure ?? (source === undefined ? answer?.reason : null) ?? 'mode',
      latencyMs: answer?.endMs ?? performance.now() - started,
      ...signalsTold(answer?.signals ?? {}),
    });
    onProgress?.(answers.length, examples.length);
  }
  const failed = answers.filter((answer) => answer === null).length;
  if (failed > 0 && failed === answers.length) throw firstFailure;
  const notices = failed > 0 ? [`${failed} of ${examples.length} answers failed and count as wrong.`] : [];
  return { records, answers, notices };
}

/** The routing signals among what an answer tells. */
export function signalsTold(told: { readonly [name: string]: unknown }): Partial<Record<RecordedSignal, number>> {
  return Object.fromEntries(RECORDED_SIGNALS.flatMap((name) => (told[name] === undefined ? [] : [[name, told[name]]])));
}
