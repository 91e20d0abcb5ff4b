/**
 * The budget of a day: tokens and money, counted from what the server says it used, checked before a request is sent, kept in
 * a small file.
 *
 * A call under way holds back the most that it may use, so that many calls at a time cannot together pass the limit.
 */

import * as z from 'zod';
import { CrayonError } from '../../core/errors.js';
import { formatCount } from '../../core/format.js';
import { exists } from '../../files/io.js';
import { readJsonObject, writeJson } from '../../files/json.js';
import { notNegative } from '../../files/schema.js';
import { serverError } from './error.js';
import type { BudgetRecord, BudgetStore, ServerBudget, ServerContext, ServerState, Settings } from './options.js';

/** Writing is put off so that a burst of calls is one write. */
const SAVE_AFTER_MS = 1_000;
const DAY_MS = 86_400_000;

export interface Reservation {
  /** Counts what was used (null: nothing) and frees what was held back. Once; later ones do nothing. @returns its money */
  settle(used: { inputTokens: number; outputTokens: number } | null): number;
}

const dayOf = (now: number): string => new Date(now).toISOString().slice(0, 10);
const emptyDay = (day: string): BudgetRecord => ({ day, inputTokens: 0, outputTokens: 0, money: 0 });
const amount = (money: number): string => String(Number(money.toPrecision(6)));

export class Budget {
  readonly #server: string;
  readonly #settings: Settings;
  #record: BudgetRecord;
  #reservedTokens = 0;
  #reservedMoney = 0;
  #cancelSave: (() => void) | null = null;

  /** @throws what the store throws for a record that it cannot read: spending must not be forgotten in silence */
  constructor({ server, settings }: ServerContext) {
    this.#server = server;
    this.#settings = settings;
    this.#record = settings.budgetStore?.load() ?? emptyDay(dayOf(settings.clock.now()));
  }

  /** @throws CrayonError `server-budget` when this much more might pass the limit */
  reserve(inputTokens: number, outputTokens: number): Reservation {
    const { tokensPerDay, moneyPerDay } = this.#settings.budget;
    const today = this.#today();
    const tokens = inputTokens + outputTokens;
    const money = this.#price(inputTokens, outputTokens);
    this.#check('tokensPerDay', tokensPerDay, today.inputTokens + today.outputTokens, this.#reservedTokens, tokens);
    this.#check('moneyPerDay', moneyPerDay, today.money, this.#reservedMoney, money);
    this.#reservedTokens += tokens;
    this.#reservedMoney += money;
    let open = true;
    return {
      settle: (used) => {
        if (!open) return 0;
        open = false;
        this.#reservedTokens -= tokens;
        this.#reservedMoney = this.#reservedTokens === 0 ? 0 : this.#reservedMoney - money; // no drift from rounding
        return used === null ? 0 : this.#spend(used.inputTokens, used.outputTokens);
      },
    };
  }

  state(): ServerState['budget'] {
    return {
      ...this.#today(),
      ...this.#settings.budget,
      currency: this.#settings.prices?.currency ?? null,
      reservedTokens: this.#reservedTokens,
      reservedMoney: this.#reservedMoney,
    };
  }

  /** Writes what has not been written yet. */
  flush(): void {
    if (this.#cancelSave === null) return;
    this.#cancelSave();
    this.#cancelSave = null;
    try {
      this.#settings.budgetStore?.save({ ...this.#record });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#settings.onEvent({ type: 'budget-store-failed', message });
    }
  }

  #check(key: keyof ServerBudget, limit: number | null, spent: number, reserved: number, wanted: number): void {
    if (limit === null || spent + reserved + wanted <= limit) return;
    const { clock, prices } = this.#settings;
    const show = key === 'tokensPerDay' ? formatCount : (money: number) => `${amount(money)} ${prices?.currency ?? ''}`;
    const held = reserved > 0 ? `, ${show(reserved)} are held back for calls under way` : '';
    throw serverError(
      'server-budget',
      `${this.#server}: ${key} is ${show(limit)}, ${show(spent)} are spent today (UTC)${held}, and this request may take ${show(wanted)}`,
      {
        retryAfterMs: DAY_MS - (clock.now() % DAY_MS),
        hint: 'Wait for the next day (UTC), ask for fewer tokens, or raise the budget.',
      },
    );
  }

  #spend(inputTokens: number, outputTokens: number): number {
    const today = this.#today();
    const money = this.#price(inputTokens, outputTokens);
    today.inputTokens += inputTokens;
    today.outputTokens += outputTokens;
    today.money += money;
    if (this.#settings.budgetStore !== null) {
      this.#cancelSave ??= this.#settings.clock.timer(SAVE_AFTER_MS, () => this.flush());
    }
    return money;
  }

  #price(inputTokens: number, outputTokens: number): number {
    const { prices } = this.#settings;
    if (prices === null) return 0;
    return (inputTokens * prices.inputPerMillion + outputTokens * prices.outputPerMillion) / 1_000_000;
  }

  #today(): BudgetRecord {
    const day = dayOf(this.#settings.clock.now());
    // A clock that was set back does not give the day's budget a second time.
    if (this.#record.day < day) this.#record = emptyDay(day);
    return this.#record;
  }
}

const MAX_BYTES = 64 * 1024;
const RECORD: z.ZodType<BudgetRecord> = z.object({
  day: z.string().regex(/^\d{4}-\d{2}-\d{2}$/),
  inputTokens: notNegative,
  outputTokens: notNegative,
  money: notNegative,
});

/** A budget store over a JSON file, which need not exist yet. Writing is atomic. */
export function budgetFile(path: string): BudgetStore {
  return {
    load: () => (exists(path) ? readRecord(path) : null),
    save: (record) => writeJson(path, record),
  };
}

/** @throws CrayonError `config-invalid`, `json-invalid`: to forget what was spent would be worse than to stop */
function readRecord(path: string): BudgetRecord {
  const { data } = RECORD.safeParse(readJsonObject(path, MAX_BYTES));
  if (data !== undefined) return data;
  throw new CrayonError('config-invalid', `${path}: expected {day, inputTokens, outputTokens, money} of one day`, {
    hint: 'Remove the file to start counting from zero.',
  });
}
