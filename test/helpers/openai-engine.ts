/** An engine over a scripted upstream, with short time-outs, closed when the test is over; every error of it is searched for the key. */

import { inspect } from 'node:util';
import { expect, onTestFinished } from 'vitest';
import {
  type OpenAiEngine,
  type OpenAiOptions,
  openOpenAiEngine,
  type ServerEvent,
} from '../../src/engine/server/engine.js';
import type { ServerTimeouts } from '../../src/engine/server/options.js';
import { type Answer, type Asked, collect, generateRequest } from './generate.js';

/** With characters that URLs and JSON write differently. */
export const KEY = 'sk-very"secret/key+0123456789';

export interface Rig {
  engine: OpenAiEngine;
  events: ServerEvent[];
  /** One request; what it throws, the engine's state and its events are searched for the key. */
  ask(overrides?: Asked): Promise<Answer>;
}

/** Time-outs that a busy machine does not run into. */
export const LONG: ServerTimeouts = { connectMs: 15_000, firstByteMs: 15_000, idleMs: 15_000, totalMs: 20_000 };

/** No retries, no circuit, long time-outs. */
export function useEngine(baseUrl: string, options: Partial<OpenAiOptions> = {}): Rig {
  const events: ServerEvent[] = [];
  const engine = openOpenAiEngine({
    baseUrl,
    model: 'big',
    apiKey: KEY,
    retries: 0,
    timeouts: LONG,
    circuit: { failures: 1_000 },
    onEvent: (event) => events.push(event),
    ...options,
  });
  onTestFinished(() => engine.close());
  return {
    engine,
    events,
    ask: async (overrides) => {
      const answer = await collect(engine.generate(generateRequest(overrides)));
      expectNoKey(answer.error, events, engine.state());
      return answer;
    },
  };
}

/** Searches values to any depth, hidden properties and stacks included. */
export function expectNoKey(...values: unknown[]): void {
  for (const value of values) {
    const shown = inspect(value, { depth: Number.POSITIVE_INFINITY, showHidden: true, maxStringLength: null });
    for (const form of [KEY, encodeURIComponent(KEY), JSON.stringify(KEY).slice(1, -1), 'very"secret']) {
      expect(shown.includes(form), `the key in: ${shown.slice(0, 500)}`).toBe(false);
    }
  }
}
