import { describe, expect, it } from 'vitest';
import { Query } from '../../src/engine/types.js';
import { collect, generateRequest } from './generate.js';
import { createScriptedEngine } from './scripted.js';

describe('the scripted engine', () => {
  it('answers in order, the last answer from then on, and records what was asked', async () => {
    const engine = createScriptedEngine({ answers: ['one two', { tokens: ['th', 'ree'], cachedTokens: 2 }] });
    const first = await collect(engine.generate(generateRequest()));
    expect(first.events).toEqual([
      { type: 'start', promptTokens: 4, cachedTokens: null },
      { type: 'token', text: 'one', logprob: Math.log(0.5) },
      { type: 'token', text: ' two', logprob: Math.log(0.5) },
      {
        type: 'end',
        text: '',
        finishReason: 'stop',
        usage: { promptTokens: 4, completionTokens: 2, cachedTokens: null },
      },
    ]);
    for (let i = 0; i < 2; i++) expect((await collect(engine.generate(generateRequest()))).text).toBe('three');
    expect(engine.requests.map((r) => [r.text, r.outcome, r.tokensSent])).toEqual(
      Array(3).fill(['one two three', 'done', 2]),
    );
  });

  it('ends before a stop text that crosses tokens, and at max_tokens', async () => {
    const engine = createScriptedEngine({ answers: [{ tokens: ['ab', 'cd', 'ef', 'gh'] }] });
    const stopped = await collect(engine.generate(generateRequest({ stop: ['gh', 'de'] })));
    expect([stopped.text, stopped.end?.finishReason, stopped.tokens.length]).toEqual(['abc', 'stop', 2]);
    const cut = await collect(engine.generate(generateRequest({ maxTokens: 3 })));
    expect([cut.text, cut.end?.finishReason, cut.end?.usage.completionTokens]).toEqual(['abcdef', 'length', 3]);
    const exact = await collect(engine.generate(generateRequest({ maxTokens: 4 })));
    expect(exact.end?.finishReason).toBe('stop');
  });

  it('gives logprobs, margin, entropy and the likeliest tokens of a distribution, when they are asked for', async () => {
    const probabilities = { yes: 0.25, no: 0.5, maybe: 0.25 };
    const engine = createScriptedEngine({ answers: [{ tokens: [{ text: 'yes', probabilities }] }] });
    const [plain] = (await collect(engine.generate(generateRequest()))).tokens;
    expect(plain).toEqual({ type: 'token', text: 'yes', logprob: Math.log(0.25) });
    const asked = generateRequest({ topLogprobs: 2, distribution: true });
    const [full] = (await collect(engine.generate(asked))).tokens;
    expect(full!.margin).toBeCloseTo(0.25, 12);
    expect(full!.entropy).toBeCloseTo(1.5 * Math.log(2), 12);
    expect(full!.detail!.top.map((t) => t.token)).toEqual(['no', 'yes']);
    expect(full!.detail).toMatchObject({ token: 'yes', bytes: [121, 101, 115], logprob: Math.log(0.25) });
  });

  it('fails where it is told to', async () => {
    const engine = createScriptedEngine({
      answers: [
        { tokens: 'a b c', fail: { at: 'open', error: 'context-exceeded' } },
        { tokens: 'a b c', fail: { at: 2, error: 'out-of-memory' } },
        { tokens: 'a', fail: { at: 1, error: 'server-failed' } },
      ],
    });
    const outcomes = [];
    for (let i = 0; i < 3; i++) {
      const { events, error } = await collect(engine.generate(generateRequest()));
      outcomes.push([events.length, error?.code]);
    }
    expect(outcomes).toEqual([
      [0, 'context-exceeded'],
      [3, 'out-of-memory'],
      [2, 'server-failed'],
    ]);
    expect(engine.requests.map((r) => r.outcome)).toEqual(['failed', 'failed', 'failed']);
  });

  it('stops at once when the signal fires, wherever it is, and frees its slot', async () => {
    const engine = createScriptedEngine({ answers: [{ tokens: 'a b', hangAt: 1 }, 'free'], capacity: 1, queue: 1 });
    const running = new AbortController();
    const waiting = new AbortController();
    const first = collect(engine.generate(generateRequest({ signal: running.signal })));
    const second = collect(engine.generate(generateRequest({ signal: waiting.signal })));
    const refused = await collect(engine.generate(generateRequest()));
    expect(refused.error?.code).toBe('engine-busy');
    expect(engine.load()).toEqual({ running: 1, waiting: 1, capacity: 1, queue: 1 });
    waiting.abort();
    expect((await second).error?.code).toBe('interrupted');
    expect(engine.load().waiting).toBe(0);
    running.abort();
    expect((await first).text).toBe('a');
    expect((await first).error?.code).toBe('interrupted');
    expect((await collect(engine.generate(generateRequest()))).text).toBe('free');
    expect(engine.requests.map((r) => r.outcome)).toEqual(['aborted', 'aborted', 'failed', 'done']);
    expect(engine.load().running).toBe(0);
  });

  it('notices a reader that stops reading', async () => {
    const engine = createScriptedEngine({ answers: 'a b c' });
    for await (const event of engine.generate(generateRequest())) if (event.type === 'token') break;
    expect(engine.requests[0]).toMatchObject({ outcome: 'returned', tokensSent: 1 });
    expect(engine.load().running).toBe(0);
  });

  it('tells complexity, tokens and load as scripted', async () => {
    const engine = createScriptedEngine({ answers: 'a', promptNll: (prompt) => (prompt.kind === 'chat' ? 2 : 3) });
    const { signal } = new AbortController();
    expect(await engine.promptNll(new Query({ kind: 'text', text: 'x' }), [], signal)).toBe(3);
    expect(engine.nllRequests).toHaveLength(1);
    const ids = engine.tokenize({ kind: 'chat', messages: [{ role: 'user', content: 'same word same' }] });
    expect(ids).toHaveLength(4);
    expect(ids[1]).toBe(ids[3]);
    expect([...engine.textTokens('same word same')]).toEqual([...ids.subarray(1)]);
    expect(engine.load()).toEqual({ running: 0, waiting: 0, capacity: 4, queue: 16 });
  });
});
