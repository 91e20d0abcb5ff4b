/** The chat: what was asked and answered, and the form that asks. */

import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { AnswerCard } from './answer.js';
import { ask } from './ask.js';
import { Check, NumberField } from './fields.js';
import {
  chosenUser,
  type Exchange,
  exchanges,
  facts,
  isCompared,
  isConversation,
  maxTokens,
  mode,
  model,
  running,
  temperature,
  titleOf,
  users,
  view,
} from './state.js';
import { MODE_WORDS } from './words.js';

export function Chat() {
  return (
    <section class="chat" aria-label="Chat">
      <Log />
      <Composer />
    </section>
  );
}

/** The newest is kept in sight while it grows, unless the reader has scrolled away from it. */
function Log() {
  const log = useRef<HTMLDivElement>(null);
  const end = useRef(true);
  const all = exchanges.value;
  const grown = all.at(-1)?.answers.reduce((sum, { value }) => sum + value.text.length + value.state.length, 0);
  useLayoutEffect(() => {
    if (end.current && log.current !== null) log.current.scrollTop = log.current.scrollHeight;
  }, [all.length, grown]);
  return (
    <div
      class="log"
      ref={log}
      role="log"
      aria-label="Questions and answers"
      aria-live="polite"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a part that scrolls must be reached by keyboard
      tabIndex={0}
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        end.current = scrollHeight - scrollTop - clientHeight < 40;
      }}
    >
      {all.length === 0 ? <Empty /> : all.map((exchange) => <Asked key={exchange.id} {...exchange} />)}
    </div>
  );
}

function Empty() {
  return (
    <div class="empty">
      <h2>Ask, and see who answers</h2>
      <p>
        Every answer says whether the device or the server gave it, what decided that, and how fast it came.
        {facts.value!.pool !== null &&
          users.value.length === 0 &&
          ' A few examples of a task make the device a user’s own.'}
      </p>
      {facts.value!.pool !== null && users.value.length === 0 && (
        <button
          type="button"
          onClick={() => {
            view.value = 'new';
          }}
        >
          Customise for a user
        </button>
      )}
    </div>
  );
}

function Asked({ question, answers }: Exchange) {
  return (
    <div class="exchange">
      <p class="question">{question}</p>
      <div class="answers" data-count={answers.length}>
        {answers.map((answer) => (
          <AnswerCard key={answer.peek().model} answer={answer} />
        ))}
      </div>
    </div>
  );
}

function Composer() {
  const question = useSignal('');
  const field = useRef<HTMLTextAreaElement>(null);
  const isRunning = running.value !== null;
  const stop = () => {
    running.value?.abort();
    field.current?.focus();
  };
  const send = () => {
    const text = question.value.trim();
    if (text === '' || isRunning) return;
    question.value = '';
    void ask(text);
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        if (isRunning) stop();
        else send();
      }}
      onKeyDown={(event) => {
        if (event.key === 'Escape' && isRunning) stop();
      }}
    >
      <div class="message">
        <textarea
          ref={field}
          id="message"
          rows={2}
          aria-label="Message"
          placeholder="Write a message"
          value={question}
          onInput={(event) => {
            question.value = event.currentTarget.value;
          }}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
        <button type="submit" class="primary" disabled={!isRunning && question.value.trim() === ''}>
          {isRunning ? 'Stop' : 'Send'}
        </button>
      </div>
      <Choices />
    </form>
  );
}

function Choices() {
  const { base, mode_per_request: mayChoose, server } = facts.value!;
  return (
    <div class="choices">
      <span class="choice">
        <label for="user">User</label>
        <select
          id="user"
          value={model}
          onChange={(event) => {
            model.value = event.currentTarget.value;
          }}
        >
          <option value={base}>Base</option>
          {users.value.map((user) => (
            <option key={user.id} value={user.model}>
              {titleOf(user)}
            </option>
          ))}
        </select>
      </span>
      <span class="choice">
        <label for="mode">Mode</label>
        <select
          id="mode"
          value={mode}
          disabled={!mayChoose}
          title={mayChoose ? undefined : 'This server’s configuration decides'}
          onChange={(event) => {
            mode.value = event.currentTarget.value;
          }}
        >
          {Object.entries(MODE_WORDS).map(([name, words]) => (
            <option key={name} value={name} disabled={server === null && name.endsWith('in_cloud')}>
              {words}
            </option>
          ))}
        </select>
      </span>
      {chosenUser.value !== null && <Check label="Compare with the base" of={isCompared} />}
      <details class="more">
        <summary>More</summary>
        <div class="sheet">
          <NumberField label="Temperature" of={temperature} min={0} max={2} step={0.1} />
          <NumberField label="Most tokens" of={maxTokens} min={1} step={1} />
          <Check label="Send earlier messages too" of={isConversation} />
          <button
            type="button"
            disabled={exchanges.value.length === 0 || running.value !== null}
            onClick={() => {
              exchanges.value = [];
            }}
          >
            Clear the chat
          </button>
        </div>
      </details>
    </div>
  );
}
