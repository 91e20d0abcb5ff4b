/** Sums of a budget, added up entry by entry. */

import type { BudgetSums } from './options.js';

export const NOTHING: BudgetSums = { inputTokens: 0, outputTokens: 0, money: 0, heldTokens: 0, heldMoney: 0 };

export function plus(a: BudgetSums, b: BudgetSums, sign = 1): BudgetSums {
  const heldTokens = a.heldTokens + sign * b.heldTokens;
  return {
    inputTokens: a.inputTokens + sign * b.inputTokens,
    outputTokens: a.outputTokens + sign * b.outputTokens,
    money: a.money + sign * b.money,
    heldTokens,
    heldMoney: heldTokens === 0 ? 0 : a.heldMoney + sign * b.heldMoney, // no drift from rounding
  };
}

export const minus = (a: BudgetSums, b: BudgetSums): BudgetSums => plus(a, b, -1);
