import { describe, expect, it } from 'vitest';
import { createSlots } from '../../src/engine/slots.js';

const never = new AbortController().signal;

describe('slots', () => {
  it('serves first come first served and refuses what does not fit the queue', async () => {
    const slots = createSlots('device', 1, 2);
    const giveBack = await slots.take(never);
    const order: number[] = [];
    const waiters = [1, 2].map(async (n) => {
      const free = await slots.take(never);
      order.push(n);
      free();
    });
    await expect(slots.take(never)).rejects.toMatchObject({ code: 'engine-busy' });
    expect(slots.load()).toMatchObject({ running: 1, waiting: 2 });
    giveBack();
    giveBack(); // a second time does no harm
    await Promise.all(waiters);
    expect(order).toEqual([1, 2]);
    expect(slots.load()).toMatchObject({ running: 0, waiting: 0 });
  });

  it('lets an aborted waiter go at once, making room for another', async () => {
    const slots = createSlots('device', 1, 1);
    const giveBack = await slots.take(never);
    const controller = new AbortController();
    const gone = slots.take(controller.signal);
    controller.abort();
    await expect(gone).rejects.toMatchObject({ code: 'interrupted' });
    const next = slots.take(never);
    expect(slots.load().waiting).toBe(1);
    let isIdle = false;
    const idle = slots.idle().then(() => {
      isIdle = true;
    });
    giveBack();
    const giveBackNext = await next;
    expect(isIdle).toBe(false);
    giveBackNext();
    await idle;
    await slots.idle();
    expect(slots.load().running).toBe(0);
    await expect(slots.take(controller.signal)).rejects.toMatchObject({ code: 'interrupted' });
  });
});
