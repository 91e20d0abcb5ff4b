/** Answers that are wanted whole: until their end either source may stand in for the other, where the mode allows. */

import { describe, expect, it } from 'vitest';
import { aRequest, readAll, setUpRouter } from '../helpers/routing.js';

const breaksLate = { tokens: 'half an answer', fail: { at: 2, error: 'server-failed' as const } };
const deviceBreaks = { tokens: 'half an answer', fail: { at: 2, error: 'out-of-memory' as const } };

describe('an answer that is wanted whole', () => {
  it('is the device’s where the server breaks off in it, and not one word is the server’s', async () => {
    const { router, server } = setUpRouter({ mode: 'prefer_in_cloud', server: { answers: [breaksLate] } });
    const { decision, text, error } = await readAll(router, aRequest(), { whole: true });
    expect([text, error]).toEqual(['from the edge', null]);
    expect(decision).toMatchObject({ source: 'on_device', reason: 'server-failed', fallbackFrom: 'in_cloud' });
    expect(server!.requests.map(({ tokensSent }) => tokensSent)).toEqual([2]);
    // The same, streamed: what has left cannot be taken back.
    const streamed = await readAll(router, aRequest());
    expect(streamed.decision).toMatchObject({ source: 'in_cloud' });
    expect(streamed.error).toMatchObject({ code: 'server-failed' });
  });

  it.each([null, -1])('is the server’s where the device breaks off in it (confidence above %s)', async (confidence) => {
    const { router } = setUpRouter({ device: { answers: [deviceBreaks] }, thresholds: { confidence } });
    const { decision, text } = await readAll(router, aRequest(), { whole: true });
    expect(text).toBe('from the server');
    expect(decision).toMatchObject({ source: 'in_cloud', reason: 'device-failed', fallbackFrom: 'on_device' });
  });

  it.each(['only_in_cloud', 'only_on_device'] as const)('is an error under %s', async (mode) => {
    const { router } = setUpRouter({ mode, server: { answers: [breaksLate] }, device: { answers: [deviceBreaks] } });
    const { events, error } = await readAll(router, aRequest(), { whole: true });
    expect(events).toEqual([]);
    expect(error).toMatchObject({ code: mode === 'only_in_cloud' ? 'server-failed' : 'out-of-memory' });
  });

  it('is the first failure where both break off', async () => {
    const { router } = setUpRouter({
      mode: 'prefer_in_cloud',
      server: { answers: [breaksLate] },
      device: { answers: [deviceBreaks] },
    });
    const { events, error } = await readAll(router, aRequest(), { whole: true });
    expect([events, error]).toMatchObject([[], { code: 'server-failed' }]);
  });

  it('tells of each source’s first token', async () => {
    const told: string[] = [];
    const { router } = setUpRouter({ mode: 'prefer_in_cloud', server: { answers: [breaksLate] } });
    await readAll(router, aRequest(), { whole: true, onFirstToken: () => told.push('first') });
    expect(told).toEqual(['first', 'first']);
  });
});

describe('a stream', () => {
  it('is settled by the first text, not by a token that shows nothing', async () => {
    const silent = { tokens: ['', '', 'never'], fail: { at: 2, error: 'server-failed' as const } };
    const { router } = setUpRouter({ mode: 'prefer_in_cloud', server: { answers: [silent] } });
    const { decision, text } = await readAll(router);
    expect([decision?.source, text]).toEqual(['on_device', 'from the edge']);
  });

  it('tells the server its own bound of the answer, and nothing of the device', async () => {
    const { router, server } = setUpRouter({ mode: 'prefer_in_cloud' });
    const adapters = [{ id: 'a', path: 'a.gguf', scale: 1 }];
    await readAll(router, aRequest({ maxTokens: 3, serverMaxTokens: 900, adapters }));
    const { request } = server!.requests[0]!;
    expect([request.maxTokens, request.adapters, request.serverMaxTokens]).toEqual([900, undefined, undefined]);
  });
});
