/** A question on its way: to one model, or to the base and a user's in turn, so that neither slows the other down. */

import { type Signal, signal } from '@preact/signals';
import { ApiError, type ChatBody, streamAnswer } from './api.js';
import { PaceClock } from './pace.js';
import {
  type Answer,
  chosenUser,
  type Exchange,
  exchanges,
  facts,
  isCompared,
  isConversation,
  lock,
  maxTokens,
  mode,
  running,
  temperature,
  titleOf,
} from './state.js';

let asked = 0;

export async function ask(question: string): Promise<void> {
  if (running.value !== null) return;
  const { base } = facts.value!;
  const user = chosenUser.value;
  const models = user === null ? [base] : isCompared.value ? [base, user.model] : [user.model];
  const earlier = isConversation.value ? exchanges.value : [];
  const answers = models.map((name) => {
    const title = name === base ? 'Base' : titleOf(user!);
    return signal<Answer>({
      ...{ model: name, title, state: 'waiting', text: '', who: null, pace: null, finish: null, error: null },
    });
  });
  const stop = new AbortController();
  running.value = stop;
  exchanges.value = [...exchanges.value, { id: asked++, question, answers }];
  try {
    for (const answer of answers) {
      const messages = [...messagesOf(earlier, answer.value.model), { role: 'user', content: question }];
      await stream(answer, messages, stop.signal);
    }
  } finally {
    running.value = null;
  }
}

/** What was said before, as this model answered it where it was asked; what has no answer is left out. */
function messagesOf(earlier: readonly Exchange[], model: string): ChatBody['messages'] {
  return earlier.flatMap(({ question: content, answers }) => {
    const { text } = (answers.find(({ value }) => value.model === model) ?? answers[0]!).value;
    return text === ''
      ? []
      : [
          { role: 'user', content },
          { role: 'assistant', content: text },
        ];
  });
}

async function stream(answer: Signal<Answer>, messages: ChatBody['messages'], signal: AbortSignal): Promise<void> {
  const change = (fields: Partial<Answer>) => {
    answer.value = { ...answer.value, ...fields };
  };
  const body: ChatBody = { model: answer.value.model, messages, temperature: temperature.value };
  if (Number.isFinite(maxTokens.value)) body.max_tokens = maxTokens.value;
  if (facts.value!.mode_per_request) body.crayon = { mode: mode.value };
  const clock = new PaceClock();
  let tokens: number | null = null;
  const held = () => (answer.value.who?.signals.confidence === undefined ? 1 : facts.value!.held_tokens);
  try {
    for await (const { choices, usage, crayon } of streamAnswer(body, signal)) {
      if (crayon !== undefined) change({ who: crayon, state: 'streaming' });
      const { delta, finish_reason: finish } = choices[0] ?? { delta: {}, finish_reason: null };
      if (delta.content) {
        clock.piece();
        change({ text: answer.value.text + delta.content });
      }
      if (finish !== null) change({ finish });
      if (usage) tokens = usage.completion_tokens;
    }
    change({ state: 'done', pace: clock.measure(tokens, held()) });
  } catch (error) {
    const pace = clock.measure(null, held());
    if (signal.aborted) change({ state: 'stopped', pace });
    else if (error instanceof ApiError) {
      change({ state: 'failed', pace, error });
      if (error.status === 401) lock(true);
    } else throw error;
  }
}
