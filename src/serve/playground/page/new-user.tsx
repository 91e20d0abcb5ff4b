/** The form that customises the device for a user by a few examples. */

import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { ApiError, createUser } from './api.js';
import { pastedExamples } from './examples.js';
import { Check } from './fields.js';
import { facts, justMade, lock, model, users, view } from './state.js';

const SHAPE = `{"prompt": "...", "completion": "..."}
{"prompt": "...", "completion": "..."}`;

/** More than the server takes in a request. */
const MOST_BYTES = 2 ** 22;

export function NewUser() {
  const name = useSignal('');
  const text = useSignal('');
  const isChosen = useSignal(false);
  const isBusy = useSignal(false);
  const isOver = useSignal(false);
  const problem = useSignal<string | null>(null);
  const file = useRef<HTMLInputElement>(null);
  const { pool } = facts.value!;
  if (pool === null) {
    return (
      <div class="pane">
        <p class="hint">
          This server was started without a pool, so there is nothing to blend from: see <code>--pool</code> of{' '}
          <code>crayon serve-edge</code>.
        </p>
      </div>
    );
  }
  const { min, max } = pool.examples;
  const { records, problem: unread } = pastedExamples(text.value);
  const isRight = unread === null && records.length >= min && records.length <= max;

  const take = async (given: File | undefined) => {
    if (given === undefined) return;
    problem.value = given.size > MOST_BYTES ? `${given.name} is too large for a few examples.` : null;
    if (problem.value !== null) return;
    text.value = await given.text();
    if (name.value === '') name.value = given.name.replace(/\.\w+$/, '');
  };
  const make = async () => {
    isBusy.value = true;
    problem.value = null;
    try {
      const named = name.value.trim() === '' ? {} : { name: name.value.trim() };
      const made = await createUser({ examples: records, ...named, ...(isChosen.value && { choose: true }) });
      users.value = [...users.value, made];
      model.value = made.model;
      justMade.value = made.id;
      view.value = 'users';
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      problem.value = error.message;
      if (error.status === 401) lock(true);
    } finally {
      isBusy.value = false;
    }
  };

  return (
    <form
      class="pane"
      onSubmit={(event) => {
        event.preventDefault();
        if (isRight && !isBusy.value) void make();
      }}
    >
      <p class="lead">
        {min} to {max} examples of a task say how the pool’s adapters are blended. Nothing is trained.
      </p>
      <label class="field">
        User
        <input
          type="text"
          maxLength={64}
          autocomplete="off"
          placeholder="a name"
          value={name}
          onInput={(event) => {
            name.value = event.currentTarget.value;
          }}
        />
      </label>
      <label class="field" for="examples">
        Examples
      </label>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping is a second way; the button below is the one by keyboard */}
      <div
        class="drop"
        data-over={isOver}
        onDragOver={(event) => {
          event.preventDefault();
          isOver.value = true;
        }}
        onDragLeave={() => {
          isOver.value = false;
        }}
        onDrop={(event) => {
          event.preventDefault();
          isOver.value = false;
          void take(event.dataTransfer?.files[0]);
        }}
      >
        <textarea
          id="examples"
          rows={9}
          spellcheck={false}
          placeholder={SHAPE}
          value={text}
          aria-describedby="examples-read examples-help"
          onInput={(event) => {
            text.value = event.currentTarget.value;
          }}
        />
        <div class="row">
          <span id="examples-read" class={unread === null ? 'hint' : 'problem'} role="status">
            {unread ?? countOf(records.length, min, max)}
          </span>
          <button type="button" class="small" onClick={() => file.current?.click()}>
            Choose a file
          </button>
          <input
            ref={file}
            type="file"
            hidden
            accept=".jsonl,.json,.txt,.tsv"
            aria-label="File with examples"
            onChange={(event) => {
              void take(event.currentTarget.files?.[0]);
              event.currentTarget.value = '';
            }}
          />
        </div>
      </div>
      <p id="examples-help" class="hint">
        JSON lines as in a data file, or a prompt a line, its answer after a tab. Paste them, or drop a file.
      </p>
      <Check label="Let the answers choose how to blend (slower)" of={isChosen} />
      <p class="problem" role="alert">
        {problem}
      </p>
      <button type="submit" class="primary" disabled={!isRight || isBusy.value}>
        {isBusy.value ? 'Customising …' : 'Customise'}
      </button>
    </form>
  );
}

function countOf(count: number, min: number, max: number): string {
  if (count === 0) return 'No example yet';
  const found = count === 1 ? '1 example' : `${count} examples`;
  if (count < min) return `${found}, ${min - count} more needed`;
  return count > max ? `${found}, at most ${max} are taken` : found;
}
