import { describe, expect, it } from 'vitest';
import { serverErrorOf } from '../../../src/engine/server/error.js';
import { budgetFile } from '../../../src/engine/server/limits.js';
import type { BudgetRecord, BudgetStore } from '../../../src/engine/server/options.js';
import { errorOf, temporaryDir } from '../../helpers/files.js';
import { manualClock } from '../../helpers/manual-clock.js';
import { useEngine } from '../../helpers/openai-engine.js';
import { reply, useUpstream } from '../../helpers/scripted-upstream.js';

const NOON = Date.UTC(2030, 0, 15, 12);
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
    expect(events).toEqual(
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

  it('is not forgotten by a restart, and written once for many calls', async () => {
    const saved: BudgetRecord[] = [];
    const store: BudgetStore = { load: () => saved.at(-1) ?? null, save: (record) => saved.push(record) };
    const clock = manualClock(NOON);
    const upstream = await useUpstream(reply.answer(['a'], { promptTokens: 20, completionTokens: 10 }));
    const first = useEngine(upstream.baseUrl, { clock, budgetStore: store });
    for (let i = 0; i < 3; i++) await first.ask();
    expect(saved).toEqual([]);
    await clock.advance(1_000);
    expect(saved).toEqual([DAY(60, 30)]);
    await first.ask();
    await first.engine.close();
    expect(saved).toEqual([DAY(60, 30), DAY(80, 40)]);
    const second = useEngine(upstream.baseUrl, { clock, budgetStore: store, budget: { tokensPerDay: 130 } });
    expect(second.engine.state().budget).toMatchObject({ inputTokens: 80, outputTokens: 40 });
    expect((await second.ask({ maxTokens: 20 })).error!.code).toBe('server-budget');
    const nextDay = useEngine(upstream.baseUrl, { clock: manualClock(NOON + 86_400_000), budgetStore: store });
    expect(nextDay.engine.state().budget).toMatchObject({ day: '2030-01-16', inputTokens: 0 });
    // A clock that was set back does not give the day a second time.
    const dayBefore = useEngine(upstream.baseUrl, { clock: manualClock(NOON - 86_400_000), budgetStore: store });
    expect(dayBefore.engine.state().budget).toMatchObject({ day: '2030-01-15', inputTokens: 80 });
  });

  it('goes on in memory when its store fails, and says so', async () => {
    const clock = manualClock(NOON);
    const upstream = await useUpstream(reply.answer(['a']));
    const save = (): void => {
      throw new Error('no space left');
    };
    const { ask, engine, events } = useEngine(upstream.baseUrl, { clock, budgetStore: { load: () => null, save } });
    expect((await ask()).text).toBe('a');
    await clock.advance(1_000);
    expect(events).toContainEqual({ type: 'budget-store-failed', message: 'no space left' });
    expect(engine.state().budget.inputTokens).toBe(7);
  });
});

describe('a budget file', () => {
  it('keeps a day', () => {
    const path = `${temporaryDir()}/budget.json`;
    expect(budgetFile(path).load()).toBeNull();
    budgetFile(path).save(DAY(1, 2, 0.5));
    expect(budgetFile(path).load()).toEqual(DAY(1, 2, 0.5));
  });

  it.each([{}, { ...DAY(1, 2), day: 'today' }, { ...DAY(1, 2), inputTokens: -1 }, { ...DAY(1, 2), money: '5' }])(
    'is refused, not forgotten, when it holds %j',
    (content) => {
      const path = `${temporaryDir()}/budget.json`;
      budgetFile(path).save(content as BudgetRecord);
      expect(errorOf(() => budgetFile(path).load()).code).toBe('config-invalid');
    },
  );
});
