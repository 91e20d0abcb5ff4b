import { describe, expect, it } from 'vitest';
import { budgetJournal } from '../../../src/engine/server/budget-journal.js';
import { serverErrorOf } from '../../../src/engine/server/error.js';
import type { BudgetRecord, BudgetStore } from '../../../src/engine/server/options.js';
import { temporaryDir } from '../../helpers/files.js';
import { manualClock } from '../../helpers/manual-clock.js';
import { useEngine } from '../../helpers/openai-engine.js';
import { reply, useUpstream } from '../../helpers/scripted-upstream.js';

const NOON = Date.UTC(2030, 0, 15, 12);
const DAY_MS = 86_400_000;
const PRICES = { inputPerMillion: 2, outputPerMillion: 10, currency: 'EUR' };
/** 40 bytes: estimated at 11 tokens */
const PROMPT = { kind: 'text', text: 'x'.repeat(40) } as const;
const DAY = (inputTokens: number, outputTokens: number, money = 0): BudgetRecord => ({
  day: '2030-01-15',
  inputTokens,
  outputTokens,
  money,
});

describe('the budget', () => {
  it('counts what the server says it used, in tokens and in money', async () => {
    const upstream = await useUpstream(reply.answer(['a', 'b'], { promptTokens: 1_000, completionTokens: 200 }));
    const { ask, engine, events } = useEngine(upstream.baseUrl, { clock: manualClock(NOON), prices: PRICES });
    await ask();
    await ask();
    const money = 0.004; // (1000 * 2 + 200 * 10) / 1e6
    expect(events.filter(({ type }) => type !== 'finish')).toEqual(
      Array(2).fill({ type: 'usage', inputTokens: 1_000, outputTokens: 200, money, estimated: false }),
    );
    expect(engine.state().budget).toEqual({
      ...DAY(2_000, 400, 2 * money),
      tokensPerDay: null,
      moneyPerDay: null,
      currency: 'EUR',
      reservedTokens: 0,
      reservedMoney: 0,
    });
  });

  it('is checked before anything is sent, and begins anew with the day in UTC', async () => {
    const clock = manualClock(NOON);
    const upstream = await useUpstream(reply.answer(['a'], { promptTokens: 20, completionTokens: 10 }));
    const { ask, engine } = useEngine(upstream.baseUrl, { clock, budget: { tokensPerDay: 50 } });
    const request = { prompt: PROMPT, maxTokens: 10 }; // at most 21
    expect((await ask(request)).text).toBe('a'); // 30 spent
    const { error } = await ask(request);
    expect(error!.code).toBe('server-budget');
    expect(error!.message).toContain('tokensPerDay is 50, 30 are spent today (UTC), and this request may take 21');
    expect(serverErrorOf(error)!.retryAfterMs).toBe(12 * 3_600_000);
    expect(upstream.requests).toHaveLength(1);
    expect((await ask({ ...request, maxTokens: 9 })).text).toBe('a'); // exactly fits
    expect(engine.state()).toMatchObject({ circuit: 'closed', running: 0, errors: { 'server-budget': 1 } });
    await clock.advance(12 * 3_600_000);
    expect((await ask(request)).text).toBe('a');
    expect(engine.state().budget).toMatchObject({ day: '2030-01-16', inputTokens: 20, outputTokens: 10 });
  });

  it('limits money', async () => {
    const upstream = await useUpstream(reply.answer(['a'], { promptTokens: 0, completionTokens: 90 }));
    const { ask } = useEngine(upstream.baseUrl, {
      clock: manualClock(NOON),
      prices: { ...PRICES, inputPerMillion: 0 },
      budget: { moneyPerDay: 0.0015 },
    });
    expect((await ask({ maxTokens: 100 })).text).toBe('a'); // 0.0009 spent
    const { error } = await ask({ maxTokens: 100 });
    expect(error!.code).toBe('server-budget');
    expect(error!.message).toContain('moneyPerDay is 0.0015 EUR, 0.0009 EUR are spent');
    expect((await ask({ maxTokens: 60 })).text).toBe('a');
  });

  it('of nothing sends nothing', async () => {
    const upstream = await useUpstream(reply.answer(['a']));
    const { ask } = useEngine(upstream.baseUrl, { budget: { tokensPerDay: 0 } });
    expect((await ask()).error!.code).toBe('server-budget');
    expect(upstream.requests).toEqual([]);
  });

  it('holds back what calls under way may use', async () => {
    const upstream = await useUpstream(reply.silent());
    const { ask, engine } = useEngine(upstream.baseUrl, { clock: manualClock(NOON), budget: { tokensPerDay: 50 } });
    const controller = new AbortController();
    const first = ask({ prompt: PROMPT, maxTokens: 20, signal: controller.signal });
    await upstream.waitForRequest(1);
    expect(engine.state().budget.reservedTokens).toBe(31);
    expect((await ask({ prompt: PROMPT, maxTokens: 20 })).error!.code).toBe('server-budget');
    controller.abort();
    await first;
    expect(engine.state().budget).toMatchObject({ reservedTokens: 0, inputTokens: 0, outputTokens: 0 });
  });

  it('counts an answer that broke off by estimate, and a refusal not at all', async () => {
    const upstream = await useUpstream(reply.cut(['a', 'b']), reply.status(500), reply.status(401));
    const { ask, engine } = useEngine(upstream.baseUrl, { clock: manualClock(NOON) });
    for (let i = 0; i < 3; i++) await ask({ prompt: PROMPT });
    expect(engine.state().budget).toMatchObject({ inputTokens: 11, outputTokens: 2 });
  });

  it('is not forgotten by a restart', async () => {
    const store = () => budgetJournal(path);
    const path = `${temporaryDir()}/budget-0.json`;
    const clock = manualClock(NOON);
    const upstream = await useUpstream(reply.answer(['a'], { promptTokens: 20, completionTokens: 10 }));
    const first = useEngine(upstream.baseUrl, { clock, budgetStore: store() });
    for (let i = 0; i < 4; i++) await first.ask();
    // Nobody closed the first one.
    const second = useEngine(upstream.baseUrl, { clock, budgetStore: store(), budget: { tokensPerDay: 130 } });
    expect(second.engine.state().budget).toMatchObject({ inputTokens: 80, outputTokens: 40, reservedTokens: 0 });
    expect((await second.ask({ maxTokens: 20 })).error!.code).toBe('server-budget');
    const nextDay = useEngine(upstream.baseUrl, { clock: manualClock(NOON + DAY_MS), budgetStore: store() });
    expect(nextDay.engine.state().budget).toMatchObject({ day: '2030-01-16', inputTokens: 0 });
    // A clock that was set back does not give a day a second time, and a refusal says so.
    const limited = { clock, budgetStore: store(), budget: { tokensPerDay: 0 } };
    const dayBefore = useEngine(upstream.baseUrl, limited);
    expect(dayBefore.engine.state().budget).toMatchObject({ day: '2030-01-16', inputTokens: 0 });
    const { error } = await dayBefore.ask();
    expect(error!.message).toContain('0 are spent on 2030-01-16 (UTC)');
    expect(error!.hint).toContain('This clock is behind that day');
  });

  it('at midnight counts calls under way on the new day', async () => {
    const clock = manualClock(NOON + DAY_MS / 2 - 1_000);
    const upstream = await useUpstream(reply.trickle(['a'], 1), reply.answer(['b']));
    const { ask, engine } = useEngine(upstream.baseUrl, {
      clock,
      budgetStore: budgetJournal(`${temporaryDir()}/b.json`),
    });
    const first = ask({ prompt: PROMPT, maxTokens: 20 });
    await upstream.waitForRequest(1);
    expect(engine.state().budget).toMatchObject({ day: '2030-01-15', reservedTokens: 31 });
    await clock.advance(2_000);
    expect(engine.state().budget).toMatchObject({ day: '2030-01-16', reservedTokens: 31, inputTokens: 0 });
    expect((await first).text).toBe('a');
    const { inputTokens, outputTokens, reservedTokens } = engine.state().budget;
    expect(inputTokens + outputTokens).toBeGreaterThan(0);
    expect(reservedTokens).toBe(0);
  });

  it('goes on in memory when its store fails, says so once, and adds what is missing when it can', async () => {
    const upstream = await useUpstream(reply.answer(['a']));
    const journal = budgetJournal(`${temporaryDir()}/budget.json`);
    let isFull = true;
    const budgetStore: BudgetStore = {
      ...journal,
      add: (day, amounts) => {
        if (isFull) throw new Error('no space left');
        return journal.add(day, amounts);
      },
    };
    const { ask, engine, events } = useEngine(upstream.baseUrl, { clock: manualClock(NOON), budgetStore });
    for (let i = 0; i < 2; i++) expect((await ask()).text).toBe('a');
    expect(events.filter(({ type }) => type === 'budget-store-failed')).toEqual([
      { type: 'budget-store-failed', message: 'no space left' },
    ]);
    expect(engine.state().budget).toMatchObject({ inputTokens: 14, reservedTokens: 0 });
    expect(journal.sums('2030-01-15').inputTokens).toBe(0);
    isFull = false;
    await ask();
    expect(engine.state().budget).toMatchObject({ inputTokens: 21, reservedTokens: 0 });
    expect(journal.sums('2030-01-15')).toMatchObject({ inputTokens: 21, heldTokens: 0 });
  });
});
