/** The users that the device is customised for, and what the chosen one's customisation is made of. */

import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { ApiError, type Customization, deleteUser } from './api.js';
import { chosenUser, facts, justMade, model, refreshUsers, titleOf, users, view } from './state.js';
import { clusterLabel } from './words.js';

const VERDICTS = { covered: 'Covered', borderline: 'In doubt', 'not-covered': 'Not covered' } as const;

export function Users() {
  const { base, pool, is_gated: isGated } = facts.value!;
  const user = chosenUser.value;
  return (
    <div class="pane">
      <fieldset class="users">
        <legend>Who asks</legend>
        <Row
          name={base}
          title="Base"
          remark={isGated ? 'no user; the pool, weighed for each prompt' : 'no user, no customisation'}
        />
        {users.value.map((one) => (
          <Row key={one.id} name={one.model} title={titleOf(one)} remark={remarkOf(one)} user={one} />
        ))}
      </fieldset>
      {users.value.length === 0 && (
        <p class="hint">
          {pool === null ? 'Without a pool nobody can be added: see --pool of crayon serve-edge.' : 'Nobody else yet. '}
          {pool !== null && (
            <button
              type="button"
              class="link"
              onClick={() => {
                view.value = 'new';
              }}
            >
              Add a user
            </button>
          )}
        </p>
      )}
      {user !== null && <Details user={user} />}
    </div>
  );
}

function remarkOf({ examples, coverage, created }: Customization): string {
  const from = examples === 0 ? 'from coefficients' : `${examples} examples`;
  const verdict = coverage === null ? [] : [VERDICTS[coverage.verdict].toLowerCase()];
  const made = new Date(1000 * created).toLocaleTimeString([], { hour: 'numeric', minute: '2-digit' });
  return [from, ...verdict, made].join(' · ');
}

function Row({ name, title, remark, user }: { name: string; title: string; remark: string; user?: Customization }) {
  return (
    <div class="user">
      <label>
        <input
          type="radio"
          name="user"
          value={name}
          checked={model.value === name}
          onChange={() => {
            model.value = name;
          }}
        />
        <span>
          <b>{title}</b>
          <small>{remark}</small>
        </span>
      </label>
      {user !== undefined && <Delete user={user} />}
    </div>
  );
}

/** A second press within a few seconds deletes. */
function Delete({ user }: { user: Customization }) {
  const isAsked = useSignal(false);
  const problem = useSignal<string | null>(null);
  const press = async () => {
    if (!isAsked.value) {
      isAsked.value = true;
      setTimeout(() => {
        isAsked.value = false;
      }, 4000);
      return;
    }
    try {
      await deleteUser(user.id);
      await refreshUsers();
      document.querySelector<HTMLElement>('input[name="user"]:checked')?.focus();
    } catch (error) {
      problem.value = error instanceof ApiError ? error.message : String(error);
      if (error instanceof ApiError && error.status === 404) await refreshUsers();
    }
  };
  return (
    <>
      <button
        type="button"
        class={isAsked.value ? 'small danger' : 'small'}
        aria-label={isAsked.value ? `Yes, delete ${titleOf(user)}` : `Delete ${titleOf(user)}`}
        onClick={() => void press()}
      >
        {isAsked.value ? 'Really?' : 'Delete'}
      </button>
      {problem.value !== null && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}

function Details({ user }: { user: Customization }) {
  const { coverage, coefficients, choice, notices, blend_ms: ms, model: name, problem } = user;
  const chosen = choice?.candidates.find((candidate) => candidate.name === choice.chosen);
  const section = useRef<HTMLElement>(null);
  useEffect(() => {
    if (justMade.value !== user.id) return;
    justMade.value = null;
    section.current?.focus();
  }, [user.id]);
  return (
    <section class="details" ref={section} tabIndex={-1} aria-label={`The customisation of ${titleOf(user)}`}>
      {problem !== undefined && <p class="problem">{problem.message}</p>}
      {coverage !== null && (
        <div class="verdict">
          <h3>
            Coverage <span data-verdict={coverage.verdict}>{VERDICTS[coverage.verdict]}</span>
          </h3>
          <p>{coverage.sentence}</p>
        </div>
      )}
      {chosen !== undefined && <p class="hint">Chosen by the examples’ answers: {chosen.title}.</p>}
      {coefficients === null ? (
        <p class="hint">The pool’s adapters are weighed for each prompt, so no one set of coefficients holds.</p>
      ) : (
        <Coefficients values={coefficients} />
      )}
      {notices.map((notice) => (
        <p key={notice} class="hint">
          {notice}
        </p>
      ))}
      <p class="hint">
        Made in {ms} ms. In requests it is
        <br />
        <code>{name}</code>
      </p>
    </section>
  );
}

function Coefficients({ values }: { values: number[] }) {
  const clusters = facts.value!.pool?.clusters ?? [];
  const most = Math.max(...values.map(Math.abs), 1e-9);
  return (
    <>
      <h3 id="coefficients">What it is blended from</h3>
      <ol class="bars" aria-labelledby="coefficients">
        {values
          .map((value, n) => ({ value, n, cluster: clusters[n] }))
          .sort((a, b) => Math.abs(b.value) - Math.abs(a.value))
          .map(({ value, n, cluster }) => (
            <li key={n} data-small={Math.abs(value) < 0.01}>
              <span class="name">
                {cluster === undefined ? `cluster ${n}` : clusterLabel(cluster.tasks, cluster.size)}
              </span>
              <span class="value">{value.toFixed(2)}</span>
              <span class="track" aria-hidden="true">
                <i data-negative={value < 0} style={{ width: `${((100 * Math.abs(value)) / most).toFixed(1)}%` }} />
              </span>
            </li>
          ))}
      </ol>
    </>
  );
}
