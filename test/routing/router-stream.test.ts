/** What the router asks of the engines, and when: held-back tokens, cancelling, signals that are switched off. */

import { describe, expect, it, vi } from 'vitest';
import type { AdapterScale, DeviceEngine, GenerateEvent, GenerateRequest } from '../../src/engine/types.js';
import { type RoutedEvent, Router } from '../../src/routing/router.js';
import { aRequest, readAll, setUpRouter } from '../helpers/routing.js';
import { createScriptedEngine, type ScriptedAnswer } from '../helpers/scripted.js';

/** Tokens that come when the test lets them, and how many the engine has reached. */
function gate() {
  const waiting: Array<() => void> = [];
  const arrivals: Array<() => void> = [];
  let asked = 0;
  return {
    beforeToken: () =>
      new Promise<void>((resolve) => {
        asked++;
        waiting.push(resolve);
        arrivals.shift()?.();
      }),
    get asked() {
      return asked;
    },
    release: () => waiting.shift()?.(),
    arrival: () => (waiting.length > 0 ? Promise.resolve() : new Promise<void>((resolve) => arrivals.push(resolve))),
  };
}

const words = (n: number, logprob: number) => Array.from({ length: n }, (_, i) => ({ text: ` w${i}`, logprob }));

describe('held-back tokens', () => {
  it('are let go with the decision after exactly the first m, and the rest comes as it is made', async () => {
    const steps = gate();
    const answer: ScriptedAnswer = { tokens: words(5, -0.1), beforeToken: steps.beforeToken };
    const { router, server } = setUpRouter({
      thresholds: { confidence: -1 },
      confidence: { tokens: 3 },
      device: { answers: [answer] },
    });
    const seen: RoutedEvent[] = [];
    const iterator = router.route(aRequest());
    const reading = (async () => {
      for await (const event of iterator) seen.push(event);
    })();
    for (let i = 0; i < 3; i++) {
      await steps.arrival();
      expect(seen).toEqual([]);
      steps.release();
    }
    await steps.arrival(); // the fourth token is asked for only after the first three have gone out
    expect(seen.map((event) => event.type)).toEqual(['decision', 'start', 'token', 'token', 'token']);
    expect(seen[0]).toMatchObject({
      decision: { source: 'on_device', reason: 'accepted', score: expect.closeTo(-0.1, 12) },
    });
    steps.release();
    await steps.arrival();
    steps.release();
    await reading;
    expect(seen).toHaveLength(8);
    expect(server!.requests).toEqual([]);
  });

  it('with the whole answer, everything is held back until its end', async () => {
    const steps = gate();
    const { router } = setUpRouter({
      thresholds: { confidence: -1 },
      confidence: { tokens: null },
      device: { answers: [{ tokens: words(2, -0.1), beforeToken: steps.beforeToken }] },
    });
    const seen: RoutedEvent[] = [];
    const reading = (async () => {
      for await (const event of router.route(aRequest())) seen.push(event);
    })();
    for (let i = 0; i < 2; i++) {
      await steps.arrival();
      expect(seen).toEqual([]);
      steps.release();
    }
    await reading;
    expect(seen.map((event) => event.type)).toEqual(['decision', 'start', 'token', 'token', 'end']);
  });

  it('an answer shorter than m is judged by what it has, an empty one is not trusted', async () => {
    const short = setUpRouter({
      thresholds: { confidence: -1 },
      confidence: { tokens: 8 },
      device: { answers: [{ tokens: words(2, -0.5) }] },
    });
    expect((await readAll(short.router)).decision).toMatchObject({ source: 'on_device', score: -0.5 });
    const empty = setUpRouter({ thresholds: { confidence: -100 }, device: { answers: [{ tokens: [] }] } });
    expect((await readAll(empty.router)).decision).toMatchObject({
      source: 'in_cloud',
      reason: 'confidence',
      score: Number.NEGATIVE_INFINITY,
    });
  });

  it('with every measure, the first m decide and no later one', async () => {
    const sure = { text: ' a', probabilities: { ' a': 0.98, ' b': 0.02 } };
    const unsure = { text: ' a', probabilities: { ' a': 0.5, ' b': 0.5 } };
    for (const [measure, cut] of [
      ['mean-logprob', -0.3],
      ['min-probability', 0.8],
      ['margin', 0.5],
      ['negative-entropy', -0.4],
    ] as const) {
      for (const [tokens, source] of [
        [[sure, sure, unsure], 'on_device'],
        [[unsure, unsure, sure], 'in_cloud'],
      ] as const) {
        const { router, device } = setUpRouter({
          thresholds: { confidence: cut },
          confidence: { measure, tokens: 2 },
          device: { answers: [{ tokens }] },
        });
        expect((await readAll(router)).decision).toMatchObject({ source });
        const needed = measure === 'margin' || measure === 'negative-entropy';
        expect(device.requests[0]!.request.distribution ?? false).toBe(needed);
      }
    }
  });
});

describe('dropped tokens', () => {
  it('end the device`s generation at once, before the server has said anything', async () => {
    const steps = gate();
    const { router, device, server } = setUpRouter({
      thresholds: { confidence: -1 },
      confidence: { tokens: 2 },
      device: { answers: [{ tokens: words(100, -3) }] },
      server: { answers: [{ tokens: 'from the server', beforeToken: steps.beforeToken }] },
    });
    const reading = readAll(router);
    await steps.arrival();
    expect(device.requests[0]).toMatchObject({ outcome: 'returned', tokensSent: 2 });
    expect(device.requests[0]!.request.signal.aborted).toBe(true);
    expect(device.load().running).toBe(0);
    for (let i = 0; i < 3; i++) {
      steps.release();
      if (i < 2) await steps.arrival();
    }
    const { text, events } = await reading;
    expect(text).toBe('from the server');
    expect(JSON.stringify(events)).not.toContain(' w0');
    expect(server!.requests[0]!.request.signal.aborted).toBe(false);
  });

  it('are made again when the server fails; a complete answer is kept instead', async () => {
    const server = { answers: [{ tokens: 'x', fail: { at: 'open' as const, error: 'server-failed' as const } }] };
    const again = setUpRouter({
      thresholds: { confidence: -1 },
      device: { answers: [{ tokens: words(4, -3) }] },
      server,
    });
    const kept = setUpRouter({
      thresholds: { confidence: -1 },
      confidence: { tokens: null },
      device: { answers: [{ tokens: words(4, -3) }] },
      server,
    });
    for (const [{ router, device }, generations] of [
      [again, 2],
      [kept, 1],
    ] as const) {
      const { decision, text, error, events } = await readAll(router);
      expect(error).toBe(null);
      expect(decision).toMatchObject({
        source: 'on_device',
        reason: 'server-failed',
        fallbackFrom: 'in_cloud',
        signals: { confidence: -3 },
      });
      expect(text).toBe(' w0 w1 w2 w3');
      expect(events.map((event) => event.type)).toEqual(['decision', 'start', ...Array(4).fill('token'), 'end']);
      expect(device.requests).toHaveLength(generations);
    }
  });

  it('no failure of an engine that is being abandoned comes to light', async () => {
    const rude: DeviceEngine = {
      ...createScriptedEngine({ answers: 'x' }),
      generate: (request: GenerateRequest) => ({
        [Symbol.asyncIterator]: () => {
          let i = 0;
          return {
            next: async (): Promise<IteratorResult<GenerateEvent>> => {
              if (request.signal.aborted) throw new Error('too late');
              i++;
              return { done: false, value: { type: 'token', text: `t${i}`, logprob: -5 } };
            },
            return: () => Promise.reject(new Error('cannot stop')),
          };
        },
      }),
    };
    const { router, server } = setUpRouter({ thresholds: { confidence: -1 } });
    const { text } = await readAll(new Router({ ...router.parts, device: rude, server }));
    expect(text).toBe('from the server');
  });
});

describe('a client that goes away', () => {
  it.each(['prefer_on_device', 'prefer_in_cloud'] as const)(
    'ends the generation under %s, and no other source is asked',
    async (mode) => {
      const steps = gate();
      const held = { answers: [{ tokens: words(9, -0.1), beforeToken: steps.beforeToken }] };
      const { router, device, server } = setUpRouter(
        mode === 'prefer_on_device' ? { mode, device: held } : { mode, server: held },
      );
      const controller = new AbortController();
      const reading = readAll(router, aRequest({ signal: controller.signal }));
      await steps.arrival();
      controller.abort();
      expect((await reading).error).toMatchObject({ code: 'interrupted' });
      expect([...device.requests, ...server!.requests].map((record) => record.outcome)).toEqual(['aborted']);
    },
  );

  it('while complexity is measured is not taken for a failure of the device', async () => {
    const controller = new AbortController();
    const { router, device, server } = setUpRouter({
      thresholds: { complexity: 3 },
      device: {
        promptNll: () => {
          controller.abort();
          return new Promise<number>(() => {});
        },
      },
    });
    expect((await readAll(router, aRequest({ signal: controller.signal }))).error).toMatchObject({
      code: 'interrupted',
    });
    expect([...device.requests, ...server!.requests]).toEqual([]);
  });

  it('by leaving the loop ends the generation too', async () => {
    const { router, device } = setUpRouter({ device: { answers: [{ tokens: words(50, -0.1) }] } });
    for await (const event of router.route(aRequest())) if (event.type === 'token') break;
    expect(device.requests[0]!.request.signal.aborted).toBe(true);
    await vi.waitFor(() => expect(device.requests[0]).toMatchObject({ outcome: 'returned' }));
    expect(device.load().running).toBe(0);
  });

  it('after a complete answer nothing is cancelled', async () => {
    const { router, device } = setUpRouter();
    await readAll(router);
    expect(device.requests[0]!.outcome).toBe('done');
    expect(device.requests[0]!.request.signal.aborted).toBe(false);
  });
});

describe('what reaches the engines', () => {
  const adapters: AdapterScale[] = [{ id: 'a', path: 'a.gguf', scale: 1 }];

  it('signals that are switched off cost nothing', async () => {
    let asked = 0;
    const scope = () => {
      asked++;
      return { percentile: 50, similarity: 1 };
    };
    const { router, device } = setUpRouter({ scope });
    await readAll(router);
    expect(asked).toBe(0);
    expect(device.nllRequests).toEqual([]);
    expect(device.requests[0]!.request.distribution).toBeUndefined();
  });

  it('a question that is settled asks no dearer one', async () => {
    const { router, device } = setUpRouter({
      thresholds: { scope: 5, complexity: 3, confidence: -1 },
      scope: () => ({ percentile: 1, similarity: 0 }),
    });
    await readAll(router);
    expect(device.nllRequests).toEqual([]);
    expect(device.requests).toEqual([]);
  });

  it('the device gets the adapters, the server no word of them', async () => {
    const seen: Array<readonly AdapterScale[]> = [];
    const { router, device, server } = setUpRouter({
      thresholds: { complexity: 3, confidence: 0 },
      confidence: { measure: 'margin' },
      device: {
        promptNll: (_, used) => {
          seen.push(used);
          return 1;
        },
        answers: [{ tokens: [{ text: 'x', margin: -1 }] }],
      },
    });
    const request = aRequest({ adapters, temperature: 0.7, topP: 0.9, seed: 3, stop: ['.'], topLogprobs: 2 });
    await readAll(router, request);
    expect(seen).toEqual([adapters]);
    expect(device.requests[0]!.request).toMatchObject({ adapters, distribution: true, seed: 3 });
    const { signal: _, ...sent } = server!.requests[0]!.request;
    const { signal: __, adapters: ___, ...expected } = request;
    expect(sent).toEqual(expected);
  });

  it('a query that names no adapters gets the configured ones, and one with the empty list none', async () => {
    const { router, device } = setUpRouter();
    const asked: string[] = [];
    const configured = new Router({
      ...router.parts,
      adapters: ({ text }) => {
        asked.push(text);
        return adapters;
      },
    });
    await readAll(configured);
    await readAll(configured, aRequest({ adapters: [] }));
    await readAll(router);
    expect(device.requests.map(({ request }) => request.adapters)).toEqual([adapters, [], []]);
    await readAll(configured, aRequest(), { mode: 'only_in_cloud' });
    expect(asked).toEqual(['a short question']); // the device has no part in the last
  });

  it('scope is asked about the conversation`s whole text', async () => {
    const texts: string[] = [];
    const { router } = setUpRouter({
      thresholds: { scope: 5 },
      scope: ({ text }) => {
        texts.push(text);
        return null; // no profile: the signal has no say
      },
    });
    const messages = [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: 'why?' },
    ];
    const { decision } = await readAll(router, aRequest({ prompt: { kind: 'chat', messages } }));
    expect(texts).toEqual(['be brief\nwhy?']);
    expect(decision).toMatchObject({ reason: 'accepted', score: null });
  });

  it('many queries at a time do not mix', async () => {
    const { router } = setUpRouter({
      thresholds: { confidence: -1 },
      device: {
        capacity: 8,
        queue: 200,
        answers: (request) => {
          const text = request.query.text;
          return { tokens: [{ text, logprob: Number(text) % 2 === 0 ? -0.1 : -5 }, ' end'] };
        },
      },
      confidence: { tokens: 1 },
      server: {
        capacity: 100,
        answers: (request) => `server ${request.query.text}`,
      },
    });
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => readAll(router, aRequest({ prompt: { kind: 'text', text: `${i}` } }))),
    );
    for (const [i, { text, error }] of answers.entries()) {
      expect(error).toBe(null);
      expect(text).toBe(i % 2 === 0 ? `${i} end` : `server ${i}`);
    }
  });

  it('adds far less than a millisecond to a query', async () => {
    const { router } = setUpRouter({
      thresholds: { scope: 5, complexity: 3, confidence: -1 },
      scope: () => ({ percentile: 50, similarity: 1 }),
    });
    const request = aRequest();
    const times: number[] = [];
    for (let i = 0; i < 500; i++) {
      const started = performance.now();
      for await (const _ of router.route(request));
      times.push(performance.now() - started);
    }
    times.sort((a, b) => a - b);
    expect(times[250]!).toBeLessThan(1); // the median: other work on the machine may delay a few
  });
});
