/**
 * What the engine over an OpenAI-compatible endpoint is told, what it says of itself, and its defaults: those of the section
 * `server` of a configuration file, which is the one place where they and their bounds are written.
 */

import * as z from 'zod';
import { CrayonError, type ErrorCode } from '../../core/errors.js';
import { snakeCase } from '../../core/format.js';
import { LIMITS } from '../../core/limits.js';
import { isJsonObject } from '../../files/json.js';
import { camelCased, checked, notNegative, text, unshown, variableName, whole } from '../../files/schema.js';
import { type Clock, systemClock } from '../clock.js';
import type { Finish } from './choice.js';
import type { ServerErrorDetails } from './error.js';

const SPAN = 'seconds from 0.001 to 86400';
export const seconds = z.number(SPAN).min(0.001, SPAN).max(86_400, SPAN);

const ADDRESS =
  'an http: or https: address up to /v1, such as http://127.0.0.1:8000/v1, without user, password, query or fragment';

function isBaseUrl(found: string): boolean {
  if (!URL.canParse(found)) return false;
  const { protocol, username, password, search, hash } = new URL(found);
  return /^https?:$/.test(protocol) && [username, password, search, hash].every((part) => part === '');
}

/** The section `server` of a configuration file; `serverOptions` makes options of it. */
export const SERVER_SECTION = z
  .strictObject({
    // A password in an address, and a key in place of its variable's name, must not reach a terminal or a log.
    base_url: unshown(z.string(ADDRESS).refine(isBaseUrl, ADDRESS)).describe(
      'An OpenAI-compatible endpoint, up to and with /v1.',
    ),
    model: text.describe('As the server calls it.'),
    api_key_env: variableName.describe('The name of an environment variable that holds its key. Never the key itself.'),
    prices: z
      .strictObject({
        input_per_million: notNegative.default(0).describe('Money for a million tokens of prompts.'),
        output_per_million: notNegative.default(0).describe('Money for a million tokens of answers.'),
        currency: text.default('USD').describe('As it is to be shown: EUR, USD.'),
      })
      .nullable()
      .default(null)
      .describe('Needed for a budget in money. null: nothing is counted in money.'),
    timeouts: z
      .strictObject({
        connect_seconds: seconds.default(5).describe('Until the connection stands and the request may be sent.'),
        first_byte_seconds: seconds.default(60).describe("From then until the answer's first byte."),
        idle_seconds: seconds.default(30).describe('Between two pieces of the answer.'),
        total_seconds: seconds
          .default(300)
          .describe('The whole call: its place in the queue, all attempts, the waits between them.'),
      })
      .prefault({})
      .describe('Each counted from the start of its phase.'),
    retries: whole(0, 10).default(2).describe('Further attempts after the first.'),
    concurrency: whole(1).default(8).describe('Calls at a time.'),
    queue: whole(0).default(64).describe('Calls that may wait for their turn; one more is refused with `engine-busy`.'),
    budget: z
      .strictObject({
        tokens_per_day: whole(0).nullable().default(null).describe('Of prompts and answers together.'),
        money_per_day: notNegative.nullable().default(null).describe('In the currency of the prices.'),
      })
      .prefault({})
      .describe('A day in UTC; null: no limit.'),
    circuit: z
      .strictObject({
        failures: whole(1).default(5).describe('Calls in a row that fail before the circuit opens.'),
        half_open_after_seconds: seconds
          .default(30)
          .describe('How long it stays open before one call is let through as a probe.'),
      })
      .prefault({})
      .describe('When a failing server is left alone.'),
  })
  .refine(({ budget, prices }) => budget.money_per_day === null || prices !== null, {
    path: ['budget', 'money_per_day'],
    error: 'prices beside it, by which money is counted',
  });

/** What only a library's caller may set. */
const LIBRARY_OPTIONS = z.object({
  backoff: z
    .object({
      /** the first wait; it doubles with each attempt, and a random half of it is taken off */
      baseMs: notNegative.default(500),
      maxMs: notNegative.default(LIMITS.retryMs),
      /** a server that asks for a longer wait than this is not waited for: the call fails, and says how long */
      maxRetryAfterMs: notNegative.default(LIMITS.retryAfterMs),
    })
    .prefault({}),
  /** the longest answer, and the longest single event of it, that is read */
  maxAnswerBytes: whole(1).default(LIMITS.answerBytes),
  maxEventBytes: whole(1).default(LIMITS.eventBytes),
  /** of the waits' jitter */
  seed: z.number().default(0),
});

export type ServerConfig = ReturnType<typeof serverOptions>;
export type ServerTimeouts = ServerConfig['timeouts'];
export type ServerBudget = ServerConfig['budget'];
type LibraryOptions = z.output<typeof LIBRARY_OPTIONS>;
export type BackoffOptions = LibraryOptions['backoff'];

/** A day in UTC that the calendar has, as 2030-01-15. */
export const DAY = z.iso.date();

/** What has been spent on one day. */
export const BUDGET_RECORD = z.object({
  day: DAY,
  inputTokens: notNegative,
  outputTokens: notNegative,
  money: notNegative,
});
export type BudgetRecord = z.output<typeof BUDGET_RECORD>;

/** What was used, and what is held back for calls under way: of a day, or what one call adds to it (less where it gives back). */
export interface BudgetSums {
  inputTokens: number;
  outputTokens: number;
  money: number;
  heldTokens: number;
  heldMoney: number;
}

/**
 * Where a day's budget is kept, for all who share it, so that neither a second server nor a restart forgets it: `budgetJournal` of
 * budget-journal.ts keeps it in files. Every method may throw; what it could not add is asked for again with the next.
 */
export interface BudgetStore {
  /** The day to count on: today, or a later one that something was kept for, as a clock that was set back gives no day twice. */
  dayFrom(today: string): string;
  /** Everything that was added to the day, by whomever. */
  sums(day: string): BudgetSums;
  /** Adds to the day. @returns its sums up to and with this, and without what others added behind it */
  add(day: string, amounts: BudgetSums): BudgetSums;
}

/** Any part of an object, objects in it too. */
export type Partly<T> = T extends readonly unknown[] | null
  ? T
  : T extends object
    ? { [K in keyof T]?: Partly<T[K]> }
    : T;

/** See the schemas above for what each key means and for its default. */
export interface OpenAiOptions extends Partly<Omit<ServerConfig & LibraryOptions, 'apiKeyEnv' | 'prices'>> {
  /** e.g. http://127.0.0.1:8000/v1 */
  baseUrl: string;
  /** as the server calls it */
  model: string;
  /** what crayon calls it, by default `model` */
  name?: string;
  /** sent as a bearer token; null: none is sent */
  apiKey?: string | null;
  prices?: ServerConfig['prices'];
  budgetStore?: BudgetStore | null;
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
  /** why an answer ended */
  | { type: 'finish'; finish: Finish }
  /** from now on a parameter is left out of requests (`to` is null), or goes by another name; beside another one only */
  | { type: 'adapted'; parameter: string; to: string | null; beside: string | null }
  /** the budget's file could not be written or read; counting goes on in memory, and what is missing is added when it can be */
  | { type: 'budget-store-failed'; message: string };

/** A moment's view for metrics. */
export interface ServerState {
  circuit: CircuitState;
  running: number;
  waiting: number;
  /** `reserved`: held back for calls under way, the most they may use */
  budget: BudgetRecord & ServerBudget & { currency: string | null; reservedTokens: number; reservedMoney: number };
  /** calls that failed since the start, by code; a cancelled one is none */
  errors: Partial<Record<ErrorCode, number>>;
}

/** A checked section as options, in the program's own names and units; its `apiKeyEnv` is no option but names the key's place. */
export function serverOptions(section: z.output<typeof SERVER_SECTION>) {
  const { baseUrl, timeouts, circuit, ...rest } = camelCased(SERVER_SECTION, section);
  const ms = (seconds: number) => Math.round(seconds * 1000);
  return {
    baseUrl: baseUrl.replace(/\/+$/, ''),
    ...rest,
    timeouts: {
      connectMs: ms(timeouts.connectSeconds),
      firstByteMs: ms(timeouts.firstByteSeconds),
      idleMs: ms(timeouts.idleSeconds),
      totalMs: ms(timeouts.totalSeconds),
    },
    circuit: { failures: circuit.failures, halfOpenAfterMs: ms(circuit.halfOpenAfterSeconds) },
  };
}

/** Options as a file has them: snake_case, and seconds for milliseconds. */
function asWritten(options: object): object {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    given.map(([key, value]) => {
      const isTime = key.endsWith('Ms');
      const name = isTime ? key.replace(/Ms$/, 'Seconds') : key;
      const written = isTime ? value / 1000 : isJsonObject(value) ? asWritten(value) : value;
      return [snakeCase(name), written];
    }),
  );
}

export type Settings = ReturnType<typeof resolveOptions>;

/** A server as the parts of its engine know it. */
export interface ServerContext {
  settings: Settings;
  /** how messages name it */
  server: string;
  /** Part of what it says, for a message: one line, no key, bounded. */
  quote: (said: string) => string;
  /** A CrayonError that names it; `details` stay with the error (error.ts). */
  failure: (code: ErrorCode, what: string, details?: ServerErrorDetails & { hint?: string }) => CrayonError;
}

/**
 * Checks every value and fills in the defaults.
 *
 * @throws CrayonError `config-invalid`, naming keys as a configuration file has them; its message never holds the key
 */
export function resolveOptions(options: OpenAiOptions) {
  const source = { where: 'server', code: 'config-invalid' } as const;
  const { baseUrl, model, prices, timeouts, retries, concurrency, queue, budget, circuit } = options;
  const given = asWritten({ baseUrl, model, prices, timeouts, retries, concurrency, queue, budget, circuit });
  const { apiKeyEnv: _, ...section } = serverOptions(checked(SERVER_SECTION, given, source));
  return {
    ...options,
    ...section,
    ...checked(LIBRARY_OPTIONS, options, source),
    url: new URL(section.baseUrl),
    name: options.name ?? options.model,
    apiKey: checkKey(options.apiKey ?? null),
    budgetStore: options.budgetStore ?? null,
    clock: options.clock ?? systemClock,
    onEvent: options.onEvent ?? (() => {}),
  };
}

/** fetch would put a key that no header may hold into its error's message, so it is refused here. */
function checkKey(key: string | null): string | null {
  if (key === null || key === '') return null;
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new CrayonError('config-invalid', 'server.apiKey: holds a space, a line break or a character outside ASCII', {
    hint: 'Check the variable or file it is read from for stray characters.',
  });
}
