/** The page: a chat, and beside it the users and the form that makes one; and what stands there while there is nothing to chat with. */

import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Chat } from './chat.js';
import { NewUser } from './new-user.js';
import { facts, open, phase, trouble, users, view } from './state.js';
import { Users } from './users.js';

const VIEWS = { chat: 'Chat', users: 'Users', new: 'New user' } as const;

export function App() {
  if (phase.value !== 'ready') return <Outside />;
  const shown = view.value === 'chat' ? 'users' : view.value;
  return (
    <div class="app" data-view={view}>
      <a class="skip" href="#message">
        Skip to the message
      </a>
      <header class="top">
        <h1 class="mark">
          crayon<span> playground</span>
        </h1>
        <Serving />
        <Tabs names={['chat', 'users', 'new']} label="Parts of the page" />
      </header>
      <main class="panes">
        <Chat />
        <aside class="side" aria-label="Customisation">
          <Tabs names={['users', 'new']} label="Users" />
          {shown === 'users' ? <Users /> : <NewUser />}
        </aside>
      </main>
    </div>
  );
}

function Serving() {
  const { base, server } = facts.value!;
  return (
    <p class="serving">
      <span>
        Device <b>{base}</b>
      </span>
      <span>
        Server <b>{server ?? 'none'}</b>
      </span>
    </p>
  );
}

function Tabs({ names, label }: { names: ReadonlyArray<keyof typeof VIEWS>; label: string }) {
  const current = names.includes(view.value) ? view.value : names[0];
  return (
    <nav class="tabs" aria-label={label}>
      {names.map((name) => (
        <button
          key={name}
          type="button"
          aria-current={name === current ? 'true' : undefined}
          onClick={() => {
            view.value = name;
          }}
        >
          {VIEWS[name]}
          {name === 'users' && users.value.length > 0 && <span class="count">{users.value.length}</span>}
        </button>
      ))}
    </nav>
  );
}

function Outside() {
  switch (phase.value) {
    case 'locked':
      return <KeyForm />;
    case 'loading':
      return <Notice title="The model is loading">The page goes on by itself.</Notice>;
    case 'down':
      return (
        <Notice title="No answer from the server">
          <p>{trouble}</p>
          <button type="button" class="primary" onClick={() => void open()}>
            Try again
          </button>
        </Notice>
      );
    default:
      return null;
  }
}

function Notice({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <main class="outside">
      <div class="card" role="status">
        <h1>{title}</h1>
        {children}
      </div>
    </main>
  );
}

function KeyForm() {
  const given = useSignal('');
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.select(), [trouble.value]);
  return (
    <main class="outside">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void open(given.value.trim());
        }}
      >
        <h1>This server asks for its API key</h1>
        <p class="hint">It stays in this page’s memory, and is gone when the page is closed or loaded anew.</p>
        <label class="field">
          API key
          <input
            ref={field}
            type="password"
            autocomplete="off"
            spellcheck={false}
            value={given}
            aria-invalid={trouble.value !== null}
            aria-describedby="key-problem"
            onInput={(event) => {
              given.value = event.currentTarget.value;
            }}
          />
        </label>
        <p id="key-problem" class="problem" role="alert">
          {trouble}
        </p>
        <button type="submit" class="primary" disabled={given.value.trim() === ''}>
          Open
        </button>
      </form>
    </main>
  );
}
