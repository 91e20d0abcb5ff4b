/** A clock that stands still until a test moves it. */

import type { Clock } from '../../src/engine/clock.js';

export interface ManualClock extends Clock {
  /** Moves on by `ms`, calling the timers that fall due, in their order; lets promises run in between. */
  advance(ms: number): Promise<void>;
  /** milliseconds from now at which the timers set so far fall due, soonest first */
  pending(): number[];
  /** Resolves when a timer of exactly `ms` has been set, from now on or already. */
  waitFor(ms: number): Promise<void>;
}

/** Lets everything run that only waits for promises. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** @param start milliseconds since the epoch; by default a noon, so that no test crosses midnight by chance */
export function manualClock(start = Date.UTC(2030, 0, 15, 12)): ManualClock {
  let now = start;
  let timers: Array<{ at: number; ms: number; callback: () => void }> = [];
  let watchers: Array<{ ms: number; resolve: () => void }> = [];
  return {
    now: () => now,
    timer: (ms, callback) => {
      const timer = { at: now + ms, ms, callback };
      timers.push(timer);
      for (const watcher of watchers.filter((w) => w.ms === ms)) watcher.resolve();
      watchers = watchers.filter((w) => w.ms !== ms);
      return () => {
        timers = timers.filter((t) => t !== timer);
      };
    },
    advance: async (ms) => {
      const until = now + ms;
      for (;;) {
        const due = timers.filter((t) => t.at <= until).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers = timers.filter((t) => t !== due);
        now = Math.max(now, due.at);
        due.callback();
        await settle();
      }
      now = until;
      await settle();
    },
    pending: () => timers.map((t) => t.at - now).sort((a, b) => a - b),
    waitFor: (ms) =>
      timers.some((t) => t.ms === ms)
        ? Promise.resolve()
        : new Promise((resolve) => {
            watchers.push({ ms, resolve });
          }),
  };
}
