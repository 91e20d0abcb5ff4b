/** What the page knows, as signals: whatever reads one is drawn anew when it changes. */

import { computed, type Signal, signal } from '@preact/signals';
import type { CrayonFacts, WhoAnswered } from '../wire.js';
import { ApiError, type Customization, listUsers, readFacts, useKey } from './api.js';
import type { Pace } from './pace.js';

/** `locked`: the server wants a key. `down`: it cannot be reached, or answers with an error. */
export const phase = signal<'opening' | 'loading' | 'locked' | 'down' | 'ready'>('opening');
/** Why the page is locked or down; null where there is nothing to say yet. */
export const trouble = signal<string | null>(null);

export const facts = signal<CrayonFacts | null>(null);
export const users = signal<Customization[]>([]);

/** Which part of the page a phone shows; on a wider screen the chat is always there. */
export const view = signal<'chat' | 'users' | 'new'>('chat');

/** The model that is asked: the base, or a user's. */
export const model = signal('');
/** The id of a user whose customisation has just been made, until it has been shown. */
export const justMade = signal<string | null>(null);
export const chosenUser = computed(() => users.value.find((user) => user.model === model.value) ?? null);

export const mode = signal('');
export const isCompared = signal(false);
/** Whether earlier questions and answers are sent too. */
export const isConversation = signal(false);
export const temperature = signal(0);
export const maxTokens = signal(200);

export interface Answer {
  /** The model asked. */
  model: string;
  title: string;
  state: 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed';
  text: string;
  who: WhoAnswered | null;
  pace: Pace | null;
  finish: string | null;
  error: ApiError | null;
}

export interface Exchange {
  id: number;
  question: string;
  answers: Array<Signal<Answer>>;
}

export const exchanges = signal<Exchange[]>([]);
/** What ends the answers under way; null where there are none. */
export const running = signal<AbortController | null>(null);

/** A user's name, or what stands for one. */
export function titleOf(user: Customization): string {
  return user.name ?? `unnamed ${user.id.slice(0, 6)}`;
}

const LOADING_MS = 1000;

/** Reads who can answer and for whom; tries again while the model is loading. */
export async function open(key?: string): Promise<void> {
  if (key !== undefined) useKey(key);
  try {
    const found = await readFacts();
    users.value = await listUsers();
    facts.value = found;
    if (model.value === '') model.value = found.base;
    if (mode.value === '') mode.value = found.mode;
    trouble.value = null;
    phase.value = 'ready';
  } catch (error) {
    if (!(error instanceof ApiError)) {
      phase.value = 'down';
      trouble.value = 'What answers here is no server of crayon’s.';
    } else if (error.code === 'loading') {
      phase.value = 'loading';
      setTimeout(() => void open(), LOADING_MS);
    } else if (error.status === 401) lock(key !== undefined);
    else {
      phase.value = 'down';
      trouble.value = error.message;
    }
  }
}

/** The key is asked for; where one was given, it was wrong. */
export function lock(wasGiven: boolean): void {
  useKey(null);
  phase.value = 'locked';
  trouble.value = wasGiven ? 'This is not the server’s key.' : null;
}

/** Asks again who there is, for instance after one was deleted elsewhere. */
export async function refreshUsers(): Promise<void> {
  users.value = await listUsers();
  if (chosenUser.value === null) model.value = facts.value!.base;
}
