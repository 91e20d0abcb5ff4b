/**
 * What keeps a call from being sent: the budget of a day, and the circuit breaker.
 *
 * The budget is tokens and money, counted from what the server says it used, checked before a request is sent, kept in files
 * (budget-journal.ts) that several servers share. A call under way holds back the most that it may use, so that many calls at a time cannot together pass the limit.
 *
 * The circuit opens after several failures in a row: no call is sent for a while, then one as a probe.
 */

import { type ErrorCode, isCrayonError, messageOf } from '../../core/errors.js';
import { formatCount } from '../../core/format.js';
import type { Usage } from '../types.js';
import { minus, NOTHING, plus } from './budget-sums.js';
import type { BudgetStore, BudgetSums, CircuitState, ServerBudget, ServerContext, ServerState } from './options.js';

const DAY_MS = 86_400_000;

/** Counts what was used (null: nothing), tells of it, and frees what was held back. Once; later calls do nothing. */
export type Settle = (used: Usage | null) => void;

const dayOf = (now: number): string => new Date(now).toISOString().slice(0, 10);
const amount = (money: number): string => String(Number(money.toPrecision(6)));

/** @throws what the store throws for what it cannot read: spending must not be forgotten in silence */
export function openBudget({ failure, settings }: ServerContext) {
  const { clock, prices, budget: limits, onEvent } = settings;
  const store = settings.budgetStore ?? memoryStore();
  let day = store.dayFrom(dayOf(clock.now()));
  let known = store.sums(day);
  /** what the store has not taken yet */
  let unsaved = NOTHING;
  /** of this process's calls */
  let held = NOTHING;
  let complaint: string | null = null;

  /** What the store says; where it fails, what was known, and what should have been added. */
  const asking = (ask: () => BudgetSums): BudgetSums => {
    try {
      known = ask();
    } catch (error) {
      const message = messageOf(error);
      if (message !== complaint) onEvent({ type: 'budget-store-failed', message });
      complaint = message;
    }
    return plus(known, unsaved);
  };

  const add = (amounts: BudgetSums): BudgetSums => {
    unsaved = plus(unsaved, amounts);
    return asking(() => {
      const sums = store.add(day, unsaved);
      unsaved = NOTHING;
      complaint = null;
      return sums;
    });
  };

  const today = (): BudgetSums => {
    const now = dayOf(clock.now());
    // A clock that was set back does not give the day's budget a second time.
    if (day >= now) return asking(() => store.sums(day));
    day = now;
    known = NOTHING;
    unsaved = NOTHING;
    asking(() => store.sums(day));
    return held.heldTokens > 0 ? add(held) : plus(known, unsaved); // calls of yesterday, to be counted today
  };

  const price = (inputTokens: number, outputTokens: number): number => {
    if (prices === null) return 0;
    return (inputTokens * prices.inputPerMillion + outputTokens * prices.outputPerMillion) / 1_000_000;
  };

  const check = (key: keyof ServerBudget, spent: number, reserved: number, wanted: number): void => {
    const limit = limits[key];
    if (limit === null || spent + reserved + wanted <= limit) return;
    const show = key === 'tokensPerDay' ? formatCount : (money: number) => `${amount(money)} ${prices?.currency ?? ''}`;
    const held = reserved > 0 ? `, ${show(reserved)} are held back for calls under way or cut off` : '';
    const isAhead = day > dayOf(clock.now());
    throw failure(
      'server-budget',
      `${key} is ${show(limit)}, ${show(spent)} are spent ${isAhead ? `on ${day}` : 'today'} (UTC)${held}, and this request may take ${show(wanted)}`,
      {
        retryAfterMs: DAY_MS - (clock.now() % DAY_MS),
        hint: isAhead
          ? `This clock is behind that day. If it is right, stop the servers and remove the budget's files of ${day}.`
          : 'Wait for the next day (UTC), ask for fewer tokens, or raise the budget.',
      },
    );
  };

  const checkBoth = (sums: BudgetSums, wanted: BudgetSums): void => {
    check('tokensPerDay', sums.inputTokens + sums.outputTokens, sums.heldTokens, wanted.heldTokens);
    check('moneyPerDay', sums.money, sums.heldMoney, wanted.heldMoney);
  };

  return {
    /** @throws CrayonError `server-budget` when this much more might pass the limit */
    reserve: (inputTokens: number, outputTokens: number): Settle => {
      const wanted = {
        ...NOTHING,
        heldTokens: inputTokens + outputTokens,
        heldMoney: price(inputTokens, outputTokens),
      };
      checkBoth(today(), wanted);
      const sums = add(wanted);
      held = plus(held, wanted);
      let isOpen = true;
      const settle: Settle = (used) => {
        if (!isOpen) return;
        isOpen = false;
        today(); // where the day is over, this call is held back in the new one
        held = minus(held, wanted);
        add(minus(used === null ? NOTHING : spend(used), wanted));
      };
      try {
        checkBoth(minus(sums, wanted), wanted); // another process may have been quicker
      } catch (error) {
        settle(null);
        throw error;
      }
      return settle;
    },
    /** Tries once more to keep what could not be kept. */
    flush: (): void => {
      if (unsaved !== NOTHING) add(NOTHING);
    },
    state: (): ServerState['budget'] => {
      const { heldTokens, heldMoney, ...spent } = today();
      return {
        day,
        ...spent,
        ...limits,
        currency: prices?.currency ?? null,
        reservedTokens: heldTokens,
        reservedMoney: heldMoney,
      };
    },
  };

  function spend({ promptTokens: inputTokens, completionTokens: outputTokens, estimated = false }: Usage): BudgetSums {
    const money = price(inputTokens, outputTokens);
    onEvent({ type: 'usage', inputTokens, outputTokens, money, estimated });
    return { ...NOTHING, inputTokens, outputTokens, money };
  }
}

/** What one process alone counts, and forgets. */
function memoryStore(): BudgetStore {
  const days = new Map<string, BudgetSums>();
  const sums = (day: string): BudgetSums => days.get(day) ?? NOTHING;
  return {
    dayFrom: (today) => today,
    sums,
    add: (day, amounts) => {
      const total = plus(sums(day), amounts);
      days.clear();
      days.set(day, total);
      return total;
    },
  };
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
