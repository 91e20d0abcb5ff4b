/** What the engine over an OpenAI-compatible endpoint is told, what it says of itself, and its defaults. */

import { CrayonError, type ErrorCode } from '../../core/errors.js';
import type { Clock } from '../clock.js';

export interface ServerPrices {
  /** money for a million tokens */
  inputPerMillion: number;
  outputPerMillion: number;
  /** as it is to be shown: EUR, USD */
  currency: string;
}

/** Milliseconds, each counted from the start of its phase. */
export interface ServerTimeouts {
  /** until the connection stands and the request may be sent */
  connectMs: number;
  /** from then until the answer's first byte */
  firstByteMs: number;
  /** between two pieces of the answer */
  idleMs: number;
  /** the whole call: its place in the queue, all attempts, the waits between them */
  totalMs: number;
}

export interface BackoffOptions {
  /** the first wait; it doubles with each attempt, and a random half of it is taken off */
  baseMs: number;
  maxMs: number;
  /** a server that asks for a longer wait than this is not waited for: the call fails, and says how long */
  maxRetryAfterMs: number;
}

/** Per day in UTC; null: no limit. */
export interface ServerBudget {
  tokensPerDay: number | null;
  /** in the currency of the prices */
  moneyPerDay: number | null;
}

export interface CircuitOptions {
  /** calls in a row that fail before the circuit opens */
  failures: number;
  /** how long it stays open before one call is let through as a probe */
  halfOpenAfterMs: number;
}

/** What has been spent on one day. */
export interface BudgetRecord {
  /** the day in UTC, as 2030-01-15 */
  day: string;
  inputTokens: number;
  outputTokens: number;
  money: number;
}

/** Where spending is kept, so that a restart does not forget it: formats/budget-file writes it to a file. */
export interface BudgetStore {
  /** null where nothing has been kept yet */
  load(): BudgetRecord | null;
  save(record: BudgetRecord): void;
}

export interface OpenAiOptions {
  /** e.g. http://127.0.0.1:8000/v1 */
  baseUrl: string;
  /** as the server calls it */
  model: string;
  /** what crayon calls it, by default `model` */
  name?: string;
  /** sent as a bearer token; null: none is sent */
  apiKey?: string | null;
  /** absent: nothing is counted in money */
  prices?: ServerPrices | null;
  timeouts?: Partial<ServerTimeouts>;
  /** further attempts after the first; 0: none */
  retries?: number;
  backoff?: Partial<BackoffOptions>;
  /** calls at a time */
  concurrency?: number;
  /** calls that may wait for their turn; one more is refused with `engine-busy` */
  queue?: number;
  budget?: Partial<ServerBudget>;
  budgetStore?: BudgetStore | null;
  circuit?: Partial<CircuitOptions>;
  /** the longest answer, and the longest single event of it, that is read */
  maxAnswerBytes?: number;
  maxEventBytes?: number;
  /** of the waits' jitter */
  seed?: number;
  fetch?: typeof globalThis.fetch;
  clock?: Clock;
  onEvent?: (event: ServerEvent) => void;
}

export type CircuitState = 'closed' | 'open' | 'half-open';

/** For metrics and logs: numbers and codes, never a prompt, an answer or the key. */
export type ServerEvent =
  | { type: 'retry'; attempt: number; waitMs: number; code: ErrorCode; status: number | null }
  | { type: 'circuit'; state: CircuitState }
  | {
      type: 'usage';
      inputTokens: number;
      outputTokens: number;
      /** 0 without prices */
      money: number;
      /** the server did not count: these are estimates */
      estimated: boolean;
    }
  | { type: 'error'; code: ErrorCode; status: number | null }
  /** the budget's file could not be written; counting goes on in memory */
  | { type: 'budget-store-failed'; message: string };

/** A moment's view for metrics. */
export interface ServerState {
  circuit: CircuitState;
  running: number;
  waiting: number;
  budget: BudgetRecord & {
    tokensPerDay: number | null;
    moneyPerDay: number | null;
    currency: string | null;
    /** held back for calls under way: the most they may use */
    reservedTokens: number;
    reservedMoney: number;
  };
  /** calls that failed since the start, by code; a cancelled one is none */
  errors: Partial<Record<ErrorCode, number>>;
}

export type Settings = ReturnType<typeof resolveOptions>;

export const SERVER_DEFAULTS = {
  timeouts: { connectMs: 5_000, firstByteMs: 60_000, idleMs: 30_000, totalMs: 300_000 },
  retries: 2,
  backoff: { baseMs: 500, maxMs: 8_000, maxRetryAfterMs: 20_000 },
  concurrency: 8,
  queue: 64,
  budget: { tokensPerDay: null, moneyPerDay: null },
  circuit: { failures: 5, halfOpenAfterMs: 30_000 },
  maxAnswerBytes: 32 * 2 ** 20,
  maxEventBytes: 2 ** 20,
} as const;

/**
 * Fills in the defaults and checks every value.
 *
 * @throws CrayonError `config-invalid`, whose message never holds the key
 */
export function resolveOptions(options: OpenAiOptions) {
  const settings = {
    ...options,
    url: parseBaseUrl(options.baseUrl),
    name: options.name ?? options.model,
    apiKey: checkKey(options.apiKey ?? null),
    prices: options.prices ?? null,
    timeouts: { ...SERVER_DEFAULTS.timeouts, ...options.timeouts },
    retries: options.retries ?? SERVER_DEFAULTS.retries,
    backoff: { ...SERVER_DEFAULTS.backoff, ...options.backoff },
    concurrency: options.concurrency ?? SERVER_DEFAULTS.concurrency,
    queue: options.queue ?? SERVER_DEFAULTS.queue,
    budget: { ...SERVER_DEFAULTS.budget, ...options.budget } as ServerBudget,
    circuit: { ...SERVER_DEFAULTS.circuit, ...options.circuit },
    maxAnswerBytes: options.maxAnswerBytes ?? SERVER_DEFAULTS.maxAnswerBytes,
    maxEventBytes: options.maxEventBytes ?? SERVER_DEFAULTS.maxEventBytes,
    seed: options.seed ?? 0,
  };
  if (settings.model === '') throw new CrayonError('config-invalid', 'server.model: is empty, expected a model name');
  for (const [key, value] of Object.entries(settings.timeouts)) atLeast(`timeouts.${key}`, value, 1);
  for (const [key, value] of Object.entries(settings.backoff)) atLeast(`backoff.${key}`, value, 0);
  wholeAtLeast('retries', settings.retries, 0);
  wholeAtLeast('concurrency', settings.concurrency, 1);
  wholeAtLeast('queue', settings.queue, 0);
  wholeAtLeast('circuit.failures', settings.circuit.failures, 1);
  atLeast('circuit.halfOpenAfterMs', settings.circuit.halfOpenAfterMs, 1);
  wholeAtLeast('maxAnswerBytes', settings.maxAnswerBytes, 1);
  wholeAtLeast('maxEventBytes', settings.maxEventBytes, 1);
  const { tokensPerDay, moneyPerDay } = settings.budget;
  if (tokensPerDay !== null) atLeast('budget.tokensPerDay', tokensPerDay, 0);
  if (moneyPerDay !== null) atLeast('budget.moneyPerDay', moneyPerDay, 0);
  if (settings.prices !== null) {
    atLeast('prices.inputPerMillion', settings.prices.inputPerMillion, 0);
    atLeast('prices.outputPerMillion', settings.prices.outputPerMillion, 0);
  } else if (moneyPerDay !== null) {
    throw new CrayonError('config-invalid', 'server.budget.moneyPerDay: is set, but server.prices is not', {
      hint: 'Give the prices for a million input and output tokens, or limit tokens instead.',
    });
  }
  return settings;
}

function atLeast(key: string, value: number, least: number): void {
  if (Number.isFinite(value) && value >= least) return;
  throw new CrayonError('config-invalid', `server.${key}: is ${value}, expected a number of at least ${least}`);
}

function wholeAtLeast(key: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new CrayonError('config-invalid', `server.${key}: is ${value}, expected a whole number of at least ${least}`);
}

/** A wrong address is not shown where it may hold a password. */
function parseBaseUrl(text: string): URL {
  const hint = 'Give the address up to /v1, for instance http://127.0.0.1:8000/v1.';
  if (!URL.canParse(text)) {
    const shown = text.includes('@') ? 'the address' : `"${text}"`;
    throw new CrayonError('config-invalid', `server.baseUrl: ${shown} is not a URL`, { hint });
  }
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new CrayonError('config-invalid', `server.baseUrl: starts with ${url.protocol}, expected http: or https:`, {
      hint,
    });
  }
  if (url.username !== '' || url.password !== '') {
    throw new CrayonError('config-invalid', 'server.baseUrl: holds a user name or password', {
      hint: 'Pass the key as an API key instead.',
    });
  }
  url.hash = '';
  url.pathname = url.pathname.replace(/\/+$/, '');
  return url;
}

/** fetch would put a key that no header may hold into its error's message, so it is refused here. */
function checkKey(key: string | null): string | null {
  if (key === null || key === '') return null;
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new CrayonError('config-invalid', 'server.apiKey: holds a space, a line break or a character outside ASCII', {
    hint: 'Check the variable or file it is read from for stray characters.',
  });
}
