/**
 * What keeps a call from being sent: the budget of a day, and the circuit breaker.
 *
 * The budget is tokens and money, counted from what the server says it used, checked before a request is sent, kept in a small
 * file. A call under way holds back the most that it may use, so that many calls at a time cannot together pass the limit.
 *
 * The circuit opens after several failures in a row: no call is sent for a while, then one as a probe.
 */

import { CrayonError, type ErrorCode, isCrayonError, messageOf } from '../../core/errors.js';
import { formatCount } from '../../core/format.js';
import { LIMITS } from '../../core/limits.js';
import { exists } from '../../files/io.js';
import { readJsonObject, writeJson } from '../../files/json.js';
import type { Usage } from '../types.js';
import {
  BUDGET_RECORD,
  type BudgetRecord,
  type BudgetStore,
  type CircuitState,
  type ServerBudget,
  type ServerContext,
  type ServerState,
} from './options.js';

/** Writing is put off so that a burst of calls is one write. */
const SAVE_AFTER_MS = 1_000;
const DAY_MS = 86_400_000;

/** Counts what was used (null: nothing), tells of it, and frees what was held back. Once; later calls do nothing. */
export type Settle = (used: Usage | null) => void;

const dayOf = (now: number): string => new Date(now).toISOString().slice(0, 10);
const emptyDay = (day: string): BudgetRecord => ({ day, inputTokens: 0, outputTokens: 0, money: 0 });
const amount = (money: number): string => String(Number(money.toPrecision(6)));

/** @throws what the store throws for a record that it cannot read: spending must not be forgotten in silence */
export function openBudget({ failure, settings }: ServerContext) {
  const { clock, prices, budgetStore: store, budget: limits, onEvent } = settings;
  let record = store?.load() ?? emptyDay(dayOf(clock.now()));
  let reservedTokens = 0;
  let reservedMoney = 0;
  let cancelSave: (() => void) | null = null;

  const today = (): BudgetRecord => {
    const day = dayOf(clock.now());
    // A clock that was set back does not give the day's budget a second time.
    if (record.day < day) record = emptyDay(day);
    return record;
  };

  const price = (inputTokens: number, outputTokens: number): number => {
    if (prices === null) return 0;
    return (inputTokens * prices.inputPerMillion + outputTokens * prices.outputPerMillion) / 1_000_000;
  };

  const check = (key: keyof ServerBudget, spent: number, reserved: number, wanted: number): void => {
    const limit = limits[key];
    if (limit === null || spent + reserved + wanted <= limit) return;
    const show = key === 'tokensPerDay' ? formatCount : (money: number) => `${amount(money)} ${prices?.currency ?? ''}`;
    const held = reserved > 0 ? `, ${show(reserved)} are held back for calls under way` : '';
    throw failure(
      'server-budget',
      `${key} is ${show(limit)}, ${show(spent)} are spent today (UTC)${held}, and this request may take ${show(wanted)}`,
      {
        retryAfterMs: DAY_MS - (clock.now() % DAY_MS),
        hint: 'Wait for the next day (UTC), ask for fewer tokens, or raise the budget.',
      },
    );
  };

  const spend = ({ promptTokens: inputTokens, completionTokens: outputTokens, estimated = false }: Usage): void => {
    const spent = today();
    const money = price(inputTokens, outputTokens);
    spent.inputTokens += inputTokens;
    spent.outputTokens += outputTokens;
    spent.money += money;
    if (store !== null) cancelSave ??= clock.timer(SAVE_AFTER_MS, flush);
    onEvent({ type: 'usage', inputTokens, outputTokens, money, estimated });
  };

  /** Writes what has not been written yet. */
  function flush(): void {
    if (cancelSave === null) return;
    cancelSave();
    cancelSave = null;
    try {
      store?.save({ ...record });
    } catch (error) {
      onEvent({ type: 'budget-store-failed', message: messageOf(error) });
    }
  }

  return {
    flush,
    /** @throws CrayonError `server-budget` when this much more might pass the limit */
    reserve: (inputTokens: number, outputTokens: number): Settle => {
      const spent = today();
      const tokens = inputTokens + outputTokens;
      const money = price(inputTokens, outputTokens);
      check('tokensPerDay', spent.inputTokens + spent.outputTokens, reservedTokens, tokens);
      check('moneyPerDay', spent.money, reservedMoney, money);
      reservedTokens += tokens;
      reservedMoney += money;
      let isOpen = true;
      return (used) => {
        if (!isOpen) return;
        isOpen = false;
        reservedTokens -= tokens;
        reservedMoney = reservedTokens === 0 ? 0 : reservedMoney - money; // no drift from rounding
        if (used !== null) spend(used);
      };
    },
    state: (): ServerState['budget'] => {
      return { ...today(), ...limits, currency: prices?.currency ?? null, reservedTokens, reservedMoney };
    },
  };
}

/** A budget store over a JSON file, which need not exist yet. Writing is atomic. */
export function budgetFile(path: string): BudgetStore {
  return {
    load: () => (exists(path) ? readRecord(path) : null),
    save: (record) => writeJson(path, record),
  };
}

/** @throws CrayonError `config-invalid`, `json-invalid`: to forget what was spent would be worse than to stop */
function readRecord(path: string): BudgetRecord {
  const { data } = BUDGET_RECORD.safeParse(readJsonObject(path, LIMITS.noteBytes));
  if (data !== undefined) return data;
  throw new CrayonError('config-invalid', `${path}: expected {day, inputTokens, outputTokens, money} of one day`, {
    hint: 'Remove the file to start counting from zero.',
  });
}

/** What says that the server is unwell. A refusal (401, 400) or a content filter says that it works. */
const COUNTED: ReadonlySet<ErrorCode> = new Set([
  'server-unreachable',
  'server-timeout',
  'server-failed',
  'server-invalid',
]);

export function createCircuit({ failure, settings }: ServerContext) {
  const { clock, onEvent, circuit: limits } = settings;
  let state: CircuitState = 'closed';
  let failures = 0; // since the last call that went well
  let openUntil = 0;

  const become = (next: CircuitState): void => {
    state = next;
    onEvent({ type: 'circuit', state });
  };

  /** Where the circuit is open already, the failure of a call from before does not prolong that. */
  const open = (restMs: number): void => {
    if (state === 'open') return;
    openUntil = clock.now() + restMs;
    become('open');
  };

  /** @throws CrayonError `server-circuit-open` when a call made now would not be sent */
  const check = (): void => {
    const waitMs = state === 'open' ? openUntil - clock.now() : 0;
    if (waitMs <= 0 && state !== 'half-open') return;
    const what = waitMs > 0 ? `the next attempt is in ${Math.ceil(waitMs / 1000)} s` : 'one call is trying it again';
    throw failure('server-circuit-open', `has failed several times in a row, ${what}`, {
      retryAfterMs: waitMs > 0 ? waitMs : null,
    });
  };

  const settle = (error: unknown, isProbe: boolean): void => {
    if (isCrayonError(error) && COUNTED.has(error.code)) {
      failures++;
      if (isProbe || failures >= limits.failures) open(limits.halfOpenAfterMs);
    } else if (isProbe && isCrayonError(error, 'interrupted')) {
      // A probe that its client cancelled has shown nothing, so the next call may be the probe at once.
      open(0);
    } else {
      if (error === null) failures = 0;
      if (isProbe && state === 'half-open') become('closed');
    }
  };

  return {
    state: () => state,
    check,
    /**
     * Lets one call through; the first after the rest is the probe.
     *
     * @returns a function that says how the call ended: with an error, or well (null). Once; later ones do nothing.
     * @throws CrayonError `server-circuit-open`
     */
    enter: (): ((error: unknown) => void) => {
      check();
      const isProbe = state === 'open';
      if (isProbe) become('half-open');
      let isRunning = true;
      return (error) => {
        if (isRunning) settle(error, isProbe);
        isRunning = false;
      };
    },
  };
}
